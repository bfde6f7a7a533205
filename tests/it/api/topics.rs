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
