//! Webhooks that are owed more than they may be, and those that keep the latest message.

use pgtopic::store::CheckedBacklog;
use pgtopic_testkit::{Answer, Broker, Gate, Http, Puppet, Received, Scene};
use serde_json::json;

/// The dead letters of the first webhook, by message.
async fn dead(scene: &Scene) -> String {
    let sql = "SELECT string_agg(concat_ws(' ', message_id, reason, attempts), ', ' ORDER BY message_id)
                 FROM dead_letters WHERE webhook_id = 1";
    scene.text(sql).await
}

fn all(ids: &[i64], what: &str) -> String {
    ids.iter().map(|id| format!("{id} {what}")).collect::<Vec<_>>().join(", ")
}

/// What the first webhook is owed.
async fn owed(scene: &Scene) -> String {
    scene.text("SELECT string_agg(message_id::text, ' ' ORDER BY message_id) FROM deliveries WHERE webhook_id = 1").await
}

fn joined(ids: &[i64]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// What was sent, in this order.
fn sent(scene: &Scene) -> Vec<i64> {
    scene.receiver.received().iter().map(Received::position).collect()
}

async fn lane_of(scene: &Scene, key: &str) -> i64 {
    scene.number(&format!("SELECT lane FROM lanes WHERE webhook_id = 1 AND partition_key = '{key}'")).await
}

/// What the audit log says of overflows.
const CHANGES: &str =
    "SELECT string_agg(concat_ws(' ', webhook_id, kind, changed_by), ', ' ORDER BY id) FROM changes
                        WHERE kind LIKE 'webhook.overflow%'";

#[tokio::test]
async fn the_oldest_messages_of_a_webhook_that_is_owed_too_much_become_dead_letters() {
    let scene = Scene::with_webhook(&[("max_owed", "5"), ("paused", "true")]).await;
    scene.webhook("/other", &[("paused", "true")]).await;
    let ids = scene.publish(&["a", "b", "a", "c", "a", "b", "a", "a", "c", "b", "a", "b"]).await;
    let broker = Broker::start(scene.store());
    scene.until("(SELECT count(*) FROM deliveries WHERE webhook_id = 1) = 5").await;
    assert_eq!(dead(&scene).await, all(&ids[..7], "overflow 0"));
    assert_eq!(scene.number("SELECT count(*) FROM deliveries WHERE webhook_id = 2").await, 12, "no limit");
    let http = Http::serve(scene.store()).await;
    let why = http.get(&format!("/messages/{}/why", ids[0])).await;
    assert_eq!(
        (&why["webhooks"][0]["state"], &why["webhooks"][0]["reason"]),
        (&json!("dead"), &json!("overflow"))
    );
    assert_eq!(http.get("/webhooks/1").await["overflowing"], true);
    assert_eq!(scene.text(CHANGES).await, "1 webhook.overflowing leader");
    // What somebody asks for again is sent, and takes nobody's place.
    let letter = http.get("/dead-letter?limit=1").await["items"][0].clone();
    http.act(&format!("/dead-letter/{}/replay", letter["id"]), &json!(null)).await;
    let late = scene.publish(&["c"]).await;
    scene
        .until(&format!(
            "NOT EXISTS (SELECT FROM deliveries WHERE webhook_id = 1 AND message_id = {})",
            ids[7]
        ))
        .await;
    let replayed = letter["message_id"].as_i64().unwrap();
    assert_eq!(owed(&scene).await, joined(&[&[replayed], &ids[8..], &late].concat()));

    http.act("/webhooks/1/resume", &json!(null)).await;
    scene.until("NOT EXISTS (SELECT FROM deliveries WHERE webhook_id = 1)").await;
    scene.until("NOT (SELECT overflowing FROM webhooks WHERE id = 1)").await;
    assert_eq!(scene.text(CHANGES).await, "1 webhook.overflowing leader, 1 webhook.overflow_ended leader");
    assert_eq!(scene.receiver.count(), 6);
    broker.stop().await;
}

/// The count of the first webhook.
async fn checked(leader: &pgtopic::store::LeaderStore) -> Option<(u64, bool, bool)> {
    let checked = leader.check_backlogs(0, &[]).await.unwrap();
    let found = checked.into_iter().find(|one| one.webhook_id == 1);
    found.map(|CheckedBacklog { excess, overflows, changed, .. }| (excess, overflows, changed))
}

/// What a worker holds, what an operator must look at, and what somebody has asked for.
#[tokio::test]
async fn what_is_left_alone() {
    let scene = Scene::with_webhook(&[]).await;
    let ids =
        scene.publish(&["held", "held", "halted", "replayed", "free", "free", "free", "more", "more"]).await;
    let puppet = Puppet::new(&scene).await;
    scene.sql("UPDATE lanes SET due_at = 'infinity' WHERE partition_key <> 'held'").await;
    assert_eq!(puppet.claim(1).await.unwrap().len(), 1);
    scene
        .sql(&format!(
            "UPDATE lanes SET due_at = now() WHERE partition_key IN ('replayed', 'free', 'more');
             UPDATE lanes SET halted = true WHERE partition_key = 'halted';
             UPDATE deliveries SET replayed_at = now() WHERE message_id = {};
             UPDATE webhooks SET max_owed = 1",
            ids[3]
        ))
        .await;
    let leader = scene.leader().await;
    assert_eq!(checked(&leader).await, Some((7, true, true)), "8 of the 9, and one may be owed");
    assert_eq!(checked(&leader).await, Some((7, true, false)));
    let (free, more) = (lane_of(&scene, "free").await, lane_of(&scene, "more").await);
    let listed = leader.list_overflow(1, 100, &[]).await.unwrap();
    let expected: Vec<(i64, i64)> =
        [(4, free), (5, free), (6, free), (7, more), (8, more)].map(|(at, lane)| (ids[at], lane)).into();
    assert_eq!(listed, expected);
    assert_eq!(leader.list_overflow(1, 2, &[free]).await.unwrap(), expected[3..]);

    // Somebody publishes to one of the partitions. The other one goes on.
    let client = scene.another_client().await;
    client
        .batch_execute(
            "BEGIN; INSERT INTO messages (topic_id, partition_key, payload) VALUES (1, 'free', '1')",
        )
        .await
        .unwrap();
    let dropped = leader.drop_overflow(1, &listed).await.unwrap();
    assert_eq!((dropped.messages, &dropped.left_lanes[..]), (2, &[free][..]));
    client.batch_execute("ROLLBACK").await.unwrap();
    // A worker has claimed the lane since it was listed; or it was halted.
    for set in ["claimed_by = gen_random_uuid()", "claimed_by = NULL, halted = true"] {
        scene.sql(&format!("UPDATE lanes SET {set} WHERE partition_key = 'free'")).await;
        let dropped = leader.drop_overflow(1, &listed).await.unwrap();
        assert_eq!((dropped.messages, &dropped.left_lanes[..]), (0, &[free][..]), "{set}");
    }
    scene.sql("UPDATE lanes SET halted = false WHERE partition_key = 'free'").await;
    // Also if the claim comes right before the lock.
    let outcome =
        format!("SELECT outcome FROM cancel_deliveries(1, ARRAY[{}], 'overflow', false, 'leader')", ids[1]);
    assert_eq!(scene.text(&outcome).await, "in_flight");
    for policy in ["on_overflow = 'refuse'", "on_overflow = DEFAULT, max_owed = NULL"] {
        scene.sql(&format!("UPDATE webhooks SET {policy}")).await;
        assert_eq!(leader.drop_overflow(1, &listed).await.unwrap().messages, 0, "{policy}");
    }
    assert_eq!(dead(&scene).await, all(&ids[7..], "overflow 0"));
    assert_eq!(checked(&leader).await, Some((0, false, true)), "there is no limit any more");
    assert_eq!(checked(&leader).await, None);
}

/// So that the audit log does not fill up if what is owed is about as much as may be.
#[tokio::test]
async fn an_overflow_ends_when_clearly_less_is_owed() {
    let scene = Scene::with_webhook(&[("max_owed", "10"), ("on_overflow", "'refuse'")]).await;
    let ids = scene.publish(&["a"; 11]).await;
    let leader = scene.leader().await;
    for (owed, expected) in
        [(11, (0, true, true)), (10, (0, true, false)), (9, (0, false, true)), (9, (0, false, false))]
    {
        scene.sql(&format!("DELETE FROM deliveries WHERE message_id > {}", ids[owed - 1])).await;
        assert_eq!(checked(&leader).await, Some(expected), "{owed}");
    }
    scene.sql("UPDATE webhooks SET max_owed = 3, state = 'starting'").await;
    assert_eq!(checked(&leader).await, None, "it cannot send yet");
    let reason = "SELECT reason FROM changes WHERE kind = 'webhook.overflowing'";
    assert_eq!(scene.text(reason).await, "it is owed more than 10 messages; on_overflow is refuse");
}

#[tokio::test]
async fn a_topic_refuses_messages_while_a_webhook_that_wants_so_is_owed_too_much() {
    let settings =
        [("name", "'billing'"), ("max_owed", "2"), ("on_overflow", "'refuse'"), ("paused", "true")];
    let scene = Scene::with_webhook(&settings).await;
    scene.sql("INSERT INTO topics (name) VALUES ('others')").await;
    let ids = scene.publish(&["a", "b", "c"]).await;
    let broker = Broker::start(scene.store());
    scene.until("(SELECT accepted_bytes < 0 FROM topics WHERE id = 1)").await;
    let insert = "INSERT INTO messages (topic_id, payload) VALUES (1, '1')";
    let error = scene.client.batch_execute(insert).await.unwrap_err();
    let error = error.as_db_error().unwrap().clone();
    assert_eq!(
        (error.code().code(), error.column(), error.detail()),
        ("53400", Some("max_owed"), Some("orders:billing"))
    );
    let text =
        "topic \"orders\" takes no messages: its webhook \"billing\" is owed more than its max_owed of 2";
    assert_eq!(error.message(), text);
    let http = Http::serve(scene.store()).await;
    for (path, body) in [
        ("/topics/orders/messages", json!({"payload": 1})),
        ("/topics/orders/messages/batch", json!({"messages": [{"payload": 1}]})),
    ] {
        let (status, problem) = http.try_post(path, &body).await.unwrap();
        assert_eq!(status, 409, "{problem}");
        let told = (&problem["type"], &problem["detail"], &problem["webhook"]);
        assert_eq!(told, (&json!("/problems/overflow"), &json!(text), &json!("orders:billing")));
    }
    http.post("/topics/others/messages", &json!({"payload": 1})).await;
    // Nothing is given up.
    assert_eq!((owed(&scene).await, dead(&scene).await), (joined(&ids), String::new()));

    // A pause of the topic is the first reason.
    scene.sql("UPDATE topics SET paused = 'refuse' WHERE id = 1").await;
    let error = scene.client.batch_execute(insert).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "55000");
    scene.sql("UPDATE topics SET paused = NULL WHERE id = 1").await;
    // Nobody waits for the leader to see a change.
    broker.stop().await;
    for (allows, refuses) in [
        ("UPDATE webhooks SET on_overflow = DEFAULT", "UPDATE webhooks SET on_overflow = 'refuse'"),
        ("UPDATE webhooks SET overflowing = false", "UPDATE webhooks SET overflowing = true"),
    ] {
        scene.sql(&format!("{allows}; {insert}; {refuses}")).await;
        assert!(scene.client.batch_execute(insert).await.is_err(), "{refuses}");
    }

    let _broker = Broker::start(scene.store());
    http.act("/webhooks/orders:billing/resume", &json!(null)).await;
    scene.until("(SELECT accepted_bytes > 0 FROM topics WHERE id = 1)").await;
    http.post("/topics/orders/messages", &json!({"payload": 1})).await;
    scene.nothing_owed().await;
    // With the webhook, its refusal goes too.
    scene.sql("UPDATE webhooks SET overflowing = true; DELETE FROM webhooks").await;
    http.post("/topics/orders/messages", &json!({"payload": 1})).await;
}

#[tokio::test]
async fn only_the_newest_message_of_a_partition_is_sent_to_a_webhook_that_keeps_the_latest() {
    let scene = Scene::with_webhook(&[("on_overflow", "'keep_latest'"), ("backoff_factor", "60")]).await;
    scene.webhook("/all", &[]).await;
    let gate = Gate::closed();
    let held = gate.clone();
    scene.receiver.set_script(move |received| match (&*received.path, received.partition()) {
        ("/", "slow") => Answer::Held(held.clone(), Box::new(Answer::Status(204))),
        ("/", "fails") => Answer::Status(500),
        _ => Answer::Status(204),
    });
    let to = |path: &str, key: &str| {
        let received = scene.receiver.received();
        let all = received.iter().filter(|one| one.path == path && one.partition() == key);
        all.map(Received::position).collect::<Vec<_>>()
    };
    let (slow, fails) = (scene.publish(&["slow"]).await, scene.publish(&["fails"]).await);
    let _broker = Broker::start(scene.store());
    scene.receiver.wait_for(4).await;
    scene
        .until("EXISTS (SELECT FROM lanes WHERE webhook_id = 1 AND partition_key = 'fails' AND failures = 1)")
        .await;
    let later = scene.publish(&["slow", "slow", "slow", "fails", "marker"]).await;
    // The worker has heard of what was published before this one.
    scene.arrival(later[4]).await;
    gate.open();
    // The receiver answers again, and the lane's wait is over.
    scene.receiver.set_script(|_| Answer::Status(204));
    scene.sql("UPDATE lanes SET due_at = now(), wait_seconds = NULL WHERE webhook_id = 1 AND claimed_by IS NULL").await;
    scene.nothing_owed().await;
    assert_eq!(to("/", "slow"), [slow[0], later[2]]);
    assert_eq!(to("/", "fails"), [fails[0], later[3]]);
    assert_eq!(to("/all", "slow"), [&slow[..], &later[..3]].concat(), "it is owed all");
    let expected = format!("{} superseded 1, {}", fails[0], all(&later[..2], "superseded 0"));
    assert_eq!(dead(&scene).await, expected);
    let http = Http::serve(scene.store()).await;
    assert_eq!(http.get("/dead-letter/count").await["count"], 0, "nobody has failed to get them");
    assert_eq!(http.get("/dead-letter/count?reason=superseded").await["count"], 3);
    let why = http.get(&format!("/messages/{}/why", later[0])).await;
    assert_eq!(
        (&why["webhooks"][0]["state"], &why["webhooks"][0]["reason"]),
        (&json!("superseded"), &json!(null))
    );

    // What is replayed is sent.
    let letter = http.get("/dead-letter?reason=superseded&partition_key=slow").await["items"][0].clone();
    http.act(&format!("/dead-letter/{}/replay", letter["id"]), &json!(null)).await;
    let came = |all: &[Received]| all.iter().any(|one| one.headers.contains_key("webhook-replay"));
    let received = scene.receiver.wait_until("a replay", came).await;
    assert_eq!(received.last().unwrap().position(), letter["message_id"].as_i64().unwrap());
}

/// However many messages a partition owes. None of the others is read.
#[tokio::test]
async fn of_a_deep_partition_the_newest_message_alone_is_sent() {
    let scene = Scene::with_webhook(&[("on_overflow", "'keep_latest'")]).await;
    scene
        .sql(
            "INSERT INTO messages (topic_id, partition_key, payload)
             SELECT 1, CASE WHEN n % 1000 = 0 THEN 'other' ELSE 'deep' END, '1' FROM generate_series(1, 5001) n;
             UPDATE deliveries SET replayed_at = now() WHERE message_id = (SELECT min(id) + 1 FROM messages)",
        )
        .await;
    let _broker = Broker::start(scene.store());
    scene.nothing_owed().await;
    let newest = scene.text("SELECT string_agg(id::text, ' ' ORDER BY id) FROM messages WHERE id IN
                             (SELECT max(id) FROM messages GROUP BY lane UNION SELECT min(id) + 1 FROM messages)").await;
    let mut all = sent(&scene);
    all.sort_unstable();
    assert_eq!(joined(&all), newest, "and the replay");
    assert_eq!(scene.number("SELECT count(*) FROM dead_letters WHERE reason = 'superseded'").await, 4_998);
}

#[tokio::test]
async fn the_leader_thins_the_partitions_of_a_webhook_that_keeps_the_latest_and_is_owed_too_much() {
    let settings = [("on_overflow", "'keep_latest'"), ("max_owed", "3"), ("paused", "true")];
    let scene = Scene::with_webhook(&settings).await;
    let ids = scene.publish(&["a", "b", "a", "c", "a", "c", "d", "a", "e"]).await;
    let _broker = Broker::start(scene.store());
    scene.until("(SELECT count(*) FROM deliveries) = 5").await;
    assert_eq!(owed(&scene).await, joined(&[1, 5, 6, 7, 8].map(|at| ids[at])));
    assert_eq!(dead(&scene).await, all(&[0, 2, 3, 4].map(|at| ids[at]), "superseded 0"));
    scene.sql("UPDATE webhooks SET paused = false").await;
    scene.nothing_owed().await;
    assert_eq!(scene.receiver.count(), 5);
}

/// A transaction that is open for long holds its partition. The others make room.
#[tokio::test]
async fn a_partition_that_is_held_does_not_keep_the_others() {
    let scene = Scene::with_webhook(&[("max_owed", "4"), ("paused", "true")]).await;
    let ids = scene.publish(&["x", "x", "x", "y", "y", "y", "y", "y", "z"]).await;
    let client = scene.another_client().await;
    client
        .batch_execute("BEGIN; INSERT INTO messages (topic_id, partition_key, payload) VALUES (1, 'x', '1')")
        .await
        .unwrap();
    let _broker = Broker::start(scene.store());
    scene.until("(SELECT count(*) FROM deliveries) = 4").await;
    assert_eq!(owed(&scene).await, joined(&[&ids[..3], &ids[8..]].concat()));
    assert_eq!(dead(&scene).await, all(&ids[3..8], "overflow 0"));
}
