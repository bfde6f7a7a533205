//! Operators at work beside workers: replays, cancels, skips and retries keep each lane in order.

use std::collections::{BTreeMap, BTreeSet};

use pgtopic::{
    domain::operation::{CancelOutcome, Removal, ReplayOutcome},
    store::{Release, Store},
};
use pgtopic_testkit::{Answer, Broker, Gate, Puppet, Received, Scene};
use tokio_postgres::Client;

/// A worker drops what it has read when a settle says that the lane has changed.
#[tokio::test]
async fn a_message_behind_the_one_that_is_sent_can_be_canceled() {
    let scene = Scene::with_webhook(&[]).await;
    let gates: BTreeMap<i64, Gate> = (1..=4).map(|id| (id, Gate::closed())).collect();
    let held = gates.clone();
    scene.receiver.set_script(move |received| {
        Answer::Held(held[&received.position()].clone(), Box::new(Answer::Status(204)))
    });
    assert_eq!(scene.publish(&["a", "a", "a", "a"]).await, [1, 2, 3, 4]);
    let _broker = Broker::start(scene.store());
    scene.receiver.wait_for(1).await;
    let head = scene.store().cancel_deliveries(1, &[1], Removal::Cancel, true, "test").await.unwrap();
    assert!(matches!(head[0].1, CancelOutcome::InFlight { since: Some(_), .. }), "{head:?}");
    let behind = scene.store().cancel_deliveries(1, &[3], Removal::Cancel, true, "test").await.unwrap();
    assert!(matches!(behind[0].1, CancelOutcome::Removed { .. }), "{behind:?}");

    gates[&1].open();
    scene.receiver.wait_for(2).await;
    scene.until("NOT EXISTS (SELECT FROM deliveries WHERE message_id = 1)").await;
    gates.values().for_each(Gate::open);
    scene.nothing_owed().await;
    let sent: Vec<i64> = scene.receiver.received().iter().map(Received::position).collect();
    assert_eq!(sent, [1, 2, 4]);
    assert_eq!(scene.text("SELECT reason FROM dead_letters").await, "canceled");
}

/// What was canceled while it was on its way, and was accepted, is delivered.
#[tokio::test]
async fn a_canceled_message_that_is_accepted_is_delivered() {
    let scene = Scene::with_webhook(&[]).await;
    let gate = Gate::closed();
    let held = gate.clone();
    scene.receiver.set_script(move |received| match received.position() {
        2 => Answer::Held(held.clone(), Box::new(Answer::Status(204))),
        _ => Answer::Status(204),
    });
    scene.publish(&["a", "a"]).await;
    // Nothing is settled, so the first message stays the head.
    scene
        .sql(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no'; END$$;
             CREATE TRIGGER fail BEFORE DELETE ON deliveries FOR EACH ROW WHEN (OLD.message_id = 1) EXECUTE FUNCTION fail()",
        )
        .await;
    let _broker = Broker::start(scene.store());
    scene.receiver.wait_for(2).await;
    let outcome = scene.store().cancel_deliveries(1, &[2], Removal::Cancel, true, "test").await.unwrap();
    assert!(matches!(outcome[0].1, CancelOutcome::Removed { .. }), "{outcome:?}");
    assert_eq!(scene.number("SELECT count(*) FROM dead_letters").await, 1);
    gate.open();
    scene.sql("DROP TRIGGER fail ON deliveries").await;
    scene.until("NOT EXISTS (SELECT FROM dead_letters)").await;
    scene.nothing_owed().await;
}

/// Rule 1: the lane of a gone worker is anybody's, so its head can be canceled.
#[tokio::test]
async fn the_head_of_a_gone_workers_lane_can_be_canceled() {
    let scene = Scene::with_webhook(&[]).await;
    let ids = scene.publish(&["a", "a"]).await;
    let puppet = Puppet::new(&scene).await;
    puppet.claim(1).await.unwrap();
    let cancel = async || {
        let outcomes = scene.store().cancel_deliveries(1, &ids[..1], Removal::Cancel, true, "test").await;
        outcomes.unwrap().remove(0).1
    };
    assert!(matches!(cancel().await, CancelOutcome::InFlight { worker, .. } if worker == puppet.id));
    let lock = "BEGIN; SELECT FROM lanes FOR UPDATE";
    let client = scene.another_client().await;
    client.batch_execute(lock).await.unwrap();
    let released = puppet.store.release_worker(puppet.id).await.unwrap();
    assert_eq!(released, Release { marked: true, lanes: 0, complete: false });
    client.batch_execute("COMMIT").await.unwrap();
    assert!(matches!(cancel().await, CancelOutcome::Removed { .. }));
}

/// A lane whose stripe is taken is left by a step over many, with all that follows in it. One
/// message waits, and says so.
#[tokio::test]
async fn a_replay_leaves_the_lanes_of_a_stripe_that_is_taken() {
    use ReplayOutcome::{Absent, Replayed, StripeTaken};

    let scene = Scene::with_webhook(&[]).await;
    let ids = scene.publish(&["a", "b", "a", "b"]).await;
    let all = scene.store().cancel_deliveries(1, &ids, Removal::Cancel, false, "test").await.unwrap();
    assert!(all.iter().all(|(_, outcome)| matches!(outcome, CancelOutcome::Removed { .. })), "{all:?}");
    let publisher = scene.another_client().await;
    let publish = "BEGIN; INSERT INTO messages (topic_id, partition_key, payload) VALUES (1, 'a', '{}')";
    publisher.batch_execute(publish).await.unwrap();
    let letters: Vec<i64> = all
        .iter()
        .map(|(_, outcome)| match outcome {
            CancelOutcome::Removed { dead_letter_id } => *dead_letter_id,
            other => panic!("{other:?}"),
        })
        .collect();
    let replay = async |ids: &[i64], waits| {
        let replayed = scene.store().replay_dead_letters(ids, waits).await.unwrap();
        replayed.into_iter().map(|one| one.outcome).collect::<Vec<_>>()
    };
    assert_eq!(replay(&letters, false).await, [StripeTaken, Replayed, StripeTaken, Replayed]);
    assert_eq!(replay(&letters[..1], true).await, [StripeTaken], "it waits a second");
    publisher.batch_execute("COMMIT").await.unwrap();
    assert_eq!(replay(&letters, false).await.iter().filter(|one| **one == Replayed).count(), 2);
    assert_eq!(replay(&letters, false).await, [Absent; 4]);
}

/// A small generator of numbers, so that a failing run can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % most.max(1)
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        (!of.is_empty()).then(|| of[self.below(of.len())])
    }
}

async fn ids(client: &Client, sql: &str) -> Vec<i64> {
    client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// What the operators have done to the messages of one webhook.
#[derive(Default)]
struct Touched {
    /// How often each message was replayed.
    replayed: BTreeMap<i64, usize>,
}

async fn operate(store: &Store, client: &Client, random: &mut Random, webhook: i64, touched: &mut Touched) {
    let owed = ids(client, &format!("SELECT message_id FROM deliveries WHERE webhook_id = {webhook}")).await;
    let letters = ids(client, &format!("SELECT id FROM dead_letters WHERE webhook_id = {webhook}")).await;
    match random.below(6) {
        0 => {
            if let Some(id) = random.pick(&owed) {
                store.cancel_deliveries(webhook, &[id], Removal::Cancel, true, "test").await.unwrap();
            }
        }
        1 => {
            if let Some(id) = random.pick(&owed) {
                store.cancel_deliveries(webhook, &[id], Removal::Skip, true, "test").await.unwrap();
            }
        }
        2 => {
            let some: Vec<i64> = letters.iter().copied().filter(|_| random.below(3) == 0).collect();
            for one in store.replay_dead_letters(&some, false).await.unwrap() {
                if one.outcome == ReplayOutcome::Replayed {
                    *touched.replayed.entry(one.delivery.unwrap().1).or_default() += 1;
                }
            }
        }
        3 => {
            let all = ids(client, "SELECT id FROM messages").await;
            let some: Vec<i64> = random.pick(&all).into_iter().collect();
            for (id, outcome) in store.replay_deliveries(webhook, &some, true).await.unwrap() {
                if outcome == ReplayOutcome::Replayed {
                    *touched.replayed.entry(id).or_default() += 1;
                }
            }
        }
        4 => {
            let lanes = store.list_held_up_lanes(webhook, None, 1000).await.unwrap();
            store.retry_lanes(webhook, &lanes, "test").await.unwrap();
        }
        _ => {}
    }
}

/// What must hold of one webhook when nothing is owed any more.
async fn check(scene: &Scene, webhook: i64, path: &str, touched: &Touched) {
    let received = scene.receiver.received();
    let letters: BTreeSet<i64> =
        ids(&scene.client, &format!("SELECT message_id FROM dead_letters WHERE webhook_id = {webhook}"))
            .await
            .into_iter()
            .collect();
    for key in ["a", "b", "c"] {
        let sql = format!("SELECT id FROM messages WHERE partition_key = '{key}' ORDER BY id");
        let accepted: Vec<i64> = received
            .iter()
            .filter(|one| one.path == path && one.partition() == key && one.accepted())
            .map(Received::position)
            .collect();
        for id in ids(&scene.client, &sql).await {
            let times = accepted.iter().filter(|one| **one == id).count();
            let replayed = touched.replayed.get(&id).copied().unwrap_or_default();
            assert!(
                times <= 1 + replayed,
                "{path}: message {id} was accepted {times} times, replayed {replayed}"
            );
            assert!(times > 0 || letters.contains(&id), "{path}: message {id} is lost");
        }
        let live: Vec<i64> =
            accepted.iter().copied().filter(|id| !touched.replayed.contains_key(id)).collect();
        assert!(live.is_sorted(), "{path} {key}: {live:?}");
    }
}

/// Random operations beside workers, publishers and a receiver that refuses every seventh message
/// for a while. One webhook gives up what is refused, one halts.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_operators_do_nothing_is_lost_or_out_of_order() {
    let scene = Scene::new().await;
    let settings = [("max_retries", "1")];
    let gives_up = scene.webhook("/gives-up", &settings).await;
    let halts = scene.webhook("/halts", &[settings[0], ("on_exhausted", "'halt'")]).await;
    scene
        .receiver
        .set_script(|received| Answer::Status(if received.position() % 7 == 0 { 503 } else { 204 }));
    let brokers = [Broker::start(scene.store()), Broker::start(scene.store())];
    let (store, client) = (scene.store(), scene.another_client().await);
    let mut random = Random(42);
    let mut touched = [Touched::default(), Touched::default()];
    for _ in 0..250 {
        for _ in 0..random.below(3) {
            let key = random.pick(&["a", "b", "c"]).unwrap();
            scene.publish(&[key]).await;
        }
        for (webhook, touched) in [gives_up, halts].into_iter().zip(&mut touched) {
            operate(&store, &client, &mut random, webhook, touched).await;
        }
    }
    scene.receiver.set_script(|_| Answer::Status(204));
    let retry = async {
        loop {
            let lanes = store.list_held_up_lanes(halts, None, 1000).await.unwrap();
            store.retry_lanes(halts, &lanes, "test").await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = scene.no_lane_left() => {}
        () = retry => {}
    }
    assert!(touched.iter().all(|touched| touched.replayed.len() > 10), "the run did something");
    check(&scene, gives_up, "/gives-up", &touched[0]).await;
    check(&scene, halts, "/halts", &touched[1]).await;
    drop(brokers);
}
