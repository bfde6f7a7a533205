//! Replay, cancel and purge: what they do, their limits, and what they wait for.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use pgtopic_testkit::{Broker, Http, Scene, eventually};
use serde_json::json;

use super::{begun, ended, publish_many, start_job};

#[tokio::test]
async fn a_range_is_delivered_once_more_and_in_order() {
    let scene = Scene::with_webhook(&[]).await;
    let _broker = Broker::start(scene.store());
    let http = Http::serve(scene.store()).await;
    publish_many(&scene, 5, 3).await;
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    let body = json!({"from": 4, "to": 12, "dry_run": true});
    let (status, dry_run) = http.try_post("/webhooks/1/replay", &body).await.unwrap();
    assert_eq!(status, 200);
    let sample: Vec<i64> = (4..=12).collect();
    assert_eq!(
        dry_run,
        json!({"matches": 9, "capped": false, "lanes": 3, "halted_lanes": 0, "sample_ids": sample})
    );

    let job = start_job(&http, "/webhooks/orders:webhook-1/replay", &json!({"from": 4, "to": 12})).await;
    let job = ended(&http, &job).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    assert_eq!((&job["total"], &job["done"]), (&json!(9), &json!(9)), "{job}");
    assert_eq!(job["filter"], json!({"from": 4, "to": 12}));
    assert_eq!((&job["webhook_id"], &job["topic"]), (&json!(1), &json!("orders")));
    assert!(job["rate_per_second"].as_f64().unwrap() > 0.0);
    scene.nothing_owed().await;
    let again = &scene.receiver.received()[15..];
    let mut lanes: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for one in again {
        lanes.entry(one.partition()).or_default().push(one.position());
    }
    let expected = [("key-1", vec![4, 7, 10]), ("key-2", vec![5, 8, 11]), ("key-3", vec![6, 9, 12])];
    assert_eq!(lanes, BTreeMap::from(expected));
}

#[tokio::test]
async fn types_filter_key_and_time_choose_what_is_replayed() {
    let scene = Scene::with_webhook(&[]).await;
    scene.sql("UPDATE webhooks SET paused = true").await;
    scene
        .sql(
            "INSERT INTO messages (topic_id, partition_key, type, payload, created_at)
             SELECT 1, 'key-' || n % 2, CASE WHEN n % 3 = 0 THEN 'order.paid' ELSE 'order.made' END,
                    json_build_object('n', n), now() - n * interval '1 hour'
               FROM generate_series(1, 12) n;
             DELETE FROM deliveries; DELETE FROM lanes;
             INSERT INTO topics (name) VALUES ('other');
             INSERT INTO messages (topic_id, payload) VALUES (2, '{}');
             UPDATE webhooks SET filter = '$.n > 4'",
        )
        .await;
    let _broker = Broker::start(scene.store());
    let http = Http::serve(scene.store()).await;
    let since = scene.text("SELECT to_json(now() - interval '8 hours 30 minutes') #>> '{}'").await;
    let body = json!({"from": since, "type": "order.made", "partition_key": "key-1"});
    let dry_run = json!({"from": since, "type": "order.made", "partition_key": "key-1", "dry_run": true});
    let (_, matches) = http.try_post("/webhooks/1/replay", &dry_run).await.unwrap();
    assert_eq!((&matches["matches"], &matches["sample_ids"]), (&json!(2), &json!([5, 7])), "{matches}");
    let job = start_job(&http, "/webhooks/1/replay", &body).await;
    let job = ended(&http, &job).await;
    assert_eq!((&job["done"], &job["skipped"]["filtered"]), (&json!(2), &json!(1)), "{job}");
    assert_eq!(
        scene.text("SELECT string_agg(message_id::text, ' ' ORDER BY message_id) FROM deliveries").await,
        "5 7"
    );

    // Only what is a dead letter; and what is owed is left out.
    scene
        .sql(
            "INSERT INTO dead_letters (webhook_id, topic_id, partition_key, lane, message_id, reason, attempts)
             SELECT 1, 1, partition_key, lane, id, 'permanent', 1 FROM messages WHERE id IN (7, 8)",
        )
        .await;
    let job = start_job(&http, "/webhooks/1/replay", &json!({"all": true, "only_failed": true})).await;
    let job = ended(&http, &job).await;
    assert_eq!((&job["done"], &job["skipped"]["already_owed"]), (&json!(1), &json!(1)), "{job}");
    assert_eq!(
        scene.number("SELECT count(*) FROM dead_letters WHERE message_id = 8").await,
        0,
        "it is owed instead"
    );
}

#[tokio::test]
async fn requests_that_cannot_be_meant_are_refused() {
    let scene = Scene::with_webhook(&[]).await;
    let http = Http::serve(scene.store()).await;
    let replay = "/webhooks/1/replay";
    for (path, body, status, kind, field) in [
        (replay, json!({}), 422, "/problems/needs-all", None),
        ("/webhooks/1/cancel", json!({"dry_run": true}), 422, "/problems/needs-all", None),
        (replay, json!({"to": 5}), 422, "/problems/invalid", Some("from")),
        (replay, json!({"from": "yesterday"}), 422, "/problems/invalid", Some("from")),
        (replay, json!({"from": 5, "to": 4}), 422, "/problems/invalid", Some("to")),
        (replay, json!({"from": 5, "rate_per_second": 0}), 422, "/problems/invalid", Some("rate_per_second")),
        (replay, json!({"from": 5, "colour": "red"}), 422, "/problems/invalid", Some("colour")),
        ("/webhooks/9/replay", json!({"from": 5}), 404, "about:blank", None),
        ("/webhooks/orders:nobody/cancel", json!({"all": true}), 404, "about:blank", None),
        ("/jobs/9/cancel", json!({}), 404, "about:blank", None),
        ("/purge", json!({"all": true}), 422, "/problems/invalid", Some("all")),
    ] {
        let (got, problem) = http.try_post(path, &body).await.unwrap();
        assert_eq!(
            (got.as_u16(), problem["type"].as_str().unwrap()),
            (status, kind),
            "{path} {body}: {problem}"
        );
        assert_eq!(problem["field"].as_str(), field, "{path} {body}: {problem}");
    }
    for (path, status) in [
        ("/jobs/9", 404),
        ("/jobs?kind=dance", 422),
        ("/jobs?state=dancing", 422),
        ("/jobs?webhook_id=9", 404),
        ("/jobs?after=x", 422),
    ] {
        assert_eq!(http.try_get(path).await.unwrap().0.as_u16(), status, "{path}");
    }
    assert_eq!(scene.number("SELECT count(*) FROM jobs").await, 0, "nothing half done");
}

#[tokio::test]
async fn jobs_are_listed_newest_first_by_kind_state_and_webhook() {
    let scene = Scene::with_webhook(&[]).await;
    let http = Http::serve(scene.store()).await;
    start_job(&http, "/webhooks/1/replay", &json!({"from": 1})).await;
    start_job(&http, "/purge", &json!({})).await;
    start_job(&http, "/webhooks/1/cancel", &json!({"all": true})).await;
    let ids = async |query: &str| {
        let page = http.get(&format!("/jobs?{query}")).await;
        page["items"].as_array().unwrap().iter().map(|job| job["id"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ids("").await, [3, 2, 1]);
    assert_eq!(ids("kind=purge").await, [2]);
    assert_eq!(ids("webhook_id=1").await, [3, 1]);
    assert_eq!(ids("state=queued&kind=cancel").await, [3]);
    assert_eq!(ids("state=succeeded").await, [0_i64; 0]);
    let first = http.get("/jobs?limit=2").await;
    let next = first["next"].as_str().unwrap();
    assert_eq!(ids(&format!("limit=2&after={next}")).await, [1]);
}

/// The limit holds while the job runs. A cancel keeps what was done. A job that has ended cannot be
/// canceled.
#[tokio::test]
async fn a_job_keeps_its_rate_and_is_canceled_in_the_middle() {
    let scene = Scene::with_webhook(&[("paused", "true")]).await;
    publish_many(&scene, 100, 5).await;
    scene.sql("DELETE FROM deliveries; DELETE FROM lanes").await;
    let _broker = Broker::start(scene.store());
    let http = Http::serve(scene.store()).await;
    let begun_at = Instant::now();
    let job = start_job(&http, "/webhooks/1/replay", &json!({"from": 1, "rate_per_second": 40})).await;
    let running = eventually("half a second of it is done", async || {
        let job = http.get(&job).await;
        (job["done"].as_i64().unwrap() >= 20).then_some(job)
    })
    .await;
    assert_eq!((&running["state"], &running["rate_limit_per_second"]), (&json!("running"), &json!(40.0)));
    let (status, canceling) = http.try_post(&format!("{job}/cancel"), &json!({})).await.unwrap();
    assert_eq!((status.as_u16(), &canceling["state"]), (200, &json!("canceling")));
    let canceled = ended(&http, &job).await;
    let done = canceled["done"].as_i64().unwrap();
    let allowed = 40 * begun_at.elapsed().as_millis() + 1000;
    assert!(done >= 20 && 1000 * u128::from(done.unsigned_abs()) <= allowed, "{done} of {allowed} / 1000");
    assert_eq!(canceled["state"], "canceled");
    assert_eq!(scene.number("SELECT count(*) FROM deliveries").await, done, "what was done stays done");
    let (status, problem) = http.try_post(&format!("{job}/cancel"), &json!({})).await.unwrap();
    assert_eq!((status.as_u16(), problem["type"].as_str().unwrap()), (409, "/problems/job-finished"));
}

/// A publisher holds a partition. The job does the others, says what it waits for, and goes on.
#[tokio::test]
async fn a_job_leaves_a_partition_that_somebody_holds_for_later() {
    let scene = Scene::with_webhook(&[]).await;
    let _broker = Broker::start(scene.store());
    let http = Http::serve(scene.store()).await;
    publish_many(&scene, 10, 4).await;
    scene.nothing_owed().await;
    let publisher = scene.another_client().await;
    publisher.batch_execute("BEGIN").await.unwrap();
    pgtopic_testkit::publish(&publisher, "key-2").await.unwrap();
    let pid: i32 = publisher.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let job = start_job(&http, "/webhooks/1/replay", &json!({"from": 1})).await;
    let waiting = eventually("the others are done", async || {
        let job = http.get(&job).await;
        (job["done"] == json!(30)).then_some(job)
    })
    .await;
    let waits_for = waiting["waits_for"].as_str().unwrap();
    assert!(waits_for.contains(&format!("pid {pid}")) && waits_for.starts_with("10 messages"), "{waits_for}");
    publisher.batch_execute("COMMIT").await.unwrap();
    let job = ended(&http, &job).await;
    assert_eq!(
        (&job["state"], &job["done"], &job["waits_for"]),
        (&json!("succeeded"), &json!(40), &json!(null))
    );
    assert_eq!(scene.all_delivered(&["/"]).await, 40, "each once more, in order");
}

/// Order holds per lane while messages are published, replayed twice, and deleted by retention.
#[tokio::test]
async fn replays_beside_live_traffic_and_retention_keep_every_lane_in_order() {
    let scene = Scene::with_webhook(&[]).await;
    let _broker = Broker::start(scene.store());
    let http = Http::serve(scene.store()).await;
    publish_many(&scene, 100, 5).await;
    let publishing = async {
        for _ in 0..30 {
            publish_many(&scene, 2, 5).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let replaying = async {
        let replay = json!({"from": 1, "rate_per_second": 2000});
        let first = start_job(&http, "/webhooks/1/replay", &replay).await;
        let second = start_job(&http, "/webhooks/1/replay", &replay).await;
        // Nothing is past its retention. So a purge deletes nothing, whatever is replayed.
        let purge = start_job(&http, "/purge", &json!({})).await;
        for job in [first, second, purge] {
            let job = ended(&http, &job).await;
            assert_eq!(job["state"], "succeeded", "{job}");
        }
    };
    tokio::join!(publishing, replaying);
    let repeated = scene.all_delivered(&["/"]).await;
    assert!(repeated > 0, "{repeated}");
    assert_eq!(scene.number("SELECT count(*) FROM messages").await, 800);
}

/// Retention and a replay meet the same messages. Each is either owed and kept, or deleted and not
/// owed.
#[tokio::test]
async fn retention_deletes_nothing_that_a_replay_puts_back() {
    let scene = Scene::with_webhook(&[("paused", "true")]).await;
    publish_many(&scene, 1000, 5).await;
    // The young ones stay in any case.
    scene
        .sql(
            "DELETE FROM deliveries; DELETE FROM lanes;
             UPDATE messages SET created_at = now() - interval '31 days' WHERE id % 5 <> 0",
        )
        .await;
    let http = Http::serve(scene.store()).await;
    // The replay is at work among the old ones while they are deleted from the first one on.
    let replay =
        start_job(&http, "/webhooks/1/replay", &json!({"from": 2000, "rate_per_second": 3000})).await;
    let purge = start_job(&http, "/purge", &json!({"rate_per_second": 3000})).await;
    let _broker = Broker::start(scene.store());
    for job in [&replay, &purge] {
        assert_eq!(ended(&http, job).await["state"], "succeeded");
    }
    let unowed = "SELECT count(*) FROM deliveries d WHERE NOT EXISTS (SELECT FROM messages m WHERE m.id = d.message_id)";
    assert_eq!(scene.number(unowed).await, 0, "what is owed was not deleted");
    let job = http.get(&replay).await;
    assert_eq!(scene.number("SELECT count(*) FROM deliveries").await, job["done"].as_i64().unwrap(), "{job}");
    let young = "SELECT count(*) FROM messages m JOIN deliveries d ON d.message_id = m.id WHERE m.id % 5 = 0";
    assert_eq!(scene.number(young).await, 601);
}

#[tokio::test]
async fn what_is_owed_is_canceled_and_kept_as_dead_letters() {
    let scene = Scene::with_webhook(&[("paused", "true")]).await;
    let other = scene.webhook("/other", &[("paused", "true")]).await;
    publish_many(&scene, 10, 4).await;
    let _broker = Broker::start(scene.store());
    let http = Http::serve(scene.store()).await;
    let body = json!({"partition_key": "key-2", "to": 30});
    let job = ended(&http, &start_job(&http, "/webhooks/1/cancel", &body).await).await;
    assert_eq!((&job["total"], &job["done"]), (&json!(8), &json!(8)), "{job}");
    let left = "SELECT count(*) FROM deliveries WHERE webhook_id = 1";
    assert_eq!(scene.number(left).await, 32);
    let job = ended(&http, &start_job(&http, "/webhooks/1/cancel", &json!({"all": true})).await).await;
    assert_eq!(job["done"], 32, "{job}");
    assert_eq!(scene.number(left).await, 0);
    assert_eq!(scene.number("SELECT count(*) FROM dead_letters WHERE reason = 'canceled'").await, 40);
    assert_eq!(
        scene.number(&format!("SELECT count(*) FROM deliveries WHERE webhook_id = {other}")).await,
        40
    );
}

#[tokio::test]
async fn a_job_whose_webhook_is_deleted_has_failed() {
    let scene = Scene::with_webhook(&[("paused", "true")]).await;
    publish_many(&scene, 100, 2).await;
    scene.sql("DELETE FROM deliveries; DELETE FROM lanes").await;
    let _broker = Broker::start(scene.store());
    let http = Http::serve(scene.store()).await;
    let job = start_job(&http, "/webhooks/1/replay", &json!({"from": 1, "rate_per_second": 20})).await;
    begun(&http, &job).await;
    scene.store().delete_webhook(1).await.unwrap().unwrap();
    let job = ended(&http, &job).await;
    assert_eq!(
        (&job["state"], &job["error"]),
        (&json!("failed"), &json!("the webhook was deleted")),
        "{job}"
    );
}

#[tokio::test]
async fn a_job_whose_steps_fail_has_failed_and_holds_up_no_other() {
    let scene = Scene::with_webhook(&[("paused", "true")]).await;
    publish_many(&scene, 10, 2).await;
    scene.sql("ALTER FUNCTION cancel_deliveries RENAME TO hidden").await;
    let _broker = Broker::start(scene.store());
    let http = Http::serve(scene.store()).await;
    let failing = start_job(&http, "/webhooks/1/cancel", &json!({"all": true})).await;
    let job = ended(&http, &start_job(&http, "/webhooks/1/replay", &json!({"from": 1})).await).await;
    assert_eq!((&job["state"], &job["skipped"]["already_owed"]), (&json!("succeeded"), &json!(20)), "{job}");
    let job = ended(&http, &failing).await;
    assert_eq!(job["state"], "failed");
    assert!(job["error"].as_str().unwrap().contains("cancel_deliveries"), "{job}");
}

/// A purge does what retention does every minute: messages that nobody is owed, dead letters,
/// attempts, jobs, the audit log.
#[tokio::test]
async fn a_purge_deletes_what_is_past_its_retention_and_nothing_else() {
    let scene = Scene::with_webhook(&[("paused", "true")]).await;
    // The first run of retention finds nothing.
    let broker = Broker::start(scene.store());
    scene.until("EXISTS (SELECT FROM background_runs WHERE piece = 'retention')").await;
    let http = Http::serve(scene.store()).await;
    publish_many(&scene, 10, 3).await;
    scene
        .sql(
            "UPDATE messages SET created_at = now() - interval '31 days' WHERE id <= 20;
             DELETE FROM deliveries WHERE message_id > 3;
             INSERT INTO jobs (kind, state, created_by, finished_at)
             SELECT 'purge', 'succeeded', 'me', now() - days * interval '1 day' FROM unnest(ARRAY[29, 31]) days;
             INSERT INTO changes (kind, changed_by, created_at)
             SELECT 'topic.paused', 'me', now() - days * interval '1 day' FROM unnest(ARRAY[89, 91]) days;
             CREATE TABLE attempts_20200101 PARTITION OF attempts FOR VALUES FROM ('2020-01-01Z') TO ('2020-01-02Z')",
        )
        .await;
    let job = ended(&http, &start_job(&http, "/purge", &json!({})).await).await;
    assert_eq!((&job["state"], &job["done"]), (&json!("succeeded"), &json!(17 + 1 + 1 + 1)), "{job}");
    assert_eq!(scene.number("SELECT count(*) FROM messages").await, 13, "3 are owed, 10 are young");
    assert_eq!(scene.number("SELECT count(*) FROM jobs").await, 2);
    assert_eq!(scene.number("SELECT count(*) FROM changes").await, 1);
    assert_eq!(scene.text("SELECT to_regclass('attempts_20200101')::text").await, "");
    broker.stop().await;
}
