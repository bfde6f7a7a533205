//! Deliveries and dead letters, one by one and in pages.

use serde_json::{Value, json};

use super::Api;

#[tokio::test]
async fn a_delivery_shows_its_status() {
    let (database, api) = Api::with_topic().await;
    let before = api.publish("a").await;
    let webhook = api.webhook(json!({})).await;
    let [dead, retrying, pending] = [api.publish("a").await, api.publish("a").await, api.publish("a").await];
    let [delivered, halted] = [api.publish("b").await, api.publish("c").await];
    let client = database.client().await;
    client
        .batch_execute(&format!(
            "CREATE TABLE attempts_now PARTITION OF pgtopic.attempts DEFAULT;
             DELETE FROM pgtopic.deliveries WHERE message_id IN ({dead}, {delivered});
             UPDATE pgtopic.lanes SET position = {dead}, failures = 1, head_message_id = {retrying}, due_at = '2100-01-01Z' WHERE partition_key = 'a';
             UPDATE pgtopic.lanes SET halted = true, due_at = 'infinity' WHERE partition_key = 'c';
             DELETE FROM pgtopic.lanes WHERE partition_key = 'b';
             INSERT INTO pgtopic.dead_letters (webhook_id, topic_id, partition_key, lane, message_id, reason, attempts, last_error)
             VALUES ({webhook}, 1, 'a', 0, {dead}, 'attempts_exhausted', 5, 'status 500');
             INSERT INTO pgtopic.attempts VALUES
             ({webhook}, {delivered}, 1, 'failed', 503, 'status', 'status 503', 10, 'oh', gen_random_uuid(), '2026-01-01Z'),
             ({webhook}, {delivered}, 2, 'accepted', 200, NULL, NULL, 1500, NULL, gen_random_uuid(), '2026-01-02Z'),
             ({webhook}, {retrying}, 1, 'failed', 500, 'status', 'status 500', 10, 'no', gen_random_uuid(), '2026-01-02Z')"
        ))
        .await
        .unwrap();
    let list = format!("/webhooks/{webhook}/deliveries");
    let page = api.get(&list).await.expect(200);
    let found: Vec<_> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["message_id"].as_i64().unwrap(), item["status"].as_str().unwrap()))
        .collect();
    assert_eq!(
        found,
        [
            (halted, "halted"),
            (delivered, "delivered"),
            (pending, "pending"),
            (retrying, "retrying"),
            (dead, "dead")
        ]
    );
    for (id, status) in found {
        let filtered = api.get(&format!("{list}?status={status}")).await.expect(200);
        assert_eq!(filtered["items"].as_array().unwrap().len(), 1);
        assert_eq!(filtered["items"][0], api.get(&format!("{list}/{id}")).await.expect(200));
    }
    let head = api.get(&format!("{list}/{retrying}")).await.expect(200);
    assert_eq!(head["next_attempt_at"], "2100-01-01T00:00:00Z");
    assert_eq!((&head["attempts"], &head["last_status_code"]), (&json!(1), &json!(500)));
    let settled = api.get(&format!("{list}/{delivered}")).await.expect(200);
    assert_eq!(
        (&settled["settled_at"], &settled["last_error"]),
        (&json!("2026-01-02T00:00:00Z"), &Value::Null)
    );
    api.get(&format!("{list}/{before}")).await.problem(404);

    let attempts = api.get(&format!("{list}/{delivered}/attempts?limit=1")).await.expect(200);
    assert_eq!(attempts["items"][0]["status_code"], 503);
    let rest = api
        .get(&format!("{list}/{delivered}/attempts?after={}", attempts["next"].as_str().unwrap()))
        .await
        .expect(200);
    assert_eq!((&rest["items"][0]["duration_ms"], &rest["next"]), (&json!(1.5), &Value::Null));

    assert_eq!(api.get("/dead-letter/count?topic=orders").await.expect(200), json!({"count": 1}));
    let letters = api.get(&format!("/dead-letter?webhook_id={webhook}")).await.expect(200);
    assert_eq!(letters["items"][0]["message_id"], dead);
    let letter = api.get(&format!("/dead-letter/{}", letters["items"][0]["id"])).await.expect(200);
    assert_eq!((&letter["payload"], &letter["partition_key"]), (&json!({}), &json!("a")));
    assert_eq!(api.get(&format!("/webhooks/{webhook}")).await.expect(200)["health"]["dead_letters"], 1);
    let message = api.get(&format!("/messages/{dead}")).await.expect(200);
    assert_eq!(message["deliveries"], json!([{"webhook_id": webhook, "status": "dead", "attempts": 5}]));
}

#[tokio::test]
async fn pages_show_everything_once() {
    let (_database, api) = Api::with_topic().await;
    let webhook = api.webhook(json!({})).await;
    let mut ids = Vec::new();
    for n in 0..7 {
        ids.push(api.publish(&format!("user-{n}")).await);
    }
    ids.reverse();
    for (path, key) in [
        ("/topics/orders/messages".to_owned(), "id"),
        (format!("/webhooks/{webhook}/deliveries"), "message_id"),
    ] {
        let mut seen = Vec::new();
        let mut after = String::new();
        loop {
            let page = api.get(&format!("{path}?limit=3{after}")).await.expect(200);
            seen.extend(page["items"].as_array().unwrap().iter().map(|item| item[key].as_i64().unwrap()));
            if page["next"].is_null() {
                break;
            }
            after = format!("&after={}", page["next"].as_str().unwrap());
        }
        assert_eq!(seen, ids, "{path}");
    }
}

/// Few of many webhooks are owed a message. A page looks at 2,000 pairs of a message and a webhook
/// at most, and the next page goes on there.
#[tokio::test]
async fn a_page_of_all_deliveries_looks_at_a_limited_number_of_webhooks() {
    let (database, api) = Api::with_topic().await;
    for _ in 0..30 {
        api.publish("a").await;
    }
    database
        .client()
        .await
        .batch_execute(
            "INSERT INTO pgtopic.webhooks (topic_id, name, url, secrets)
             SELECT 1, 'webhook-' || n, 'https://example.com/', '{}' FROM generate_series(1, 100) n;
             INSERT INTO pgtopic.deliveries (webhook_id, lane, message_id) SELECT 7, m.lane, m.id FROM pgtopic.messages m WHERE m.id = 1",
        )
        .await
        .unwrap();
    let first = api.get("/deliveries").await.expect(200);
    assert_eq!(first["items"], json!([]), "20 messages of 30");
    let next = first["next"].as_str().unwrap();
    let second = api.get(&format!("/deliveries?after={next}")).await.expect(200);
    assert_eq!(
        (&second["items"][0]["message_id"], &second["items"][0]["webhook_id"]),
        (&json!(1), &json!(7))
    );
    assert_eq!(second["next"], Value::Null);
}
