//! The whole way from publishing to arrival: API, SQL, headers, signature.

use pgtopic::{config::DatabaseConfig, delivery::SigningKey, store::Store};
use pgtopic_testkit::{Broker, Http, Received, TestDatabase, TestReceiver, eventually};
use serde_json::json;

/// Checks every header that DESIGN promises. The signature must fit the bytes of the body.
fn check_headers(received: &Received, id: i64, partition: &str, webhook: (i64, &str)) {
    let (webhook_id, secret) = webhook;
    for (name, value) in [
        ("content-type", "application/json"),
        ("user-agent", concat!("pgtopic/", env!("CARGO_PKG_VERSION"))),
        ("webhook-id", &format!("msg_{id}")),
        ("webhook-source", "pgtopic"),
        ("webhook-subscription", &webhook_id.to_string()),
        ("webhook-topic", "orders"),
        ("webhook-partition", partition),
        ("webhook-position", &id.to_string()),
        ("webhook-attempt", "1"),
        ("webhook-replay", ""),
    ] {
        assert_eq!(received.header(name), value, "{name}");
    }
    let parts: Vec<_> = received.header("traceparent").split('-').map(str::len).collect();
    assert_eq!(parts, [2, 32, 16, 2], "{}", received.header("traceparent"));
    let timestamp: u64 = received.header("webhook-timestamp").parse().unwrap();
    let signed = SigningKey::parse(secret).unwrap().sign(&format!("msg_{id}"), timestamp, &received.body);
    assert_eq!(received.header("webhook-signature"), signed);
}

/// Makes a topic and a webhook, publishes by API and by SQL, and checks what arrives. Then checks
/// what the API says of it.
async fn whole_flow(database: &TestDatabase, config: &DatabaseConfig) {
    let (store, receiver) = (Store::new(config).unwrap(), TestReceiver::accepting().await);
    let http = Http::serve(store.clone()).await;
    let broker = Broker::start(store);

    let topic = http.post("/topics", &json!({"name": "orders"})).await;
    assert_eq!(topic["id"], 1);
    let webhook = json!({"topic": "orders", "url": receiver.url("/hook"), "headers": {"x-tenant": "a"}});
    let webhook = http.post("/webhooks", &webhook).await;
    let (webhook_id, secret) = (webhook["id"].as_i64().unwrap(), webhook["secret"].as_str().unwrap());

    let message = json!({"payload": {"event": "order.created"}, "partition_key": "user-1",
                         "headers": {"x-source": "shop"}});
    let posted = http.post("/topics/orders/messages", &message).await["id"].as_i64().unwrap();
    let client = database.client().await;
    client.batch_execute(&format!("SET search_path = \"{}\"", config.schema)).await.unwrap();
    let insert = r#"INSERT INTO messages (topic_id, partition_key, payload, created_at) VALUES (1, 'user-42', '{"event":"order.created"}'::jsonb, now());"#;
    client.batch_execute(insert).await.unwrap();
    let sql = "SELECT id FROM messages WHERE partition_key = 'user-42'";
    let inserted: i64 = client.query_one(sql, &[]).await.unwrap().get(0);

    let received = receiver.wait_for_ended(2).await;
    let find = |id| received.iter().find(|one| one.position() == id).unwrap();
    check_headers(find(posted), posted, "user-1", (webhook_id, secret));
    check_headers(find(inserted), inserted, "user-42", (webhook_id, secret));
    assert_eq!((find(posted).header("x-tenant"), find(posted).header("x-source")), ("a", "shop"));
    assert_eq!((find(inserted).header("x-tenant"), find(inserted).header("x-source")), ("a", ""));
    assert_eq!(find(posted).body, r#"{"event":"order.created"}"#);
    assert_eq!(find(inserted).body, r#"{"event": "order.created"}"#, "the text is as jsonb writes it");

    let path = format!("/webhooks/{webhook_id}/deliveries");
    let delivered = eventually("both deliveries are settled", async || {
        let list = http.get(&path).await;
        let items = list["items"].as_array().unwrap();
        // After the settle and before the row of the attempt log, a delivery is in no list.
        (items.len() == 2 && items.iter().all(|one| one["status"] == "delivered")).then_some(list)
    });
    let delivered = delivered.await;
    let ids: Vec<_> = delivered["items"].as_array().unwrap().iter().map(|one| &one["message_id"]).collect();
    assert_eq!(ids, [&json!(inserted), &json!(posted)], "newest first");
    let attempts = http.get(&format!("{path}/{posted}/attempts")).await;
    assert_eq!(attempts["items"].as_array().unwrap().len(), 1);
    assert_eq!(attempts["items"][0]["status_code"], 204);
    assert_eq!(http.get("/dead-letter/count").await["count"], 0);
    broker.stop().await;
    assert_eq!(receiver.received().len(), 2);
}

#[tokio::test]
async fn what_is_published_arrives_with_all_headers_and_a_signature() {
    let database = TestDatabase::new().await;
    whole_flow(&database, &database.config()).await;
}

#[tokio::test]
async fn another_schema_works_from_end_to_end() {
    let database = TestDatabase::empty().await;
    let config = DatabaseConfig { schema: "Order events".to_owned(), ..database.config() };
    Store::new(&config).unwrap().migrate().await.unwrap();
    whole_flow(&database, &config).await;
}

#[tokio::test]
async fn two_installations_in_one_database_know_nothing_of_each_other() {
    let database = TestDatabase::new().await;
    let (one, other) =
        (database.config(), DatabaseConfig { schema: "other".to_owned(), ..database.config() });
    Store::new(&other).unwrap().migrate().await.unwrap();
    tokio::join!(whole_flow(&database, &one), whole_flow(&database, &other));
}
