//! An outage of an hour: nobody listens at the webhook's port. What does it cost, and how soon is all
//! sent when the receiver is back?

use std::time::Duration;

use pgtopic::domain::policy::{OnExhausted, Policy};

use super::{
    Handle, World,
    plan::{Down, HookPolicies, Manner, Pace, Plan},
    publish::committed,
    run::new_world,
};
use crate::{
    functions::messages_publish::{Publication, insert_message},
    postgres::tables::{Breaker, DeadLetter},
    schedule::{Micros, SECOND},
};

/// As a user sets it: `MAX_RETRIES=3`.
const RETRIES: u32 = 3;

/// One webhook, one worker, and nothing else that goes wrong.
fn plan() -> Plan {
    Plan {
        seed: 3,
        workers: 1,
        concurrency: 100,
        topics: vec![true],
        webhooks: vec![0],
        keys: 3,
        notifies: true,
        pace: Pace {
            pauses: 0,
            pause: 0,
            late: 1_000_000,
            late_way: 1_000,
            slow: 1_000,
            request: 1_000,
            limited: 0,
        },
        hooks: HookPolicies { batches: false, backoffs: [0; 3], retries: 1, halts: false },
        policy: Some(Policy {
            max_retries: RETRIES,
            backoff_factor: 2.0,
            max_backoff: Duration::from_hours(1),
            retry_schedule: Vec::new(),
            permanent_statuses: Vec::new(),
            timeout: Duration::from_secs(10),
            on_exhausted: OnExhausted::DeadLetter,
            max_in_flight: None,
            max_age: None,
            latest_only: false,
        }),
        breakers: true,
        down: Down::Nobody,
        payload: 2,
        items: Vec::new(),
        lasts: 0,
        without: None,
    }
}

/// Publishes so many messages to each of three partitions.
async fn publish(world: &Handle, webhook: i64, messages: usize) {
    for _ in 0..messages {
        for key in 0..3 {
            let topic = world.topics.borrow()[0];
            let publication = Publication { topic, key, kind: None, idempotency_key: None };
            let inserted = world.operate(async |session| insert_message(session, &publication).await).await;
            let id = inserted.ok().flatten().expect("it is published");
            committed(world, &[(id, None)], &[(webhook, None)]);
        }
    }
}

fn receiver_is(world: &Handle, webhook: i64, manner: Manner) {
    world.hooks.borrow_mut().get_mut(&webhook).expect("it was created").manner = manner;
}

/// The dead letters after some time, and whether the breaker is open. Then the receiver is back.
fn outage(messages: usize, lasts: Micros) -> (usize, bool) {
    let world = new_world(&plan());
    world.begin();
    let webhook = world.hook(0).expect("it was created");
    receiver_is(&world, webhook, Manner::Refuses);
    let publisher = world.clone();
    world.schedule.spawn(async move { publish(&publisher, webhook, messages).await });
    world.run_until(world.now() + lasts, |_| false);
    let (dead, open) = world.database.peek(|view| {
        let dead: Vec<i32> = view.range::<DeadLetter>(..).map(|(_, letter)| letter.attempts).collect();
        let open = view.get::<Breaker>(&webhook).is_some_and(|breaker| breaker.open);
        (dead, open)
    });
    assert!(dead.iter().all(|attempts| *attempts == 3), "{dead:?}");

    receiver_is(&world, webhook, Manner::Accepts);
    // After an hour the next probe comes within a minute.
    let is_done = world.run_until(world.now() + 70 * SECOND, World::owes_nothing);
    let history = world.history.borrow();
    assert_eq!(history.broken(), None);
    assert!(is_done, "all that is left is sent when the receiver is back");
    let arrived = history.courses.values().filter(|course| course.ever_accepted).count();
    assert_eq!(arrived + dead.len(), 3 * messages);
    drop(history);
    world.end();
    (dead.len(), open)
}

/// Whoever tries it out with three messages finds three dead letters.
#[test]
fn a_few_messages_to_a_refused_port_become_dead_letters_after_their_attempts() {
    assert_eq!(outage(1, 60 * SECOND), (3, false));
}

#[test]
fn an_outage_of_an_hour_costs_five_dead_letters() {
    assert_eq!(outage(10, 3_600 * SECOND), (5, true));
}
