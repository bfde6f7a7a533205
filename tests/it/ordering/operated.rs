//! Operators at work beside workers: replays, cancels, skips and retries keep each lane in order.

use std::collections::BTreeMap;

use pgtopic::{
    domain::operation::{CancelOutcome, Removal, ReplayOutcome},
    store::Release,
};
use pgtopic_testkit::{Answer, Broker, Gate, Puppet, Received, Scene};

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

/// If a row is locked, a replay of many leaves its message, with all that follow in the lane. What
/// is gone or owed already holds up nothing.
#[tokio::test]
async fn a_replay_leaves_what_is_locked_and_all_that_follows_in_the_lane() {
    use ReplayOutcome::{AlreadyOwed, MessageGone, Replayed, RowLocked};

    let scene = Scene::with_webhook(&[("paused", "true")]).await;
    let ids = scene.publish(&["a", "b", "a", "b", "a"]).await;
    scene.store().cancel_deliveries(1, &ids, Removal::Cancel, false, "test").await.unwrap();
    let client = scene.another_client().await;
    let replay_beside = async |lock: &str| {
        client.batch_execute(&format!("BEGIN; SELECT FROM {lock} FOR UPDATE")).await.unwrap();
        let outcomes = scene.store().replay_deliveries(1, &ids, false).await.unwrap();
        client.batch_execute("COMMIT").await.unwrap();
        outcomes.into_iter().map(|(_, outcome)| outcome).collect::<Vec<_>>()
    };
    let letter = "dead_letters WHERE message_id = 3";
    assert_eq!(replay_beside(letter).await, [Replayed, Replayed, RowLocked, Replayed, RowLocked]);
    let message = "messages WHERE id = 5";
    assert_eq!(replay_beside(message).await, [AlreadyOwed, AlreadyOwed, Replayed, AlreadyOwed, RowLocked]);
    let lane = "lanes WHERE partition_key = 'a'";
    assert_eq!(
        replay_beside(lane).await,
        [RowLocked, AlreadyOwed, RowLocked, AlreadyOwed, RowLocked],
        "whether it is owed is not looked at"
    );
    let letters = "SELECT string_agg(message_id::text, ' ') FROM dead_letters";
    assert_eq!(scene.text(letters).await, "5", "the dead letter goes when its message is owed");

    scene.store().cancel_deliveries(1, &ids[2..], Removal::Cancel, false, "test").await.unwrap();
    scene.sql("DELETE FROM messages WHERE id = 3").await;
    let outcomes = scene.store().replay_deliveries(1, &ids, false).await.unwrap();
    assert_eq!(
        outcomes.into_iter().map(|(_, outcome)| outcome).collect::<Vec<_>>(),
        [AlreadyOwed, AlreadyOwed, MessageGone, Replayed, Replayed]
    );
    assert_eq!(scene.text(letters).await, "3", "what cannot be delivered stays");
}

/// An unordered topic has no stripes that could be taken.
#[tokio::test]
async fn messages_of_an_unordered_topic_are_replayed() {
    let scene = Scene::new().await;
    scene.sql("INSERT INTO topics (name, ordering) VALUES ('loose', 'none')").await;
    let secret = pgtopic_testkit::SECRET;
    let insert = format!(
        "INSERT INTO webhooks (topic_id, url, secrets) SELECT 2, 'http://localhost/', ARRAY['{secret}']"
    );
    scene.sql(&insert).await;
    for _ in 0..2 {
        scene.sql("SELECT publish('loose', 'a', '{}')").await;
    }
    let ids: Vec<i64> = (1..=2).collect();
    let webhook = scene.number("SELECT id FROM webhooks").await;
    scene.store().cancel_deliveries(webhook, &ids, Removal::Cancel, false, "test").await.unwrap();
    let one = scene.store().replay_deliveries(webhook, &ids[..1], true).await.unwrap();
    assert_eq!(one, [(1, ReplayOutcome::Replayed)]);
    let letter = scene.number("SELECT id FROM dead_letters").await;
    let other = scene.store().replay_dead_letters(&[letter], false).await.unwrap();
    assert_eq!(other[0].outcome, ReplayOutcome::Replayed);
    assert_eq!(scene.number("SELECT count(*) FROM lanes WHERE stripe IS NULL").await, 2);
}

/// A lane that waits becomes due if a message is put before what it waits for. A halted lane stays
/// halted.
#[tokio::test]
async fn a_replay_makes_a_waiting_lane_due_only_in_front_of_its_head() {
    let scene = Scene::with_webhook(&[("paused", "true")]).await;
    scene.publish(&["a", "b", "a", "b", "a", "b"]).await;
    scene
        .sql(
            "DELETE FROM deliveries WHERE message_id NOT IN (3, 4);
             UPDATE lanes SET position = 2, failures = 1, wait_seconds = 60, due_at = now() + interval '1 minute', head_message_id = 3
              WHERE partition_key = 'a';
             UPDATE lanes SET position = 3, failures = 1, halted = true, due_at = 'infinity', head_message_id = 4
              WHERE partition_key = 'b'",
        )
        .await;
    let after = async |ids: &[i64]| {
        let outcomes = scene.store().replay_deliveries(1, ids, false).await.unwrap();
        assert!(outcomes.iter().all(|(_, outcome)| *outcome == ReplayOutcome::Replayed), "{outcomes:?}");
        let lanes = "SELECT string_agg(concat_ws(' ', partition_key, position, generation, due_at <= now(), wait_seconds, due_at = 'infinity'),
                                       ', ' ORDER BY partition_key) FROM lanes";
        scene.text(lanes).await
    };
    assert_eq!(after(&[5, 6]).await, "a 2 1 f 60 f, b 3 1 f t");
    assert_eq!(after(&[1, 2]).await, "a 0 2 t f, b 1 2 f t");
    let replays = "SELECT count(*) FROM deliveries WHERE replayed_at IS NOT NULL";
    assert_eq!(scene.number(replays).await, 4);
}
