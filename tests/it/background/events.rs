//! Changes of state that are published to the topic `pgtopic.events`.

use pgtopic_testkit::{Answer, Broker, Http, Received, Scene};
use serde_json::{Value, json};

/// What the subscriber of events got: the types and the payloads.
fn events(received: &[Received]) -> Vec<(String, Value)> {
    let events = received.iter().filter(|request| request.path == "/events");
    events
        .map(|request| {
            let payload = serde_json::from_slice(&request.body).unwrap();
            (request.header("webhook-type").to_owned(), payload)
        })
        .collect()
}

async fn subscribe(scene: &Scene, http: &Http) {
    let webhook = json!({"topic": "pgtopic.events", "url": scene.receiver.url("/events"), "name": "alerts"});
    let (status, created) = http.try_post("/webhooks", &webhook).await.unwrap();
    assert_eq!(status.as_u16(), 201, "{created}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_subscribes_hears_of_changes_and_of_no_change_before() {
    let scene = Scene::with_webhook(&[("max_retries", "1"), ("name", "'billing'")]).await;
    scene.sql("UPDATE webhooks SET disabled_reason = 'nobody hears this'").await;
    scene.sql("UPDATE webhooks SET disabled_reason = NULL").await;
    scene.receiver.set_script(|request| Answer::Status(if request.path == "/" { 500 } else { 204 }));
    let http = Http::serve(scene.store()).await;
    subscribe(&scene, &http).await;
    scene.publish(&["a"]).await;
    let _broker = Broker::start(scene.store());
    scene.until("EXISTS (SELECT FROM dead_letters)").await;
    scene.sql("UPDATE webhooks SET disabled_reason = 'closed' WHERE name = 'billing'").await;
    let heard =
        |kind: &'static str| move |all: &[Received]| events(all).iter().any(|(heard, _)| heard == kind);
    scene.receiver.wait_until("it is disabled", heard("webhook.disabled")).await;
    scene.sql("UPDATE webhooks SET disabled_reason = NULL WHERE name = 'billing'").await;
    let received = scene.receiver.wait_until("it is enabled", heard("webhook.enabled")).await;
    let events = events(&received);
    let (_, disabled) = events.iter().find(|(kind, _)| kind == "webhook.disabled").unwrap();
    assert_eq!(
        (&disabled["webhook"], &disabled["topic"]),
        (&json!("billing"), &json!("orders")),
        "{disabled}"
    );
    assert_eq!((&disabled["reason"], &disabled["type"]), (&json!("closed"), &json!("webhook.disabled")));
    assert!(disabled["at"].as_str().unwrap().ends_with('Z') && disabled["worker"].is_null(), "{disabled}");
    assert_eq!(
        scene.text("SELECT DISTINCT partition_key FROM messages WHERE type = 'webhook.enabled'").await,
        "orders:billing"
    );
    // Each one came once, in their order.
    let about = |kind: &str| events.iter().filter(|(heard, _)| heard == kind).count();
    assert_eq!((about("webhook.disabled"), about("webhook.enabled")), (1, 1), "{events:?}");
}

/// One event for each webhook, however many dead letters there are.
#[tokio::test]
async fn deliveries_that_are_given_up_are_told_of_once_for_each_webhook() {
    let scene = Scene::with_webhook(&[]).await;
    let http = Http::serve(scene.store()).await;
    let leader = scene.leader().await;
    let give_up = async || {
        scene
            .sql(
                "INSERT INTO dead_letters (webhook_id, topic_id, partition_key, lane, message_id, reason, attempts, last_error)
                 SELECT 1, 1, 'a', 1, (SELECT coalesce(max(message_id), 0) FROM dead_letters) + n, 'attempts_exhausted', 3, 'answered 500'
                   FROM generate_series(1, 100) n",
            )
            .await;
    };
    let recorded = "SELECT count(*) FROM changes WHERE kind = 'delivery.exhausted'";
    give_up().await;
    leader.record_exhausted().await.unwrap();
    assert_eq!(scene.number(recorded).await, 0, "nobody subscribes");
    subscribe(&scene, &http).await;
    leader.record_exhausted().await.unwrap();
    assert_eq!(scene.number(recorded).await, 0, "it was before");
    give_up().await;
    leader.record_exhausted().await.unwrap();
    leader.record_exhausted().await.unwrap();
    assert_eq!(scene.number(recorded).await, 1);
    assert_eq!(leader.publish_events().await.unwrap(), 1);
    assert_eq!(leader.publish_events().await.unwrap(), 0);
    let payload = scene.text("SELECT payload::text FROM messages").await;
    assert!(payload.contains("100 given up; the last one: answered 500"), "{payload}");
}

/// A webhook of events that fails causes no events.
#[tokio::test]
async fn there_are_no_events_about_webhooks_of_events() {
    let scene = Scene::with_webhook(&[]).await;
    let http = Http::serve(scene.store()).await;
    subscribe(&scene, &http).await;
    scene.sql("UPDATE webhooks SET disabled_reason = 'gone' WHERE name = 'alerts'").await;
    assert_eq!(scene.number("SELECT count(*) FROM changes WHERE is_event").await, 0);
    scene.sql("UPDATE webhooks SET disabled_reason = 'gone' WHERE name <> 'alerts'").await;
    assert_eq!(scene.number("SELECT count(*) FROM changes WHERE is_event").await, 1);
    // Nobody subscribes any more.
    scene.sql("DELETE FROM webhooks WHERE name = 'alerts'").await;
    let leader = scene.leader().await;
    assert_eq!(leader.publish_events().await.unwrap(), 0);
    assert_eq!(scene.number("SELECT count(*) FROM changes WHERE is_event").await, 0);
    assert_eq!(scene.number("SELECT count(*) FROM messages").await, 0);
}

#[tokio::test]
async fn names_of_pgtopic_are_reserved() {
    let scene = Scene::new().await;
    let http = Http::serve(scene.store()).await;
    let refused = async |path: &str, body: Value, field: &str| {
        let (status, problem) = http.try_post(path, &body).await.unwrap();
        assert_eq!((status.as_u16(), &problem["errors"][0]["field"]), (422, &json!(field)), "{problem}");
    };
    refused("/topics", json!({"name": "pgtopic.events"}), "name").await;
    refused("/topics", json!({"name": "pgtopic.calls"}), "name").await;
    let message = json!({"payload": 1});
    refused("/topics/pgtopic.events/messages", message.clone(), "topic").await;
    refused("/topics/pgtopic.events/messages/batch", json!({"messages": [message]}), "topic").await;
    let webhook = json!({"topic": "pgtopic.calls", "url": scene.receiver.url("/")});
    let (status, _) = http.try_post("/webhooks", &webhook).await.unwrap();
    assert_eq!(status.as_u16(), 404, "there is no topic of that name");
}
