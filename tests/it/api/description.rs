//! The OpenAPI document: its examples work, and its limits are the real ones.

use pgtopic_testkit::TestDatabase;
use serde_json::{Map, Value, json};

use super::{Api, operations};

/// What the example of a route needs beside what the routes before it have made.
fn needs(route: &str) -> Option<&'static str> {
    if route.ends_with("/dead-letter/{id}") || route.ends_with("/dead-letter/{id}/replay") {
        return Some(
            "DELETE FROM pgtopic.deliveries WHERE message_id = 1;
             DELETE FROM pgtopic.dead_letters;
             INSERT INTO pgtopic.dead_letters
                 (id, webhook_id, topic_id, partition_key, lane, message_id, reason, attempts, last_error)
             OVERRIDING SYSTEM VALUE
             SELECT 1, 1, topic_id, partition_key, lane, id, 'attempts_exhausted', 5, 'status 500'
               FROM pgtopic.messages WHERE id = 1",
        );
    }
    if route.ends_with("/{message_id}/replay") {
        return Some("DELETE FROM pgtopic.deliveries WHERE message_id = 1");
    }
    let sql = "INSERT INTO pgtopic.deliveries (webhook_id, lane, message_id)
               SELECT 1, lane, id FROM pgtopic.messages WHERE id = 1 ON CONFLICT DO NOTHING;
               UPDATE pgtopic.lanes SET position = 0";
    (route.ends_with("/lanes/skip") || route.contains("{message_id}")).then_some(sql)
}

/// A new user clicks "Try it out" of every endpoint, one after another.
#[tokio::test]
async fn the_example_of_every_endpoint_works() {
    let database = TestDatabase::new().await;
    let api = Api::new(database.store(), &[]);
    let mut all = operations();
    // Requests that make something come first. Requests that delete come last: the webhook first,
    // then its topic.
    all.sort_by_key(|operation| match (operation.method.as_str(), operation.path.as_str()) {
        ("POST", "/topics") => 0,
        ("POST", "/webhooks" | "/purge") => 1,
        ("POST", "/topics/{topic}/messages") => 2,
        ("POST", _) => 3,
        ("DELETE", "/topics/{topic}") => 7,
        ("DELETE", _) => 6,
        ("PATCH", _) => 5,
        _ => 4,
    });
    let client = database.client().await;
    for operation in all {
        if let Some(sql) = needs(&operation.route()) {
            client.batch_execute(sql).await.unwrap();
        }
        let path = operation.example_path();
        let bodies = operation.example_bodies();
        if bodies.is_empty() {
            let answer = api.text(operation.method.clone(), &path, "application/json", "").await;
            assert!(answer.status.is_success(), "{}: {}", operation.route(), answer.text);
        }
        for (kind, body) in bodies {
            let answer = api.text(operation.method.clone(), &path, &kind, body).await;
            assert!(answer.status.is_success(), "{} {kind}: {}", operation.route(), answer.text);
        }
    }
}

/// These limits are not constants of `domain`. So only this test compares them with the document.
#[tokio::test]
async fn a_header_and_a_url_may_be_as_long_as_the_description_says() {
    let (_database, api) = Api::with_topic().await;
    let document = pgtopic::api::openapi();
    let fields = &document["components"]["schemas"]["NewWebhook"]["properties"];
    let most = |bounds: &Value| usize::try_from(bounds["maxLength"].as_u64().unwrap()).unwrap();
    let (name, value) =
        (most(&fields["headers"]["propertyNames"]), most(&fields["headers"]["additionalProperties"]));
    let url = most(&fields["url"]);
    for more in [0, 1] {
        let address =
            format!("https://example.com/{}", "a".repeat(url + more - "https://example.com/".len()));
        let bodies = [
            json!({"headers": Map::from_iter([("a".repeat(name + more), json!(""))])}),
            json!({"headers": {"x-a": "a".repeat(value + more)}}),
            json!({"url": address}),
        ];
        for extra in bodies {
            let mut body = json!({"topic": "orders", "url": "https://example.com/"});
            body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            api.post("/webhooks", &body).await.expect(if more == 0 { 201 } else { 422 });
        }
    }
}
