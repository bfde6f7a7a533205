//! Messages that are too old for their webhook: they become dead letters, and are not sent.

use pgtopic_testkit::{Answer, Broker, Gate, Http, Puppet, Received, Scene};
use serde_json::json;

/// The dead letters, by message.
async fn dead(scene: &Scene) -> String {
    let sql = "SELECT string_agg(concat_ws(' ', message_id, reason, attempts), ', ' ORDER BY message_id) FROM dead_letters";
    scene.text(sql).await
}

fn sent(scene: &Scene) -> Vec<i64> {
    scene.receiver.received().iter().map(Received::position).collect()
}

/// Makes messages old, as if they had been published an hour ago.
async fn grow_old(scene: &Scene, ids: &[i64]) {
    let ids = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let hour = "clock_timestamp() - interval '1 h'";
    scene
        .sql(&format!("UPDATE messages SET created_at = {hour}, published_at = {hour} WHERE id IN ({ids})"))
        .await;
}

#[tokio::test]
async fn what_is_too_old_is_not_sent_and_its_lane_goes_on() {
    let scene = Scene::with_webhook(&[("max_age_seconds", "600")]).await;
    scene.webhook("/patient", &[]).await;
    let ids = scene.publish(&["a", "a", "a", "b", "a"]).await;
    grow_old(&scene, &[ids[0], ids[1], ids[4]]).await;
    let _broker = Broker::start(scene.store());
    scene.nothing_owed().await;
    let received = scene.receiver.received();
    let to = |path: &str| {
        received.iter().filter(|one| one.path == path).map(Received::position).collect::<Vec<_>>()
    };
    assert_eq!(to("/patient").len(), 5, "it has no limit");
    let mut young = to("/");
    young.sort_unstable();
    assert_eq!(young, [ids[2], ids[3]]);
    let expected = [ids[0], ids[1], ids[4]].map(|id| format!("{id} expired 0"));
    assert_eq!(dead(&scene).await, expected.join(", "));
    let why = Http::serve(scene.store()).await.get(&format!("/messages/{}/why", ids[0])).await;
    assert_eq!(why["webhooks"][0]["reason"], "expired", "{why}");
}

/// The clock of the trigger counts, too: an old event that is published now is new.
#[tokio::test]
async fn an_age_counts_from_the_later_of_two_times_and_no_publisher_says_both() {
    let scene = Scene::with_webhook(&[("max_age_seconds", "600")]).await;
    scene
        .sql(
            "INSERT INTO messages (topic_id, payload, created_at, published_at)
             VALUES (1, '1', now() - interval '1 year', now() - interval '1 year')",
        )
        .await;
    let ids = scene.publish(&["a", "b"]).await;
    // An event of the future, and one that arrived an hour ago.
    scene.sql(&format!("UPDATE messages SET created_at = now() + interval '1 h', published_at = now() - interval '1 h' WHERE id = {}", ids[0])).await;
    scene.sql(&format!("UPDATE messages SET created_at = now() - interval '2 h', published_at = now() - interval '1 h' WHERE id = {}", ids[1])).await;
    let _broker = Broker::start(scene.store());
    scene.nothing_owed().await;
    assert_eq!(dead(&scene).await, format!("{} expired 0", ids[1]));
    assert_eq!(scene.receiver.count(), 2);
}

/// Both the message that was read long before its turn, and the one that waits for its next attempt.
#[tokio::test]
async fn an_age_is_judged_right_before_a_message_is_sent() {
    let scene = Scene::with_webhook(&[("max_age_seconds", "2"), ("backoff_factor", "60")]).await;
    let gate = Gate::closed();
    let held = gate.clone();
    scene.receiver.set_script(move |received| match received.partition() {
        "slow" => Answer::Held(held.clone(), Box::new(Answer::Status(204))),
        _ => Answer::Status(500),
    });
    let ids = scene.publish(&["slow", "slow", "fails"]).await;
    let _broker = Broker::start(scene.store());
    scene.receiver.wait_for(2).await;
    // The leader gives up the one that waits. The first one is on its way, however old it is.
    scene.until(&format!("EXISTS (SELECT FROM dead_letters WHERE message_id = {})", ids[2])).await;
    gate.open();
    scene.nothing_owed().await;
    let expected = format!("{} expired 0, {} expired 1", ids[1], ids[2]);
    assert_eq!(dead(&scene).await, expected);
    let mut all = sent(&scene);
    all.sort_unstable();
    assert_eq!(all, [ids[0], ids[2]]);
}

/// Nobody sends anything. So it is the leader who gives up what is too old.
#[tokio::test]
async fn the_leader_gives_up_what_is_too_old_for_webhooks_that_are_paused_or_disabled() {
    let scene = Scene::new().await;
    let limit = ("max_age_seconds", "600");
    scene.webhook("/paused", &[limit, ("paused", "true")]).await;
    scene.webhook("/disabled", &[limit, ("disabled_reason", "'gone'")]).await;
    scene.webhook("/starting", &[("paused", "true")]).await;
    // More than one step looks at, and more in one lane than one step gives up.
    scene
        .sql(
            "INSERT INTO messages (topic_id, partition_key, payload)
             SELECT 1, CASE WHEN n <= 1100 THEN 'key-' || n ELSE 'deep' END, '{}' FROM generate_series(1, 1350) n;
             UPDATE messages SET created_at = now() - interval '1 h', published_at = now() - interval '1 h'",
        )
        .await;
    let young = scene.publish(&["deep", "young"]).await;
    let _broker = Broker::start(scene.store());
    scene.until("(SELECT count(*) FROM dead_letters WHERE reason = 'expired') = 2 * 1350").await;
    let owed = "SELECT count(*) FROM deliveries WHERE webhook_id < 3";
    assert_eq!(scene.number(owed).await, 4, "the young ones");
    assert_eq!(scene.number("SELECT count(*) FROM deliveries WHERE webhook_id = 3").await, 1352, "no limit");
    assert_eq!(scene.receiver.count(), 0);
    scene.sql("UPDATE webhooks SET paused = false WHERE id = 1").await;
    let all = scene.receiver.wait_for(2).await;
    let mut sent: Vec<i64> = all.iter().map(Received::position).collect();
    sent.sort_unstable();
    assert_eq!(sent, young);
}

/// A message behind a young one waits: the order is kept. So does what an operator must look at,
/// what a worker holds, and what somebody has asked for.
#[tokio::test]
async fn what_is_left_alone() {
    let scene = Scene::with_webhook(&[]).await;
    let ids = scene.publish(&["behind", "behind", "halted", "held", "replayed"]).await;
    let puppet = Puppet::new(&scene).await;
    scene.sql("UPDATE lanes SET due_at = 'infinity' WHERE partition_key <> 'held'").await;
    assert_eq!(puppet.claim(1).await.unwrap().len(), 1);
    scene
        .sql(
            "UPDATE lanes SET due_at = now() WHERE partition_key <> 'held';
             UPDATE lanes SET halted = true, due_at = 'infinity', failures = 1, head_message_id = position + 1
              WHERE partition_key = 'halted';
             UPDATE deliveries SET replayed_at = now() WHERE message_id = (SELECT max(id) FROM messages);
             UPDATE webhooks SET max_age_seconds = 600, paused = true",
        )
        .await;
    grow_old(&scene, &ids[1..]).await;
    let leader = scene.leader().await;
    let all = pgtopic::domain::lane::LaneKey { webhook_id: 0, lane: i64::MIN };
    assert_eq!(leader.expire_deliveries(all).await.unwrap().messages, 0);
    grow_old(&scene, &ids[..1]).await;
    assert_eq!(leader.expire_deliveries(all).await.unwrap().messages, 2, "the first one, and the one behind");
    assert_eq!(dead(&scene).await, format!("{} expired 0, {} expired 0", ids[0], ids[1]));
}

/// Replays are sent, however old they are.
#[tokio::test]
async fn a_dead_letter_that_expired_can_be_replayed() {
    let scene = Scene::with_webhook(&[("max_age_seconds", "600")]).await;
    let ids = scene.publish(&["a"]).await;
    grow_old(&scene, &ids).await;
    let _broker = Broker::start(scene.store());
    scene.until("EXISTS (SELECT FROM dead_letters)").await;
    assert_eq!(scene.receiver.count(), 0);
    let http = Http::serve(scene.store()).await;
    http.act("/dead-letter/1/replay", &json!(null)).await;
    let received = scene.receiver.wait_for(1).await;
    assert_eq!(received[0].header("webhook-replay"), "true");
    scene.until("NOT EXISTS (SELECT FROM dead_letters) AND NOT EXISTS (SELECT FROM deliveries)").await;
}
