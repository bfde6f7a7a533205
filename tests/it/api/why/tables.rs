//! States and reasons that the tables alone make.

use serde_json::{Value, json};

use super::{IDLE_WORKER, entry, idle_scene, is, says, scene};

#[tokio::test]
async fn what_a_webhook_was_never_owed() {
    let (scene, api) = scene(&[("types", "'{order.*}'"), ("filter", "'$.total > 10'")]).await;
    let sql = "INSERT INTO messages (topic_id, type, payload) VALUES (1, 'user.made', '{\"total\": 11}'), (1, NULL, '{\"total\": 11}'),
                   (1, 'order.paid', '{\"total\": 9}'), (1, 'order.paid', '{\"total\": 11}') RETURNING id";
    let ids: Vec<i64> = scene.client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    let [of_other_type, without_type, filtered, owed] = ids[..] else { panic!("{ids:?}") };
    for (id, reason) in [(of_other_type, "types"), (without_type, "types"), (filtered, "filter")] {
        let entry = entry(&api, id).await;
        is(&entry, "not_owed", reason);
        assert_eq!(entry["remedy"], Value::Null);
        says(&entry, "orders:webhook-1");
    }
    is(&entry(&api, owed).await, "waiting", "no_worker");

    // Owed once, and no trace of it: it was accepted, and the log has forgotten that.
    scene.sql(&format!("DELETE FROM deliveries WHERE message_id = {owed}")).await;
    is(&entry(&api, owed).await, "unknown", "log_expired");

    scene.webhook("/younger", &[]).await;
    let answer = api.get(&format!("/messages/{owed}/why")).await.expect(200);
    let younger = &answer["webhooks"][1];
    is(younger, "not_owed", "younger_webhook");
    assert_eq!(younger["webhook"], "webhook-2");
    says(younger, "was created later");
    assert_eq!(younger["remedy"]["body"], json!({"from": owed, "to": owed}));
    // A webhook that is being filled may get it.
    scene
        .sql("UPDATE webhooks SET state = 'starting' WHERE id = 2;
              INSERT INTO jobs (kind, webhook_id, waits_for, created_by) VALUES ('backfill', 2, 'process 17', 'test')")
        .await;
    let answer = api.get(&format!("/messages/{owed}/why")).await.expect(200);
    is(&answer["webhooks"][1], "waiting", "starting");
    says(&answer["webhooks"][1], "job 1, which waits for process 17");
}

#[tokio::test]
async fn what_stops_a_whole_webhook() {
    let (scene, api) = idle_scene(&[]).await;
    let [head, follower] = scene.publish(&["a", "a"]).await[..] else { unreachable!() };
    is(&entry(&api, head).await, "waiting", "ready");
    for (change, undo, reason, needle) in [
        ("UPDATE webhooks SET paused = true", "UPDATE webhooks SET paused = false", "paused", "by test"),
        (
            "UPDATE webhooks SET disabled_reason = 'gone for good'",
            "UPDATE webhooks SET disabled_reason = NULL",
            "disabled",
            "gone for good",
        ),
        (
            "UPDATE webhooks SET state = 'starting'",
            "UPDATE webhooks SET state = 'active'",
            "starting",
            "is starting",
        ),
        ("UPDATE topics SET paused = 'hold'", "UPDATE topics SET paused = NULL", "topic_held", "by test"),
        (
            "UPDATE installation SET sending = false, reason = 'a copy', changed_by = 'test'",
            "UPDATE installation SET sending = NULL",
            "not_sending",
            "by test: a copy",
        ),
        ("UPDATE workers SET gone = true", "UPDATE workers SET gone = false", "no_worker", "no worker"),
    ] {
        scene.sql(change).await;
        scene
            .sql("INSERT INTO changes (kind, webhook_id, changed_by) VALUES ('webhook.paused', 1, 'test'), ('webhook.disabled', 1, 'test');
                  INSERT INTO changes (kind, topic_id, changed_by) VALUES ('topic.paused', 1, 'test')")
            .await;
        for id in [head, follower] {
            let entry = entry(&api, id).await;
            is(&entry, "waiting", reason);
            says(&entry, needle);
            assert_eq!(entry["blocked_by"], Value::Null);
            let has_since = ["paused", "disabled", "starting", "topic_held"].contains(&reason);
            assert_eq!(entry["since"].is_string(), has_since, "{entry}");
        }
        scene.sql(undo).await;
    }
    let behind = entry(&api, follower).await;
    is(&behind, "waiting", "behind");
    assert_eq!(behind["blocked_by"], head);
    says(&behind, "That one is ready");
}

#[tokio::test]
async fn what_stops_a_lane_while_a_worker_lives() {
    let (scene, api) = idle_scene(&[("max_in_flight", "2")]).await;
    let [a, b, c] = scene.publish(&["a", "b", "c"]).await[..] else { unreachable!() };
    let hold = |keys: &str, worker: &str| {
        format!(
            "UPDATE lanes SET claimed_by = '{worker}', token = 1, claimed_at = now() WHERE partition_key IN ({keys})"
        )
    };
    scene.sql(&hold("'a', 'b'", IDLE_WORKER)).await;
    let full = entry(&api, c).await;
    is(&full, "waiting", "max_in_flight");
    says(&full, "has 2 lanes in flight");
    let request = entry(&api, a).await;
    is(&request, "in_flight", "request");
    assert_eq!(request["worker"], IDLE_WORKER);
    assert!(request["since"].is_string());

    scene.sql("UPDATE webhooks SET max_in_flight = NULL; UPDATE workers SET in_flight = 10").await;
    let busy = entry(&api, c).await;
    is(&busy, "waiting", "slots_busy");
    says(&busy, "10 of 10 slots");
    scene.sql("UPDATE workers SET in_flight = 0").await;

    // The attempt log is ahead of the settle.
    scene
        .sql(&format!(
            "INSERT INTO attempts VALUES (1, {b}, 1, 'accepted', 200, NULL, NULL, 1500, NULL, '{IDLE_WORKER}', now())"
        ))
        .await;
    is(&entry(&api, b).await, "in_flight", "outcome_unclear");
    // What was accepted before a replay is no outcome of the replay.
    scene
        .sql(&format!("UPDATE deliveries SET replayed_at = now() + interval '1 s' WHERE message_id = {b}"))
        .await;
    is(&entry(&api, b).await, "in_flight", "request");

    let stranger = "00000000-0000-0000-0000-000000000002";
    scene.sql(&hold("'c'", stranger)).await;
    let lost = entry(&api, c).await;
    is(&lost, "waiting", "takeover");
    says(&lost, stranger);
    let dead = format!(
        "INSERT INTO workers (id, lock_key, name, version, capacity, lease) VALUES ('{stranger}', -8, 'dead/1', '0', 10, '10 s')"
    );
    scene.sql(&dead).await;
    says(&entry(&api, c).await, "worker dead/1");
    says(&entry(&api, c).await, "session is gone");
    scene.sql(&format!("SELECT pg_advisory_lock(stripe_class(), -8); UPDATE workers SET heartbeat_at = now() - interval '11 s' WHERE id = '{stranger}'")).await;
    let hung = entry(&api, c).await;
    is(&hung, "waiting", "takeover");
    says(&hung, "stands still");
    assert!(hung["since"].is_string());

    scene.sql("DELETE FROM lanes WHERE partition_key = 'c'").await;
    is(&entry(&api, c).await, "waiting", "no_lane");
}

#[tokio::test]
async fn what_has_left_the_lane() {
    let (scene, api) = scene(&[]).await;
    let ids = scene.publish(&["a"; 9]).await;
    scene.sql("DELETE FROM deliveries; DELETE FROM lanes").await;
    let reasons = [
        "attempts_exhausted",
        "permanent",
        "expired",
        "overflow",
        "skipped",
        "message_missing",
        "canceled",
        "superseded",
        "canceled",
    ];
    for (id, reason) in ids.iter().zip(reasons) {
        scene
            .sql(&format!(
                "INSERT INTO dead_letters (webhook_id, topic_id, partition_key, lane, message_id, reason, attempts, last_error, status_code)
                 VALUES (1, 1, 'a', 0, {id}, '{reason}', 3, 'status 500', 500)"
            ))
            .await;
    }
    // Its request was under way when it was canceled.
    let late = ids[8];
    scene
        .sql(&format!(
            "INSERT INTO attempts VALUES (1, {late}, 1, 'accepted', 200, NULL, NULL, 60000000, NULL, gen_random_uuid(), now() - interval '30 s')"
        ))
        .await;
    is(&entry(&api, late).await, "delivered", "accepted_late");
    for (id, word) in ids.iter().zip(reasons).take(8) {
        let entry = entry(&api, *id).await;
        match word {
            "canceled" | "superseded" => is(&entry, word, ""),
            reason => is(&entry, "dead", reason),
        }
        let replays = word != "message_missing";
        assert_eq!(entry["remedy"].is_object(), replays, "{entry}");
        assert_eq!((&entry["attempts"], &entry["last_status_code"]), (&json!(3), &json!(500)));
        assert!(entry["since"].is_string());
    }
}
