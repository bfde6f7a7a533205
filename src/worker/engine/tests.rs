//! The engine as a whole, without a database: limits that no single part keeps.

mod locked;
mod memory;
mod superseded;

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use uuid::Uuid;

use super::{
    super::scheduling::breaker::Turn,
    super::tuning::{ASK_ALL_WEBHOOKS, BYTES_MAX, HELD_PER_SLOT, OUTCOMES_MAX, UNWRITTEN_MAX},
    command::Burst,
    event::{
        AttemptEnded, BurstEnd, BurstEnded, ClaimAnswer, Endpoint, LoadedWebhooks, ReadAnswer, SettleAnswer,
        Written,
    },
    *,
};
use crate::{
    domain::{
        attempt::{AttemptResult, ErrorClass, Outcome},
        breaker::{BreakerPolicy, Opening},
        lane::LaneKey,
        message::Message,
        policy::{OnExhausted, Policy},
    },
    store::{
        ClaimedLane, DueWebhook, DueWebhooks, Follower, HeldLane, LaneState, Looked, Owed, OwedMessage,
        ReadLane, SettleOutcome, Want,
    },
};

const CONCURRENCY: usize = 10;

/// A webhook without limits.
pub(super) fn endpoint() -> Endpoint {
    Endpoint {
        topic: "orders".to_owned(),
        deliverable: true,
        batch_size: 1,
        policy: Policy {
            max_retries: 5,
            backoff_factor: 2.0,
            max_backoff: Duration::from_hours(1),
            retry_schedule: Vec::new(),
            permanent_statuses: Vec::new(),
            timeout: Duration::from_secs(10),
            on_exhausted: OnExhausted::DeadLetter,
            max_in_flight: None,
            max_age: None,
            latest_only: false,
        },
        rate_limit_per_second: None,
        breaker: BreakerPolicy::Auto,
    }
}

struct Rig {
    engine: Engine,
    now: Instant,
}

impl Rig {
    /// An engine that knows these webhooks. What it does about that is dropped.
    fn new(webhooks: i64) -> Self {
        let now = Instant::now();
        let settings = EngineSettings {
            worker: Uuid::nil(),
            concurrency: CONCURRENCY,
            default_timeout: Duration::from_secs(10),
            disable_after: Some(Duration::from_hours(120)),
            seed: 1,
        };
        let mut rig = Self { engine: Engine::new(settings, now), now };
        let endpoint = Arc::new(endpoint());
        let changed = (1..=webhooks).map(|id| (id, Arc::clone(&endpoint))).collect();
        rig.handle(Event::Webhooks(Ok(LoadedWebhooks { changed, ..LoadedWebhooks::default() })));
        rig
    }

    fn handle(&mut self, event: Event) {
        self.engine.handle(event, self.now).unwrap();
    }

    /// What the engine wants done after this long.
    fn decide_after(&mut self, wait: Duration) -> Vec<Command> {
        self.now += wait;
        self.engine.decide(self.now)
    }

    fn decide(&mut self) -> Vec<Command> {
        self.decide_after(Duration::ZERO)
    }
}

fn claimed(webhook_id: i64, lane: i64, token: i64, messages: &[usize]) -> ClaimedLane {
    ClaimedLane {
        key: LaneKey { webhook_id, lane },
        due_at: Timestamp::UNIX_EPOCH,
        token,
        position: 0,
        generation: 0,
        failed: None,
        failures: 0,
        split_until: None,
        owed: Owed {
            items: messages.iter().zip(1..).map(|(size, id)| message(id, *size)).collect(),
            more: false,
        },
    }
}

fn message(id: i64, size: usize) -> OwedMessage {
    OwedMessage::Present(Message {
        id,
        partition_key: Arc::from("a"),
        r#type: None,
        payload: vec![b'1'; size].into(),
        headers: None,
        created_at: Timestamp::UNIX_EPOCH,
        replay: false,
        born: Instant::now(),
    })
}

fn claims(commands: &[Command]) -> Vec<(i64, Vec<Want>)> {
    let claim = |command: &Command| match command {
        Command::Claim { token, wants, .. } => Some((*token, wants.clone())),
        _ => None,
    };
    commands.iter().filter_map(claim).collect()
}

fn bursts(commands: Vec<Command>) -> Vec<Burst> {
    let burst = |command| match command {
        Command::StartBurst(burst) => Some(burst),
        _ => None,
    };
    commands.into_iter().filter_map(burst).collect()
}

fn accepted(key: LaneKey, message_ids: Vec<i64>) -> Event {
    let result = AttemptResult {
        outcome: Outcome::Accepted,
        status_code: Some(204),
        error_class: None,
        error: None,
        duration: Duration::from_millis(1),
        response_excerpt: None,
        retry_after: None,
    };
    Event::Attempt(AttemptEnded {
        key,
        created_at: vec![Timestamp::UNIX_EPOCH; message_ids.len()],
        message_ids,
        replay: false,
        probe: false,
        attempt: 1,
        result,
        attempted_at: Timestamp::UNIX_EPOCH,
    })
}

/// An answer 429 that asks for a pause.
fn asks_for(pause: Duration, key: LaneKey, message_id: i64) -> Event {
    let Event::Attempt(attempt) = accepted(key, vec![message_id]) else { unreachable!() };
    let result = AttemptResult {
        outcome: Outcome::Failed,
        status_code: Some(429),
        error_class: Some(ErrorClass::Status),
        error: Some("429 Too Many Requests".to_owned()),
        retry_after: Some(pause),
        ..attempt.result
    };
    Event::Attempt(AttemptEnded { result, ..attempt })
}

#[test]
fn a_receiver_that_asks_for_a_pause_gets_it_at_once_and_its_lane_has_not_failed() {
    let mut rig = Rig::new(2);
    let (token, _) = claims(&rig.decide())[0];
    let lanes = [1, 2, 3, 4].map(|lane| claimed(if lane == 4 { 2 } else { 1 }, lane, token, &[1, 1])).into();
    rig.handle(Event::Claimed(Ok(ClaimAnswer { lanes, one_by_one: None })));
    let mut running: Vec<LaneKey> = bursts(rig.decide()).iter().map(|burst| burst.key).collect();
    running.retain(|key| key.webhook_id == 1);
    assert!(running.len() > 1, "several of its lanes are in flight");
    let pause = Duration::from_secs(7);
    rig.handle(asks_for(pause, running[0], 1));
    let commands = rig.decide_after(Duration::from_secs(1));
    let holds =
        |command: &Command| matches!(command, Command::Hold { webhook_id: 1, hold } if *hold == pause);
    assert!(commands.iter().any(holds), "the others are told");
    for key in &running {
        let stops = |command: &Command| matches!(command, Command::StopBurst(stopped) if stopped == key);
        assert!(commands.iter().any(stops), "{key:?} starts no further request");
    }
    let settled = commands.iter().find_map(|command| match command {
        Command::Settle { settlement, .. } => settlement.get(&(running[0], token)).cloned(),
        _ => None,
    });
    let change = settled.unwrap().change.unwrap();
    assert_eq!((change.state, change.failures), (LaneState::Waiting(pause), 0));
    assert_eq!(change.failed.map(|head| (head.first, head.count)), Some((1, 1)));

    // Another answer that asks for less tells nobody anything.
    rig.handle(asks_for(Duration::from_secs(5), running[1], 1));
    assert!(!rig.decide().iter().any(|command| matches!(command, Command::Hold { .. })));
    assert!(!rig.engine.is_deliverable(1) && rig.engine.is_deliverable(2));
    assert!(rig.engine.next_wakeup(rig.now) <= rig.now + pause);
    rig.decide_after(pause);
    assert!(rig.engine.is_deliverable(1));
}

#[test]
fn a_hold_that_another_worker_was_asked_for_binds_this_one() {
    let mut rig = Rig::new(1);
    let (token, _) = claims(&rig.decide())[0];
    let lanes = vec![claimed(1, 1, token, &[1, 1])];
    rig.handle(Event::Claimed(Ok(ClaimAnswer { lanes, one_by_one: None })));
    let key = bursts(rig.decide()).remove(0).key;
    let held = vec![(1, Duration::from_secs(9))];
    rig.handle(Event::Webhooks(Ok(LoadedWebhooks { held, ..LoadedWebhooks::default() })));
    let commands = rig.decide();
    assert!(commands.iter().any(|command| matches!(command, Command::StopBurst(stopped) if *stopped == key)));
    assert!(!commands.iter().any(|command| matches!(command, Command::Hold { .. })), "all know it");
    assert!(!rig.engine.is_deliverable(1));
}

/// However many webhooks have due lanes, and however often claims come back full.
#[test]
fn many_webhooks_hold_no_more_lanes_than_the_limit() {
    let webhooks = 10 * i64::try_from(ASK_ALL_WEBHOOKS).unwrap();
    let mut rig = Rig::new(webhooks);
    let most = CONCURRENCY * HELD_PER_SLOT / 2;
    let (mut claimed_in_all, mut listed, mut reached) = (0, 0, 0);
    for _ in 0..2_000 {
        let commands = rig.decide_after(Duration::from_millis(20));
        for command in &commands {
            if let Command::ListDueWebhooks { .. } = command {
                listed += 1;
                let due = |webhook_id| DueWebhook { webhook_id, due_at: Timestamp::UNIX_EPOCH };
                let webhooks = (1..=webhooks).map(due).collect();
                rig.handle(Event::DueWebhooks(Ok(DueWebhooks { webhooks, next: None })));
            }
        }
        let mut commands = commands;
        commands.extend(rig.decide());
        for (token, wants) in claims(&commands) {
            let mut lanes = Vec::new();
            for Want { webhook_id, slots, .. } in wants {
                let new = (0..slots).map(|lane| {
                    let lane = i64::try_from(claimed_in_all + lane).unwrap();
                    claimed(webhook_id, lane, token, &[1])
                });
                lanes.extend(new);
                claimed_in_all += slots;
            }
            rig.handle(Event::Claimed(Ok(ClaimAnswer { lanes, one_by_one: None })));
        }
        // None of them has answered yet, so they hold half of what all may hold.
        let held = rig.engine.status().lanes;
        assert!(held <= most, "{held}");
        reached = reached.max(held);
    }
    assert!(listed > 1, "the database is asked which webhooks are due");
    assert_eq!(reached, most);
}

/// What is being written counts, too: a settle may hang for seconds.
#[test]
fn no_burst_begins_while_too_many_outcomes_are_not_written() {
    let mut rig = Rig::new(2);
    let first = claims(&rig.decide())[0].0;
    let lanes = vec![claimed(1, 1, first, &[1])];
    rig.handle(Event::Claimed(Ok(ClaimAnswer { lanes, one_by_one: None })));
    let burst = bursts(rig.decide()).remove(0);
    let many = i64::try_from(OUTCOMES_MAX).unwrap();
    rig.handle(accepted(burst.key, (1..=many).collect()));
    let commands = rig.decide_after(Duration::from_secs(1));
    let settle = commands.iter().find_map(|command| match command {
        Command::Settle { settlement, .. } => Some(settlement.keys().copied().collect::<Vec<_>>()),
        _ => None,
    });
    let settled = settle.unwrap();
    let (token, _) = claims(&commands)[0];
    let lanes = vec![claimed(2, 2, token, &[1])];
    rig.handle(Event::Claimed(Ok(ClaimAnswer { lanes, one_by_one: None })));
    assert!(bursts(rig.decide()).is_empty(), "50,000 outcomes are being written");
    let outcomes = settled.into_iter().map(|claim| (claim, SettleOutcome::Written)).collect();
    rig.handle(Event::Settled(SettleAnswer {
        again: false,
        written: Ok(Written { outcomes, refused: Vec::new() }),
        removed: Ok(HashMap::new()),
    }));
    assert_eq!(bursts(rig.decide()).len(), 1);
}

#[test]
fn a_worker_that_stops_is_done_when_all_is_written() {
    let mut rig = Rig::new(1);
    let (token, _) = claims(&rig.decide())[0];
    let lanes = vec![claimed(1, 1, token, &[1, 1])];
    rig.handle(Event::Claimed(Ok(ClaimAnswer { lanes, one_by_one: None })));
    let key = bursts(rig.decide()).remove(0).key;
    rig.handle(Event::Shutdown);
    let stops = |command: &Command| matches!(command, Command::StopBurst(stopped) if *stopped == key);
    assert!(rig.decide().iter().any(stops), "no further request begins");
    rig.handle(accepted(key, vec![1]));
    let Some(OwedMessage::Present(unsent)) = Some(message(2, 1)) else { unreachable!() };
    rig.handle(Event::BurstEnded(BurstEnded { key, sent: 1, unsent: vec![unsent], why: BurstEnd::Over }));
    let mut settled = false;
    for _ in 0..100 {
        if rig.engine.is_done() {
            break;
        }
        for command in rig.decide_after(Duration::from_millis(10)) {
            match command {
                Command::Settle { settlement, again, .. } => {
                    settled = true;
                    let outcomes = settlement.keys().map(|claim| (*claim, SettleOutcome::Written)).collect();
                    rig.handle(Event::Settled(SettleAnswer {
                        again,
                        written: Ok(Written { outcomes, refused: Vec::new() }),
                        removed: Ok(HashMap::new()),
                    }));
                }
                Command::LogAttempts { rows, .. } => {
                    let rows = rows.len();
                    rig.handle(Event::AttemptsLogged(event::LogAnswer {
                        rows,
                        written: rows,
                        refused: 0,
                        failure: None,
                    }));
                }
                Command::WriteActivity { .. } => rig.handle(Event::ActivityWritten),
                Command::Claim { .. } | Command::StartBurst(_) => panic!("it stops"),
                _ => {}
            }
        }
    }
    assert!(settled && rig.engine.is_done());
}

/// A lane asks for a share when it begins to wait for a slot. One that waits already must not be
/// forgotten.
#[test]
fn a_webhook_that_gets_a_limit_while_its_lanes_wait_is_asked_for() {
    let mut rig = Rig::new(1);
    let (token, _) = claims(&rig.decide())[0];
    let lanes: Vec<ClaimedLane> = (1..=20).map(|lane| claimed(1, lane, token, &[1])).collect();
    rig.handle(Event::Claimed(Ok(ClaimAnswer { lanes, one_by_one: None })));
    let asks = |commands: Vec<Command>| -> usize {
        commands.iter().filter(|command| matches!(command, Command::ShareLimits { .. })).count()
    };
    assert_eq!(asks(rig.decide()), 0);
    let mut limited = (*rig.engine.endpoints[&1]).clone();
    limited.policy.max_in_flight = Some(2);
    let changed = HashMap::from([(1, Arc::new(limited))]);
    rig.handle(Event::Webhooks(Ok(LoadedWebhooks { changed, ..LoadedWebhooks::default() })));
    assert_eq!(asks(rig.decide()), 1);
}

/// Where publishers may not notify, only the session hears that webhooks have changed.
#[test]
fn webhooks_are_read_when_the_session_hears_of_a_change() {
    let mut rig = Rig::new(1);
    let reads =
        |commands: &[Command]| commands.iter().any(|command| matches!(command, Command::LoadWebhooks { .. }));
    assert!(reads(&rig.decide_after(Duration::from_secs(1))), "all of them, at first");
    rig.handle(Event::Webhooks(Ok(LoadedWebhooks::default())));
    assert!(!reads(&rig.decide_after(Duration::from_millis(100))));
    let session = rig.engine.session.clone();
    rig.handle(Event::Session(event::SessionState {
        webhook_changes: session.webhook_changes + 1,
        ..session
    }));
    assert!(reads(&rig.decide_after(Duration::from_millis(100))));
}

/// A webhook was left to another worker that delivers well. That worker is gone before the ten
/// seconds are over: its lanes must not wait for their end.
#[test]
fn a_webhook_that_was_left_to_others_is_sent_again_when_one_of_them_is_gone() {
    let mut rig = Rig::new(1);
    let other = Uuid::from_u128(7);
    let session = |others: &[Uuid], rig: &Rig| {
        Event::Session(event::SessionState { others: others.into(), ..rig.engine.session.clone() })
    };
    let both = session(&[other], &rig);
    rig.handle(both);
    let now = rig.now;
    let breaker = rig.engine.breakers.of(1);
    while !breaker.failed(1, true, now) {}
    breaker.asked(now);
    assert_eq!(breaker.answered(Opening::Refused, now), Turn::None);
    rig.engine.breakers.suspects.insert(1, (0, "it failed".to_owned()));
    let same = session(&[other], &rig);
    rig.handle(same);
    assert!(!rig.engine.breakers.may_send(1), "it is left to the other one");
    let alone = session(&[], &rig);
    rig.handle(alone);
    assert!(rig.engine.breakers.may_send(1) && rig.engine.breakers.suspects.is_empty());
}
