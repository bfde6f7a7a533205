//! Samples: what webhooks are owed and how they do. Activity that grows old.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use pgtopic::store::LeaderStore;
use pgtopic_testkit::{Answer, Broker, Http, SECRET, Scene, refuse};
use serde_json::{Value, json};

/// Takes samples as the leader does.
async fn sample(leader: &LeaderStore) {
    leader.sample_traffic().await.unwrap();
    let mut after = Some(0);
    while let Some(webhook) = after {
        after = leader.sample_backlogs(webhook).await.unwrap().1;
    }
}

fn has(value: &Value, expected: &Value) {
    for (field, expected) in expected.as_object().unwrap() {
        assert_eq!(value[field], *expected, "{field} of {value}");
    }
}

#[tokio::test]
async fn samples_show_what_is_owed_by_webhook_topic_and_in_all() {
    let scene = Scene::with_webhook(&[]).await;
    scene.webhook("/other", &[("filter", "'$.n > 1'")]).await;
    let http = Http::serve(scene.store()).await;
    let listed = http.get("/webhooks").await;
    has(
        &listed["items"][0]["health"],
        &json!({"sampled_at": null, "owed": null, "lanes": null, "state": "active"}),
    );
    assert_eq!(http.get("/stats").await["sampled_at"], Value::Null);

    scene.publish(&["a", "a", "a", "b", "c", "d"]).await;
    scene
        .sql(
            "UPDATE lanes SET halted = true, due_at = 'infinity' WHERE partition_key = 'b';
             UPDATE lanes SET due_at = now() + interval '1 h', wait_seconds = 3600 WHERE partition_key = 'c';
             UPDATE lanes SET claimed_by = gen_random_uuid(), token = 1 WHERE partition_key = 'd';
             INSERT INTO dead_letters (webhook_id, topic_id, partition_key, lane, message_id, reason, attempts)
             SELECT 1, 1, 'a', 0, n, CASE WHEN n > 7 THEN 'canceled' ELSE 'permanent' END, 1 FROM generate_series(1, 9) n",
        )
        .await;
    let leader = scene.leader().await;
    sample(&leader).await;
    let expected = json!({
        "owed": 6, "owed_capped": false, "lanes": {"ready": 1, "claimed": 1, "waiting": 1, "halted": 1},
        "dead_letters": 7, "in_flight": 0,
    });
    let listed = http.get("/webhooks").await;
    let health = &listed["items"][0]["health"];
    has(health, &expected);
    has(
        health,
        &json!({
            "dead_letters_capped": false, "state": "active", "since": null, "reason": null, "failing_since": null,
            "last_success_at": null, "last_failure_at": null, "last_status_code": null, "last_error_class": null,
            "last_error": null, "hold_until": null, "backfill_job": null,
            "breaker": {"state": "closed", "opened_at": null, "next_probe_at": null},
        }),
    );
    let oldest = scene.text("SELECT to_json(created_at)::text FROM messages WHERE id = 1").await;
    assert!(health["oldest_owed_at"].is_string() && health["sampled_at"].is_string(), "{health}, {oldest}");
    // The other one is owed nothing of it.
    has(&listed["items"][1]["health"], &json!({"owed": 0, "dead_letters": 0, "oldest_owed_at": null}));
    assert_eq!(http.get("/topics/orders/webhooks").await["items"][0]["health"]["owed"], 6);

    let stats = http.get("/stats").await;
    has(&stats, &json!({"window_seconds": 60, "truncated": false}));
    for figures in [&stats["totals"], &stats["topics"][0], &stats["webhooks"][0]] {
        has(figures, &expected);
        has(
            figures,
            &json!({"delivered_per_second": 0.0, "failed_per_second": 0.0, "latency_ms": {"p50": null, "p99": null}}),
        );
    }
    has(&stats["topics"][0], &json!({"topic": "orders"}));
    has(&stats["webhooks"][0], &json!({"webhook_id": 1, "topic": "orders", "state": "active"}));
    assert_eq!(stats["webhooks"][1]["published_per_second"], Value::Null, "not known beside a filter");

    // What is published after a look is seen at the next look.
    scene.publish(&["a"; 30]).await;
    sample(&leader).await;
    let stats = http.get("/stats?topic=orders").await;
    let rate = stats["topics"][0]["published_per_second"].as_f64().unwrap();
    assert!(rate > 0.0 && rate <= 30.0, "{rate}");
    assert_eq!(stats["totals"]["published_per_second"], stats["topics"][0]["published_per_second"]);
    assert_eq!(stats["webhooks"][0]["published_per_second"], stats["topics"][0]["published_per_second"]);

    // A webhook that is gone leaves no sample.
    scene.sql("DELETE FROM webhooks WHERE id = 1").await;
    sample(&leader).await;
    assert_eq!(scene.number("SELECT count(*) FROM webhook_samples WHERE webhook_id = 1").await, 0);
}

#[tokio::test]
async fn no_more_than_ten_thousand_lanes_and_deliveries_are_counted() {
    let scene = Scene::with_webhook(&[]).await;
    scene
        .sql(
            "SET session_replication_role = replica;
             INSERT INTO messages (id, topic_id, partition_key, payload, size_bytes, lane, created_at)
             SELECT n, 1, 'k', '1', 1, hashtextextended('k', 1), '2020-01-01' FROM generate_series(1, 3) n;
             INSERT INTO lanes (webhook_id, lane, position, due_at, partition_key)
             SELECT 1, n, 0, now(), 'k' FROM generate_series(1, 10001) n;
             INSERT INTO deliveries (webhook_id, lane, message_id)
             SELECT 1, 1, 1 + n FROM generate_series(1, 10000) n UNION ALL SELECT 1, 10000, 1;
             SET session_replication_role = origin",
        )
        .await;
    let http = Http::serve(scene.store()).await;
    let health = http.get("/webhooks/1").await["health"].clone();
    has(
        &health,
        &json!({"owed": 10000, "owed_capped": true, "lanes": {"ready": 10000, "claimed": 0, "waiting": 0, "halted": 0}}),
    );
    assert_eq!(health["oldest_owed_at"], "2020-01-01T00:00:00Z", "the heads of all lanes are looked at");
    scene.sql("DELETE FROM lanes WHERE lane > 2; DELETE FROM deliveries WHERE message_id > 3").await;
    has(&http.get("/webhooks/1").await["health"], &json!({"owed": 2, "owed_capped": false}));
}

#[tokio::test]
async fn a_webhook_fails_until_a_request_is_accepted() {
    let scene = Scene::with_webhook(&[("max_retries", "1"), ("name", "'billing'")]).await;
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    scene.receiver.set_script(move |_| {
        if is_broken.load(Ordering::Relaxed) { Answer::Status(503) } else { Answer::Status(204) }
    });
    let http = Http::serve(scene.store()).await;
    let leader = scene.leader().await;
    let run = async |key: &str| {
        let broker = Broker::start(scene.store());
        scene.publish(&[key]).await;
        scene.nothing_owed().await;
        // Who stops writes its activity.
        broker.stop().await;
        sample(&leader).await;
        http.get("/webhooks/orders:billing").await["health"].clone()
    };
    let failing = run("a").await;
    has(
        &failing,
        &json!({
            "state": "failing", "last_status_code": 503, "last_error_class": "status", "dead_letters": 1, "last_success_at": null,
        }),
    );
    assert_eq!(failing["since"], failing["failing_since"]);
    assert!(failing["reason"].as_str().unwrap().contains("503"), "{failing}");
    assert_eq!(failing["reason"], failing["last_error"]);
    let again = run("b").await;
    assert_eq!(again["failing_since"], failing["failing_since"], "since its first failure");
    assert_ne!(again["last_failure_at"], failing["last_failure_at"]);

    broken.store(false, Ordering::Relaxed);
    let active = run("c").await;
    has(
        &active,
        &json!({"state": "active", "since": null, "failing_since": null, "reason": null, "last_status_code": 503}),
    );
    assert!(active["last_success_at"].as_str() > active["last_failure_at"].as_str(), "{active}");
    let changes =
        scene.text("SELECT string_agg(kind || ' ' || changed_by, ', ' ORDER BY id) FROM changes").await;
    assert_eq!(changes, "webhook.failing leader, webhook.recovered leader");

    let stats = http.get("/stats").await;
    for figures in [&stats["totals"], &stats["topics"][0], &stats["webhooks"][0]] {
        has(figures, &json!({"delivered_per_second": 1.0 / 60.0, "failed_per_second": 2.0 / 60.0}));
        let (p50, p99) = (figures["latency_ms"]["p50"].as_f64(), figures["latency_ms"]["p99"].as_f64());
        assert!(p50 > Some(0.0) && p99 >= p50, "{figures}");
    }
}

#[tokio::test]
async fn a_webhook_fails_if_the_workers_that_still_send_fail() {
    let scene = Scene::with_webhook(&[]).await;
    let leader = scene.leader().await;
    let http = Http::serve(scene.store()).await;
    // One worker fails all the time. What another one has sent was accepted.
    let activity = |failed_ago: i32, accepted_ago: i32| {
        format!(
            "TRUNCATE activity;
             INSERT INTO activity (worker_id, webhook_id, at, seconds, accepted, failed, dead, in_flight, latency, last_success_at,
                                   last_failure_at, failing_since, last_error)
             VALUES (gen_random_uuid(), 1, now() - interval '20 s', 10, 0, 9, 0, 2, '{{}}', NULL, now() - interval '{failed_ago} s',
                     now() - interval '1 h', 'answered 503'),
                    (gen_random_uuid(), 1, now() - interval '20 s', 10, 9, 0, 0, 1, '{{9}}', now() - interval '{accepted_ago} s', NULL,
                     NULL, NULL)"
        )
    };
    scene.sql(&activity(14, 12)).await;
    sample(&leader).await;
    has(&http.get("/webhooks/1").await["health"], &json!({"state": "active", "in_flight": 3}));
    scene.sql(&activity(10, 12)).await;
    sample(&leader).await;
    let health = http.get("/webhooks/1").await["health"].clone();
    has(&health, &json!({"state": "failing", "reason": "answered 503"}));
    assert_eq!(health["failing_since"], health["last_success_at"], "since the last success of any worker");
}

#[tokio::test]
async fn a_pause_comes_before_a_failure() {
    let scene = Scene::with_webhook(&[]).await;
    scene
        .sql(
            "INSERT INTO webhook_samples (webhook_id, failing_since, last_error) VALUES (1, now(), 'answered 503');
             UPDATE webhooks SET paused = true;
             INSERT INTO changes (kind, webhook_id, reason, changed_by) VALUES ('webhook.paused', 1, 'first', 'a'),
                ('webhook.paused', 1, 'maintenance', 'a'), ('webhook.failing', 1, 'answered 503', 'a')",
        )
        .await;
    let http = Http::serve(scene.store()).await;
    let health = http.get("/webhooks/1").await["health"].clone();
    has(&health, &json!({"state": "paused", "reason": "maintenance"}));
    assert!(health["since"].is_string() && health["failing_since"].is_string(), "{health}");
    scene.sql("UPDATE webhooks SET disabled_reason = 'gone'").await;
    has(
        &http.get("/webhooks/1").await["health"],
        &json!({"state": "disabled", "reason": "gone", "since": null}),
    );
    scene.sql("UPDATE webhooks SET disabled_reason = NULL, paused = false, state = 'starting'").await;
    scene.sql("INSERT INTO jobs (kind, webhook_id, created_by) VALUES ('backfill', 1, 'a')").await;
    has(&http.get("/webhooks/1").await["health"], &json!({"state": "starting", "backfill_job": 1}));
    scene.sql("UPDATE webhooks SET state = 'active'").await;
    has(
        &http.get("/webhooks/1").await["health"],
        &json!({"state": "failing", "reason": "answered 503", "backfill_job": null}),
    );
}

#[tokio::test]
async fn webhooks_are_listed_by_state_as_they_are_judged() {
    let scene = Scene::new().await;
    for n in 1..=6 {
        scene.webhook(&format!("/{n}"), &[]).await;
    }
    scene
        .sql(
            "UPDATE webhooks SET disabled_reason = 'gone' WHERE id IN (1);
             UPDATE webhooks SET paused = true WHERE id IN (1, 2);
             UPDATE webhooks SET state = 'starting' WHERE id IN (1, 2, 3);
             INSERT INTO webhook_samples (webhook_id, failing_since) SELECT n, now() FROM generate_series(1, 4) n;
             INSERT INTO webhook_samples (webhook_id) VALUES (5)",
        )
        .await;
    let http = Http::serve(scene.store()).await;
    let ids = |page: &Value| -> Vec<i64> {
        page["items"].as_array().unwrap().iter().map(|webhook| webhook["id"].as_i64().unwrap()).collect()
    };
    for (state, expected) in
        [("disabled", &[1][..]), ("paused", &[2]), ("starting", &[3]), ("failing", &[4]), ("active", &[5, 6])]
    {
        let page = http.get(&format!("/webhooks?topic=orders&state={state}")).await;
        assert_eq!(ids(&page), expected, "{state}");
        assert!(
            page["items"].as_array().unwrap().iter().all(|webhook| webhook["health"]["state"] == state),
            "{page}"
        );
    }
    assert_eq!(ids(&http.get("/webhooks?limit=2").await), [1, 2]);
    for (query, status) in [("state=dead", 422), ("topic=nobody", 404), ("status=active", 422)] {
        assert_eq!(http.try_get(&format!("/webhooks?{query}")).await.unwrap().0, status, "{query}");
    }
}

#[tokio::test]
async fn the_leader_takes_samples_and_workers_write_what_they_sent() {
    let scene = Scene::with_webhook(&[]).await;
    let ids = scene.publish(&["a", "b"]).await;
    scene.receiver.set_script(refuse(ids[0], 1));
    let broker = Broker::start(scene.store());
    scene.until("EXISTS (SELECT FROM sampled WHERE sampled_at IS NOT NULL)").await;
    scene.nothing_owed().await;
    broker.stop().await;
    let wrote = scene
        .text(
            "SELECT accepted || ' ' || failed || ' ' || dead || ' ' || (SELECT sum(n) FROM unnest(latency) n) || ' ' || seconds
               FROM activity WHERE webhook_id = 1",
        )
        .await;
    assert_eq!(wrote, "2 1 0 2 10");
}

/// One row of activity.
fn activity(ago: &str, seconds: i32, accepted: i64, error: &str) -> String {
    format!(
        "INSERT INTO activity (worker_id, webhook_id, at, seconds, accepted, failed, dead, in_flight, latency, last_failure_at,
                               last_error)
         VALUES (gen_random_uuid(), 1, date_trunc('hour', now()) - interval '{ago}', {seconds}, {accepted}, 1, 2, 3, '{{0,{accepted}}}',
                 now() - interval '{ago}', '{error}');"
    )
}

#[tokio::test]
async fn activity_becomes_minutes_then_hours_and_then_it_is_deleted() {
    let scene = Scene::with_webhook(&[]).await;
    let rows = [
        activity("2 h", 10, 1, "first"),
        activity("119 min 50 s", 10, 2, "second"),
        activity("119 min", 10, 4, "third"),
        activity("0 s", 10, 8, "now"),
        activity("8 days", 60, 16, "old"),
        activity("7 days 23 h 50 min", 60, 32, "later"),
        activity("31 days", 3600, 64, "gone"),
    ];
    scene.sql(&rows.concat()).await;
    let leader = scene.leader().await;
    assert_eq!(leader.merge_activity(10, 60, 3600.0).await.unwrap(), 3);
    assert_eq!(leader.merge_activity(10, 60, 3600.0).await.unwrap(), 0, "the rest is too young");
    assert_eq!(leader.merge_activity(60, 3600, 7.0 * 86_400.0).await.unwrap(), 2);
    assert_eq!(leader.delete_old_activity(30).await.unwrap(), 1);
    let left = scene
        .text(
            "SELECT string_agg(seconds || ' ' || accepted || ' ' || failed || ' ' || dead || ' ' || in_flight || ' ' || latency::text
                               || ' ' || last_error || ' ' || (worker_id IS NULL), '; ' ORDER BY at)
               FROM activity",
        )
        .await;
    assert_eq!(
        left,
        "3600 48 2 4 0 {0,48} later true; 60 3 2 4 0 {0,3} second true; 60 4 1 2 0 {0,4} third true; 10 8 1 2 3 {0,8} now false"
    );
}

#[tokio::test]
async fn a_thousand_rows_of_figures_are_shown_most_owed_first() {
    let scene = Scene::new().await;
    scene
        .sql(&format!(
            "INSERT INTO webhooks (topic_id, url, secrets) SELECT 1, 'http://127.0.0.1:9/' || n, ARRAY['{SECRET}'] FROM generate_series(1, 1001) n;
             INSERT INTO webhook_samples (webhook_id, owed) VALUES (500, 2), (700, 3)"
        ))
        .await;
    let stats = Http::serve(scene.store()).await.get("/stats").await;
    let webhooks = stats["webhooks"].as_array().unwrap();
    assert_eq!(webhooks.len(), 1000);
    assert_eq!(stats["truncated"], true);
    let first: Vec<_> = webhooks[..3].iter().map(|webhook| webhook["webhook_id"].as_i64().unwrap()).collect();
    assert_eq!(first, [700, 500, 1]);
    assert_eq!(stats["totals"]["owed"], 5);
}
