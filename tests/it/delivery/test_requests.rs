//! Test requests: they try a webhook, and nothing else happens.

use pgtopic_testkit::{Answer, Http, Scene};
use serde_json::{Value, json};

#[tokio::test]
async fn a_test_request_is_sent_at_once_and_leaves_nothing_behind() {
    let scene = Scene::with_webhook(&[("paused", "true")]).await;
    let http = Http::serve(scene.store()).await;
    // There is no worker.
    let test = http.act("/webhooks/1/test", &json!(null)).await;
    assert_eq!((&test["outcome"], &test["status_code"]), (&json!("accepted"), &json!(204)));
    assert_eq!(
        (&test["error_class"], &test["error"], &test["response_excerpt"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert!(test["duration_ms"].as_f64().unwrap() > 0.0, "{test}");
    let received = scene.receiver.received();
    let [request] = &received[..] else { panic!("{received:?}") };
    assert_eq!(json!(request.header("webhook-id")), test["id"]);
    assert!(request.header("webhook-id").starts_with("msg_test_"));
    assert_eq!(
        (request.header("webhook-type"), &request.body[..]),
        ("pgtopic.test", &br#"{"test":true}"#[..])
    );
    assert!(!request.headers.contains_key("webhook-position"), "it belongs to no order");
    for table in ["messages", "deliveries", "lanes", "attempts", "dead_letters"] {
        assert_eq!(scene.number(&format!("SELECT count(*) FROM {table}")).await, 0, "{table}");
    }
    http.try_post("/webhooks/9/test", &json!(null)).await.map(|(status, _)| assert_eq!(status, 404)).unwrap();
}

#[tokio::test]
async fn a_test_request_says_what_is_wrong_and_changes_nothing() {
    let scene = Scene::with_webhook(&[("timeout_seconds", "1")]).await;
    scene.webhook("/", &[]).await;
    scene.sql("UPDATE webhooks SET url = 'http://10.1.2.3/' WHERE id = 2").await;
    let http = Http::serve(scene.store()).await;
    let failed = async |webhook: i64| {
        let test = http.act(&format!("/webhooks/{webhook}/test"), &json!(null)).await;
        (
            test["outcome"].clone(),
            test["error_class"].clone(),
            test["status_code"].clone(),
            test["response_excerpt"].clone(),
        )
    };
    scene.receiver.set_script(|_| Answer::Status(410));
    assert_eq!(failed(1).await.0, "gone");
    assert_eq!(scene.number("SELECT count(*) FROM webhooks WHERE disabled_reason IS NOT NULL").await, 0);
    scene.receiver.set_script(|_| Answer::Status(503));
    let (outcome, class, status, _) = failed(1).await;
    assert_eq!((outcome, class, status), (json!("failed"), json!("status"), json!(503)));
    scene.receiver.set_script(|_| Answer::Hang);
    let (outcome, class, ..) = failed(1).await;
    assert_eq!((outcome, class), (json!("failed"), json!("timeout")), "after the webhook's own second");
    let forbidden = failed(2).await;
    assert_eq!(forbidden.1, "forbidden", "the address guard holds here too");
    scene.sql("UPDATE webhooks SET secrets = '{}' WHERE id = 1").await;
    assert_eq!(failed(1).await.1, "request");
}
