//! `worker.topics`: which topics a worker sends.

use pgtopic_testkit::{Broker, Http, Received, Scene};

/// A message goes to the worker that sends its topic, whichever worker hears of it first. The lane of
/// another topic is not touched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_sends_its_topics_and_no_others() {
    let scene = Scene::with_webhook(&[]).await;
    scene.sql("INSERT INTO topics (name) VALUES ('audit.a')").await;
    scene
        .sql(&format!(
            "INSERT INTO webhooks (topic_id, url, secrets) SELECT 2, '{}', secrets FROM webhooks",
            scene.receiver.url("/audit")
        ))
        .await;
    let publish = async || {
        scene.sql("INSERT INTO messages (topic_id, partition_key, payload) SELECT t, 'k' || n, '1' FROM generate_series(1, 2) t, generate_series(1, 20) n").await;
    };
    publish().await;
    let audit = Broker::of_topics(scene.store(), &["audit.*", "other"]);
    let sent_to = |all: &[Received], path: &str| all.iter().filter(|request| request.path == path).count();
    scene.receiver.wait_until("the topic's messages", |all| sent_to(all, "/audit") == 20).await;
    publish().await;
    let received =
        scene.receiver.wait_until("the topic's messages", |all| sent_to(all, "/audit") == 40).await;
    assert_eq!(sent_to(&received, "/"), 0);
    assert_eq!(
        scene.number("SELECT count(*) FROM lanes WHERE webhook_id = 1 AND token IS NOT NULL").await,
        0
    );

    let http = Http::serve(scene.store()).await;
    let worker = &http.get("/workers").await["items"][0];
    assert_eq!(worker["topics"], serde_json::json!(["audit.*", "other"]));
    let id = scene.number("SELECT max(id) FROM messages WHERE topic_id = 1").await;
    let why = http.get(&format!("/messages/{id}/why")).await;
    let entry = &why["webhooks"][0];
    assert_eq!(entry["reason"], "no_worker", "{why}");
    assert!(entry["text"].as_str().unwrap().contains("worker.topics"), "{why}");

    let orders = Broker::of_topics(scene.store(), &["orders"]);
    scene.nothing_owed().await;
    for broker in [audit, orders] {
        broker.stop().await;
    }
}
