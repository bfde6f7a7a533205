//! The audit log: what has changed, and who did it.

use pgtopic_testkit::{Answer, Broker, Http, Puppet, Scene};
use serde_json::json;

/// The rows, oldest first, as `kind reason by changed_by`.
async fn changes(scene: &Scene) -> Vec<String> {
    let sql = "SELECT concat_ws(' ', kind, reason, 'by', changed_by) FROM changes ORDER BY id";
    scene.client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Changes by a worker, without its id.
async fn by_workers(scene: &Scene) -> Vec<String> {
    changes(scene).await.iter().map(|change| change.split(" by worker ").next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_operators_do_is_recorded_with_their_name() {
    let scene = Scene::with_webhook(&[]).await;
    let http = Http::serve(scene.store()).await;
    for path in ["/webhooks/1/pause", "/webhooks/1/pause", "/webhooks/1/resume", "/topics/1/pause"] {
        http.act(path, &json!(null)).await;
    }
    http.act("/topics/1/pause", &json!({"mode": "hold"})).await;
    http.patch("/topics/1", &json!({"paused": null, "retention_seconds": 5})).await;
    http.patch("/webhooks/1", &json!({"max_retries": 3})).await;
    let role = scene.text("SELECT session_user::text").await;
    scene.sql("UPDATE webhooks SET disabled_reason = 'a', paused = true, state = 'starting'").await;
    scene.sql("UPDATE webhooks SET disabled_reason = 'b'").await;
    http.act("/webhooks/1/enable", &json!(null)).await;
    scene.sql("UPDATE webhooks SET state = 'active'").await;
    assert_eq!(
        changes(&scene).await,
        [
            "webhook.paused by api (admin)",
            "webhook.resumed by api (admin)",
            "topic.paused refuse by api (admin)",
            "topic.paused hold by api (admin)",
            "topic.resumed by api (admin)",
            &format!("webhook.paused by {role}"),
            &format!("webhook.disabled a by {role}"),
            "webhook.enabled b by api (admin)",
            &format!("webhook.started by {role}"),
        ]
    );
    let about = "SELECT count(*) FROM changes WHERE topic_id = 1 AND (webhook_id = 1) IS DISTINCT FROM (kind LIKE 'topic.%')";
    assert_eq!(scene.number(about).await, 9, "each names its topic, and its webhook if it is about one");
}

/// Two workers see the same outage. One of them tells.
#[tokio::test]
async fn an_outage_is_recorded_once_when_it_begins_and_once_when_it_ends() {
    let scene = Scene::with_webhook(&[("max_retries", "1000"), ("breaker", "'off'")]).await;
    scene.receiver.set_script(|_| Answer::Status(503));
    let _brokers = [Broker::start(scene.store()), Broker::start(scene.store())];
    let keys: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    scene.publish(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    scene.until("(SELECT count(DISTINCT worker_id) FROM attempts) = 2").await;
    scene.until("EXISTS (SELECT FROM changes)").await;
    scene.receiver.set_script(|_| Answer::Status(204));
    scene.nothing_owed().await;
    scene.until("(SELECT count(*) FROM changes) >= 2").await;
    let kinds = "SELECT string_agg(kind, ' ' ORDER BY id) FROM changes";
    assert_eq!(scene.text(kinds).await, "webhook.failing webhook.recovered");
    let rows = changes(&scene).await;
    assert!(rows[0].starts_with("webhook.failing 503 Service Unavailable by worker "), "{rows:?}");
    assert!(
        rows[1].starts_with("webhook.recovered after ") && rows[1].contains(" failed attempts"),
        "{rows:?}"
    );
}

#[tokio::test]
async fn a_lane_that_halts_and_a_webhook_that_is_gone_are_recorded() {
    let scene = Scene::new().await;
    scene.webhook("/halts", &[("max_retries", "1"), ("on_exhausted", "'halt'")]).await;
    scene.webhook("/gone", &[]).await;
    scene.receiver.set_script(|received| Answer::Status(if received.path == "/gone" { 410 } else { 503 }));
    let _broker = Broker::start(scene.store());
    let id = scene.publish(&["user-42"]).await[0];
    scene.until("(SELECT count(*) FROM changes WHERE kind IN ('lane.halted', 'webhook.disabled')) = 2").await;
    let halted = "SELECT concat_ws(' ', webhook_id, partition_key, message_id, reason) FROM changes WHERE kind = 'lane.halted'";
    assert_eq!(scene.text(halted).await, format!("1 user-42 {id} 503 Service Unavailable"));
    let lane = "SELECT concat_ws(' ', c.lane = l.lane, l.last_error_class, l.last_status_code)
                  FROM changes c JOIN lanes l USING (webhook_id) WHERE c.kind = 'lane.halted'";
    assert_eq!(scene.text(lane).await, "t status 503");
    let gone = "webhook.disabled the receiver answered 410 Gone".to_owned();
    assert!(by_workers(&scene).await.contains(&gone), "{:?}", changes(&scene).await);
}

/// Nothing of it may hold up what it tells of.
#[tokio::test]
async fn an_audit_log_that_cannot_be_written_holds_up_no_settle() {
    let scene = Scene::new().await;
    scene.webhook("/", &[("max_retries", "1"), ("on_exhausted", "'halt'")]).await;
    scene.receiver.set_script(|_| Answer::Status(503));
    scene.sql("ALTER TABLE changes ADD CONSTRAINT nothing CHECK (false)").await;
    let _broker = Broker::start(scene.store());
    scene.publish(&["a"]).await;
    scene.until("EXISTS (SELECT FROM lanes WHERE halted)").await;
    assert!(changes(&scene).await.is_empty());
}

#[tokio::test]
async fn a_lost_worker_is_recorded_by_the_one_that_has_found_it() {
    let scene = Scene::with_webhook(&[]).await;
    let lost = Puppet::new(&scene).await;
    let id = lost.id;
    drop(lost);
    let broker = Broker::start(scene.store());
    scene.until("EXISTS (SELECT FROM changes)").await;
    broker.stop().await;
    let sql = "SELECT concat_ws(' ', kind, worker_id, reason) FROM changes";
    assert_eq!(scene.text(sql).await, format!("worker.lost {id} its session is gone"));
    assert_eq!(by_workers(&scene).await.len(), 1, "one that stops is not lost");
}
