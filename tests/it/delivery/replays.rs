//! Requests that carry replays. Mostly it does not matter here how a replay is asked for: its
//! deliveries are written as the rules say.

use pgtopic::domain::operation::ReplayOutcome;
use pgtopic_testkit::{Broker, Received, Scene};

/// Puts deliveries of the one lane back, as a replay does.
async fn replay(scene: &Scene, ids: &[i64]) {
    let sql = "WITH put_back AS (
                   INSERT INTO deliveries (webhook_id, lane, message_id, replayed_at)
                   SELECT 1, m.lane, m.id, now() FROM messages m WHERE m.id = ANY ($1)
                   RETURNING lane, message_id)
               INSERT INTO lanes AS l (webhook_id, lane, stripe, partition_key, due_at, position)
               SELECT 1, p.lane, stripe(1, 'a'), 'a', now(), min(p.message_id) - 1 FROM put_back p GROUP BY p.lane
               ON CONFLICT (webhook_id, lane) DO UPDATE
                  SET position = least(l.position, excluded.position), generation = l.generation + 1";
    scene.client.execute(sql, &[&ids]).await.unwrap();
}

/// Of each request: its name, and whether it says that it is a replay.
fn requests(received: &[Received]) -> Vec<(String, bool)> {
    let replay = |one: &Received| one.headers.get("webhook-replay").is_some_and(|value| value == "true");
    received.iter().map(|one| (one.header("webhook-id").to_owned(), replay(one))).collect()
}

#[tokio::test]
async fn a_replay_says_so_to_the_receiver_and_in_the_log() {
    let scene = Scene::with_webhook(&[]).await;
    let ids = scene.publish(&["a", "a"]).await;
    let broker = Broker::start(scene.store());
    scene.nothing_owed().await;
    broker.stop().await;
    replay(&scene, &ids[..1]).await;
    let later = scene.publish(&["a"]).await;
    let broker = Broker::start(scene.store());
    scene.nothing_owed().await;
    broker.stop().await;
    let name = |id: i64| format!("msg_{id}");
    assert_eq!(
        requests(&scene.receiver.received()),
        [(name(ids[0]), false), (name(ids[1]), false), (name(ids[0]), true), (name(later[0]), false)]
    );
    let log = "SELECT string_agg(concat(message_id, ' ', replay), ', ' ORDER BY attempted_at) FROM attempts";
    let [first, second, third] = [ids[0], ids[1], later[0]];
    assert_eq!(scene.text(log).await, format!("{first} f, {second} f, {first} t, {third} f"));
}

#[tokio::test]
async fn no_batch_mixes_replays_and_live_messages() {
    let scene = Scene::with_webhook(&[("batch_size", "10")]).await;
    let ids = scene.publish(&["a"; 4]).await;
    let broker = Broker::start(scene.store());
    scene.nothing_owed().await;
    broker.stop().await;
    let before = scene.receiver.count();
    replay(&scene, &ids[1..3]).await;
    let later = scene.publish(&["a"; 2]).await;
    let _broker = Broker::start(scene.store());
    scene.nothing_owed().await;
    let expected =
        [(format!("msg_{}-{}", ids[1], ids[2]), true), (format!("msg_{}-{}", later[0], later[1]), false)];
    assert_eq!(requests(&scene.receiver.received_after(before)), expected);
}

/// It has failed, was accepted later, and its worker was killed before it removed the lane. The row
/// may still tell of the failure.
#[tokio::test]
async fn a_replayed_message_has_all_its_attempts() {
    let scene = Scene::with_webhook(&[]).await;
    let ids = scene.publish(&["a"]).await;
    scene
        .sql("UPDATE lanes SET failures = 2, head_message_id = 1, last_error = 'refused'; DELETE FROM deliveries")
        .await;
    let replayed = scene.store().replay_deliveries(1, &ids, true).await.unwrap();
    assert_eq!(replayed, [(ids[0], ReplayOutcome::Replayed)]);
    let row = "SELECT concat_ws(' ', failures, head_message_id, last_error) FROM lanes";
    assert_eq!(scene.text(row).await, "0");
    let broker = Broker::start(scene.store());
    scene.nothing_owed().await;
    broker.stop().await;
    let received = scene.receiver.received();
    let attempts: Vec<&str> = received.iter().map(|one| one.header("webhook-attempt")).collect();
    assert_eq!(attempts, ["1"]);
}
