//! Limits that hold for all workers together: `max_in_flight` and `rate_limit_per_second`.

use std::time::Duration;

use pgtopic::store::{Share, ShareAsk};
use pgtopic_testkit::{Answer, Broker, Puppet, Received, Scene, eventually, most_at_once};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

fn ask(wants: bool, slots_held: usize, rate_held: f64) -> ShareAsk {
    ShareAsk { webhook_id: 1, wants, slots_held, rate_held }
}

async fn share(worker: &Puppet, ask: ShareAsk) -> (Option<usize>, Option<f64>) {
    let shares = worker.store.share_limits(worker.id, &[ask], &[]).await.unwrap();
    let [Share { slots, rate, .. }] = *shares else { panic!("{shares:?}") };
    (slots, rate)
}

async fn workers(scene: &Scene, count: usize) -> Vec<Puppet> {
    let mut workers = Vec::new();
    for _ in 0..count {
        workers.push(Puppet::new(scene).await);
    }
    workers
}

#[tokio::test]
async fn a_limit_is_divided_among_the_workers_that_want_to_send() {
    let scene = Scene::with_webhook(&[("max_in_flight", "5"), ("rate_limit_per_second", "20")]).await;
    let [first, second] = &*workers(&scene, 2).await else { panic!() };
    assert_eq!(share(first, ask(true, 0, 0.0)).await, (Some(5), Some(20.0)));
    // All of it is held.
    assert_eq!(share(second, ask(true, 0, 0.0)).await, (Some(0), Some(0.0)));
    // The first one gives a part back, and may still use all of it until it asks again.
    assert_eq!(share(first, ask(true, 5, 20.0)).await, (Some(3), Some(10.0)));
    assert_eq!(share(second, ask(true, 0, 0.0)).await, (Some(0), Some(0.0)));
    assert_eq!(share(first, ask(true, 3, 10.0)).await, (Some(3), Some(10.0)));
    assert_eq!(share(second, ask(true, 0, 0.0)).await, (Some(2), Some(10.0)));
    // Who has nothing to send keeps a slot and a small part of the rate.
    assert_eq!(share(second, ask(false, 2, 10.0)).await, (Some(1), Some(0.5)));
    share(second, ask(false, 1, 0.5)).await;
    assert_eq!(share(first, ask(true, 3, 10.0)).await, (Some(4), Some(19.5)));
    // What is given back, or belongs to a worker that is gone, is free.
    second.store.share_limits(second.id, &[], &[1]).await.unwrap();
    assert_eq!(share(first, ask(true, 4, 19.5)).await, (Some(5), Some(20.0)));
    scene.sql(&format!("UPDATE workers SET gone = true WHERE id = '{}'", first.id)).await;
    assert_eq!(share(second, ask(true, 0, 0.0)).await, (Some(5), Some(20.0)));
    let refused = first.store.share_limits(first.id, &[ask(true, 5, 20.0)], &[]).await.unwrap_err();
    assert!(refused.is_not_registered(), "{refused}");
}

#[tokio::test]
async fn a_webhook_that_somebody_changes_keeps_its_shares() {
    let scene = Scene::with_webhook(&[("max_in_flight", "5")]).await;
    scene.webhook("/free", &[]).await;
    let worker = Puppet::new(&scene).await;
    assert_eq!(share(&worker, ask(true, 0, 0.0)).await, (Some(5), None));
    let operator = scene.another_client().await;
    operator.batch_execute("BEGIN; UPDATE webhooks SET max_in_flight = 2 WHERE id = 1").await.unwrap();
    let free = ShareAsk { webhook_id: 2, ..ask(true, 0, 0.0) };
    let asks = [ask(true, 5, 0.0), free];
    assert_eq!(worker.store.share_limits(worker.id, &asks, &[]).await.unwrap(), [], "one has no limit");
    operator.batch_execute("COMMIT").await.unwrap();
    assert_eq!(share(&worker, ask(true, 5, 0.0)).await, (Some(2), None));
    // The share of a webhook that is gone is given back.
    scene.sql("DELETE FROM webhooks").await;
    worker.store.share_limits(worker.id, &[], &[1]).await.unwrap();
    assert_eq!(scene.number("SELECT count(*) FROM shares").await, 0);
}

/// Whatever workers want, and whichever answers are lost, together they never have more than the
/// limit.
#[tokio::test]
async fn workers_never_have_more_than_the_limit_together() {
    const LIMIT: usize = 5;
    const RATE: f64 = 20.0;
    let scene = Scene::with_webhook(&[("max_in_flight", "5"), ("rate_limit_per_second", "20")]).await;
    let workers = workers(&scene, 7).await;
    let mut random = SmallRng::seed_from_u64(1);
    // What each worker may use, as far as it knows, and what it does use.
    let mut known = vec![(0_usize, 0.0_f64, 0_usize); workers.len()];
    let mut most = (0, 0.0_f64);
    for step in 0..600 {
        let at = random.random_range(0..workers.len());
        let (slots, rate, used) = known[at];
        let asked = ask(random.random_bool(0.6), slots.max(used), rate);
        let (granted, granted_rate) = share(&workers[at], asked).await;
        if random.random_bool(0.8) {
            known[at].0 = granted.unwrap();
            known[at].1 = granted_rate.unwrap();
        }
        for (slots, _, used) in &mut known {
            // Requests end at any time, and begin while the share covers them.
            *used = if random.random_bool(0.5) { (*used).max(*slots) } else { used.saturating_sub(1) };
        }
        let in_flight = known.iter().map(|(_, _, used)| used).sum::<usize>();
        let rates = known.iter().map(|(_, rate, _)| rate).sum::<f64>();
        assert!(in_flight <= LIMIT && rates <= RATE + 1e-9, "step {step}: {known:?}");
        most = (most.0.max(in_flight), most.1.max(rates));
    }
    assert_eq!(most.0, LIMIT, "it is used");
    assert!(most.1 > RATE * 0.9, "it is used: {most:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_have_no_more_in_flight_than_the_limit() {
    let scene = Scene::with_webhook(&[("max_in_flight", "2")]).await;
    scene.receiver.set_script(|_| Answer::After(Duration::from_millis(20), Box::new(Answer::Status(204))));
    let brokers = [Broker::start(scene.store()), Broker::start(scene.store())];
    for n in 0..60 {
        scene.publish(&[&format!("key-{}", n % 20)]).await;
    }
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    let received = scene.receiver.received();
    assert_eq!(most_at_once(&received), 2);
    // Nothing is to be sent any more. The shares are given back.
    eventually("no share", async || (scene.number("SELECT count(*) FROM shares").await == 0).then_some(()))
        .await;
    for broker in brokers {
        broker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_share_of_a_worker_that_dies_goes_to_the_others() {
    let scene = Scene::with_webhook(&[("max_in_flight", "1")]).await;
    scene.receiver.set_script(|_| Answer::Hang);
    let first = Broker::start(scene.store());
    scene.publish(&["a"]).await;
    scene.receiver.wait_for(1).await;
    let _second = Broker::start(scene.store());
    scene.until("(SELECT count(*) FROM workers) = 2").await;
    scene.receiver.set_script(|_| Answer::Status(204));
    let id = scene.publish(&["b"]).await[0];
    first.kill().await;
    let arrived = |all: &[Received]| all.iter().any(|request| request.position() == id);
    scene.receiver.wait_until("the other worker sends", arrived).await;
    scene.nothing_owed().await;
}

/// In any five seconds no more requests arrive than five seconds of the rate allow, and a tenth.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_keep_the_rate_together() {
    let scene = Scene::with_webhook(&[("rate_limit_per_second", "20")]).await;
    for n in 0..160 {
        scene.publish(&[&format!("key-{}", n % 40)]).await;
    }
    let _brokers = [Broker::start(scene.store()), Broker::start(scene.store())];
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    let received = scene.receiver.received();
    for one in &received {
        let within = |other: &&Received| {
            other.arrived >= one.arrived && other.arrived - one.arrived < Duration::from_secs(5)
        };
        let count = received.iter().filter(within).count();
        assert!(count <= 110, "{count} in five seconds");
    }
}
