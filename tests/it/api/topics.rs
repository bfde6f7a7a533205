//! Topics are made, changed and deleted.

use axum::{
    body::Body,
    http::{Method, Request},
};
use pgtopic_testkit::TestDatabase;
use serde_json::{Value, json};

use super::Api;

#[tokio::test]
async fn a_topic_is_created_read_changed_and_deleted() {
    let database = TestDatabase::new().await;
    let api = Api::new(database.store(), &[]);
    let topic = api.post("/topics", &json!({"name": "orders", "retention_seconds": 60})).await.expect(201);
    assert_eq!((&topic["ordering"], &topic["retention_seconds"]), (&json!("partition"), &json!(60)));
    assert_eq!(
        api.post("/topics", &json!({"name": "orders"})).await.problem(409)["type"],
        "/problems/duplicate"
    );
    assert_eq!(api.post("/topics", &json!({"name": "17"})).await.problem(422)["field"], "name");

    let by_id = api.get(&format!("/topics/{}", topic["id"])).await.expect(200);
    assert_eq!(by_id, api.get("/topics/orders").await.expect(200));
    let changed =
        api.text(Method::PATCH, "/topics/orders", "application/json", r#"{"retention_seconds":null}"#).await;
    assert_eq!(changed.expect(200)["retention_seconds"], Value::Null);

    api.webhook(json!({})).await;
    api.publish("a").await;
    let delete = |path: &'static str| Request::delete(path).body(Body::empty()).unwrap();
    assert_eq!(api.send(delete("/topics/orders")).await.problem(409)["type"], "/problems/in-use");
    let deleted = api.send(delete("/topics/orders?force=true")).await.expect(200);
    assert_eq!(deleted, json!({"deleted": true, "webhooks": 1, "dropped_deliveries": 1}));
    api.get("/topics/orders").await.problem(404);
}

#[tokio::test]
async fn a_topic_is_put_as_often_as_one_likes() {
    let database = TestDatabase::new().await;
    let api = Api::new(database.store(), &[]);
    let put = async |path: &str, body: Value| {
        api.text(Method::PUT, path, "application/json", body.to_string()).await
    };
    let made = put("/topics/orders", json!({"ordering": "none", "retention_seconds": 60})).await.expect(201);
    assert_eq!(
        (&made["ordering"], &made["retention_seconds"], &made["paused"]),
        (&json!("none"), &json!(60), &Value::Null)
    );
    assert_eq!(
        put("/topics/orders", json!({"ordering": "none", "retention_seconds": 60})).await.expect(200),
        made
    );
    // What is left out stays as it is.
    let held = put("/topics/orders", json!({"paused": "hold"})).await.expect(200);
    assert_eq!((&held["paused"], &held["retention_seconds"]), (&json!("hold"), &json!(60)));
    let by_id = format!("/topics/{}", made["id"]);
    let back = put(&by_id, json!({"paused": null, "retention_seconds": null})).await.expect(200);
    assert_eq!((&back["paused"], &back["retention_seconds"]), (&Value::Null, &Value::Null));

    let other = put("/topics/orders", json!({"ordering": "partition", "paused": "hold"})).await.problem(422);
    assert_eq!((&other["type"], &other["field"]), (&json!("/problems/invalid"), &json!("ordering")));
    assert_eq!(api.get("/topics/orders").await.expect(200)["paused"], Value::Null, "nothing was written");
    put("/topics/999", json!({})).await.problem(404);
    assert_eq!(
        put("/topics/new", json!({"retention_seconds": -1})).await.problem(422)["field"],
        "retention_seconds"
    );
    api.get("/topics/new").await.problem(404);
    assert_eq!(put("/topics/new", json!({})).await.expect(201)["ordering"], "partition");
}

#[tokio::test]
async fn a_topic_is_paused_in_two_ways() {
    let (_database, api) = Api::with_topic().await;
    let paused = async |path: &str, body: &str| {
        api.text(Method::POST, path, "application/json", body.to_owned()).await
    };
    for (body, mode) in
        [("", "refuse"), ("{}", "refuse"), (r#"{"mode":"hold"}"#, "hold"), (r#"{"mode":"refuse"}"#, "refuse")]
    {
        assert_eq!(paused("/topics/orders/pause", body).await.expect(200)["paused"], mode, "{body}");
    }
    for body in [r#"{"mode":"stop"}"#, r#"{"mode":null}"#, r#"{"mode":true}"#] {
        let problem = paused("/topics/orders/pause", body).await.problem(422);
        assert_eq!(problem["field"], "mode", "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("refuse, hold"), "{problem}");
    }
    let patched = async |body: &str| {
        api.text(Method::PATCH, "/topics/orders", "application/json", body.to_owned()).await
    };
    for body in [r#"{"paused":true}"#, r#"{"paused":"stop"}"#] {
        let problem = patched(body).await.problem(422);
        assert_eq!(problem["field"], "paused", "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("refuse, hold"), "{problem}");
    }
    assert_eq!(patched(r#"{"paused":"hold"}"#).await.expect(200)["paused"], "hold");
    api.publish("a").await;
    assert_eq!(patched(r#"{"retention_seconds":5}"#).await.expect(200)["paused"], "hold", "it stays");
    assert_eq!(paused("/topics/orders/resume", "").await.expect(200)["paused"], Value::Null);
    paused("/topics/nowhere/pause", "").await.problem(404);
    paused("/topics/nowhere/resume", "").await.problem(404);
}
