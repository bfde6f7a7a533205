//! The HTTP API as its clients see it.

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use http_body_util::BodyExt;
use pgtopic::{
    api::{ApiState, router},
    config::{ApiConfig, DeliveryConfig},
    store::Store,
};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::TestDatabase;

/// The API over a store, called without a network.
struct Api(Router);

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {:?}", self.text))
    }

    /// The answer, if it is a problem of this status.
    #[track_caller]
    fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        problem
    }

    /// The answer, if it is of this status.
    #[track_caller]
    fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()
    }
}

impl Api {
    fn new(store: Store, tokens: &[&str]) -> Self {
        let config = ApiConfig {
            bind: "127.0.0.1:0".parse().unwrap(),
            tokens: tokens.iter().map(|token| (*token).into()).collect(),
            max_body_bytes: 1 << 20,
        };
        let delivery = DeliveryConfig {
            max_retries: 5,
            backoff_factor: 2.0,
            max_backoff_seconds: 3600,
            timeout_seconds: 10,
            allow_networks: Vec::new(),
        };
        Self(router(ApiState::new(store, &config, &delivery).unwrap()))
    }

    /// The API over a database with one topic, `orders`.
    async fn with_topic() -> (TestDatabase, Self) {
        let database = TestDatabase::new().await;
        let api = Self::new(database.store(), &[]);
        api.post("/topics", &json!({"name": "orders"})).await.expect(201);
        (database, api)
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.0.clone().oneshot(request).await.unwrap().into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn text(&self, method: Method, path: &str, kind: &str, body: impl Into<Body>) -> Answer {
        let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, kind);
        self.send(request.body(body.into()).unwrap()).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.text(Method::POST, path, "application/json", body.to_string()).await
    }

    async fn webhook(&self, extra: Value) -> i64 {
        let mut body = json!({"topic": "orders", "url": "https://example.com/hook"});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        self.post("/webhooks", &body).await.expect(201)["id"].as_i64().unwrap()
    }

    async fn publish(&self, key: &str) -> i64 {
        let body = json!({"payload": {}, "partition_key": key});
        self.post("/topics/orders/messages", &body).await.expect(201)["id"].as_i64().unwrap()
    }
}

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
async fn a_payload_keeps_its_bytes_on_the_way_in_and_out() {
    let (_database, api) = Api::with_topic().await;
    let payload = r#"{ "b" :1.0,  "a": "\u0000é", "a":1e400 }"#;
    let body = format!(r#"{{"payload": {payload} }}"#);
    let published =
        api.text(Method::POST, "/topics/orders/messages", "application/json", body).await.expect(201);
    let message = api.get(&format!("/messages/{}", published["id"])).await;
    assert!(message.text.contains(&format!(r#""payload":{payload},"#)), "{}", message.text);
    api.post("/topics/orders/messages", &json!({"payload": null})).await.expect(201);
    assert_eq!(api.post("/topics/orders/messages", &json!({})).await.problem(422)["field"], "payload");
}

#[tokio::test]
async fn an_idempotency_key_publishes_once_even_at_once() {
    let (_database, api) = Api::with_topic().await;
    let body = json!({"payload": 1, "idempotency_key": "once"});
    let post = || api.post("/topics/orders/messages", &body);
    let (a, b, c, d) = tokio::join!(post(), post(), post(), post());
    let created = [&a, &b, &c, &d].iter().filter(|answer| answer.status == StatusCode::CREATED).count();
    assert_eq!(created, 1);
    for answer in [&b, &c, &d] {
        assert_eq!(answer.json()["id"], a.json()["id"]);
    }
}

#[tokio::test]
async fn a_batch_keeps_each_partition_in_order_and_answers_in_order() {
    let (database, api) = Api::with_topic().await;
    let first = api.post("/topics/orders/messages", &json!({"payload": 0, "idempotency_key": "used"})).await;
    let mut messages: Vec<_> =
        (0..200).map(|n| json!({"payload": n, "partition_key": format!("user-{}", n % 7)})).collect();
    messages.push(json!({"payload": "repeats an earlier message", "idempotency_key": "used"}));
    messages.push(json!({"payload": "first use", "idempotency_key": "new", "partition_key": "z"}));
    messages
        .push(json!({"payload": "repeats the one before", "idempotency_key": "new", "partition_key": "a"}));
    let answer = api.post("/topics/orders/messages/batch", &json!({"messages": messages})).await.expect(201);
    let ids: Vec<i64> = serde_json::from_value(answer["ids"].clone()).unwrap();
    assert_eq!(ids.len(), 203);
    assert_eq!(ids[200], first.json()["id"]);
    assert_eq!(ids[201], ids[202]);

    let client = database.client().await;
    for (n, id) in ids.iter().take(200).enumerate() {
        let row = client
            .query_one("SELECT payload::text FROM pgtopic.messages WHERE id = $1", &[id])
            .await
            .unwrap();
        assert_eq!(row.get::<_, String>(0), n.to_string());
    }
    for key in 0..7 {
        let of_key: Vec<_> = ids.iter().take(200).skip(key).step_by(7).collect();
        assert!(of_key.is_sorted(), "partition {key}: {of_key:?}");
    }
}

#[tokio::test]
async fn a_batch_may_come_line_by_line_and_is_all_or_nothing() {
    let (_database, api) = Api::with_topic().await;
    let path = "/topics/orders/messages/batch";
    let ndjson = "application/x-ndjson; charset=utf-8";
    let lines = "{\"payload\":1}\n\n{\"payload\":2,\"partition_key\":\"a\"}\n";
    assert_eq!(
        api.text(Method::POST, path, ndjson, lines).await.expect(201)["ids"].as_array().unwrap().len(),
        2
    );
    let bad = api.text(Method::POST, path, ndjson, "{\"payload\":1}\n{\"pay\":2}\n").await.problem(422);
    assert_eq!(bad["field"], "messages[1].pay");
    api.text(Method::POST, path, ndjson, "{\"payload\":1}\n{\n").await.problem(400);
    api.text(Method::POST, path, "text/csv", "1").await.problem(415);
    assert_eq!(api.post(path, &json!({"messages": []})).await.problem(422)["field"], "messages");
    assert_eq!(api.get("/topics/orders/messages").await.expect(200)["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn publishing_where_it_cannot_be_done() {
    let (database, api) = Api::with_topic().await;
    api.post("/topics/nowhere/messages", &json!({"payload": 1})).await.problem(404);
    api.post("/topics/nowhere/messages/batch", &json!({"messages": [{"payload": 1}]})).await.problem(404);
    let client = database.client().await;
    client.batch_execute("UPDATE pgtopic.topics SET max_payload_bytes = 8").await.unwrap();
    api.post("/topics/orders/messages", &json!({"payload": "123456789"})).await.problem(413);
    api.post("/topics/orders/messages", &json!({"payload": "x".repeat(2 << 20)})).await.problem(413);
    api.text(Method::PATCH, "/topics/orders", "application/json", r#"{"paused":true}"#).await.expect(200);
    let paused = api.post("/topics/orders/messages", &json!({"payload": 1})).await.problem(409);
    assert_eq!(paused["type"], "/problems/paused");
}

#[tokio::test]
async fn a_secret_shows_once() {
    let (_database, api) = Api::with_topic().await;
    let body =
        json!({"topic": "orders", "url": "https://example.com/", "headers": {"authorization": "Bearer x"}});
    let created = api.post("/webhooks", &body).await.expect(201);
    assert!(created["secret"].as_str().unwrap().starts_with("whsec_"));
    for path in ["/webhooks", "/webhooks/1", "/topics/orders/webhooks"] {
        let answer = api.get(path).await;
        answer.expect(200);
        assert!(!answer.text.contains("whsec_") && !answer.text.contains("Bearer x"), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_webhook_that_breaks_a_rule_is_told_which() {
    let (_database, api) = Api::with_topic().await;
    let cases = [
        (json!({"url": "ftp://example.com/"}), "url"),
        (json!({"secret": "whsec_short"}), "secret"),
        (json!({"headers": {"webhook-id": "1"}}), "headers.webhook-id"),
        (json!({"format": "xml"}), "format"),
        (json!({"batch_size": 1001}), "batch_size"),
        (json!({"timeout_seconds": 1e12}), "timeout_seconds"),
        (json!({"start_from": "earliest"}), "start_from"),
        (json!({"colour": "red"}), "colour"),
        (json!({"filter": "$.a =="}), "filter"),
        (json!({"filter": "$.a"}), "filter"),
        (json!({"filter": "$.a == $b"}), "filter"),
        (json!({"filter": r#"$.a like_regex "(""#}), "filter"),
        (json!({"filter": "x".repeat(4097)}), "filter"),
    ];
    for (extra, field) in cases {
        let mut body = json!({"topic": "orders", "url": "https://example.com/"});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let problem = api.post("/webhooks", &body).await.problem(422);
        assert_eq!(problem["field"], field, "{extra}");
        assert!(!problem["rule"].as_str().unwrap().is_empty());
    }
    for filter in [r#"$.a == "b$""#, "exists($.a)", "strict $.a.b > 1"] {
        api.webhook(json!({"filter": filter})).await;
    }
    api.post("/webhooks", &json!({"topic": "nowhere", "url": "https://example.com/"})).await.problem(404);
}

#[tokio::test]
async fn changing_holding_and_deleting_a_webhook() {
    let (_database, api) = Api::with_topic().await;
    let id = api.webhook(json!({"max_retries": 3, "filter": "$.n > 1"})).await;
    let path = format!("/webhooks/{id}");
    let changes = r#"{"max_retries":null,"timeout_seconds":7,"url":"https://example.org/"}"#;
    let changed = api.text(Method::PATCH, &path, "application/json", changes).await.expect(200);
    assert_eq!(changed["max_retries"], Value::Null);
    assert_eq!(changed["timeout_seconds"], 7);
    assert_eq!(changed["url"], "https://example.org/");
    assert_eq!(changed["filter"], r#"($."n" > 1)"#);
    assert_eq!(api.post(&format!("{path}/pause"), &json!(null)).await.expect(200)["paused"], true);
    assert_eq!(api.post(&format!("{path}/resume"), &json!(null)).await.expect(200)["paused"], false);

    api.text(Method::PATCH, &path, "application/json", r#"{"filter":null}"#).await.expect(200);
    api.publish("a").await;
    api.publish("b").await;
    assert_eq!(api.get(&path).await.expect(200)["backlog"], 2);
    let deleted = api.send(Request::delete(&path).body(Body::empty()).unwrap()).await.expect(200);
    assert_eq!(deleted, json!({"deleted": true, "dropped_deliveries": 2, "dropped_dead_letters": 0}));
    api.get(&path).await.problem(404);
    assert_eq!(api.get("/topics/orders").await.expect(200)["backlog"], 0);
}

#[tokio::test]
async fn a_delivery_says_where_it_stands() {
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
             UPDATE pgtopic.lanes SET position = {dead}, failures = 1, due_at = '2100-01-01Z' WHERE partition_key = 'a';
             UPDATE pgtopic.lanes SET halted = true, due_at = 'infinity' WHERE partition_key = 'c';
             DELETE FROM pgtopic.lanes WHERE partition_key = 'b';
             INSERT INTO pgtopic.dead_letters (webhook_id, lane, message_id, reason, attempts, last_error)
             VALUES ({webhook}, 0, {dead}, 'attempts_exhausted', 5, 'status 500');
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
    assert_eq!((&attempts["items"][0]["status_code"], &attempts["next"]), (&json!(503), &json!(1)));
    let rest = api.get(&format!("{list}/{delivered}/attempts?after=1")).await.expect(200);
    assert_eq!((&rest["items"][0]["duration_ms"], &rest["next"]), (&json!(1.5), &Value::Null));

    assert_eq!(api.get("/dead-letter/count?topic=orders").await.expect(200), json!({"count": 1}));
    let letters = api.get(&format!("/dead-letter?webhook_id={webhook}")).await.expect(200);
    assert_eq!(letters["items"][0]["message_id"], dead);
    let letter = api.get(&format!("/dead-letter/{}", letters["items"][0]["id"])).await.expect(200);
    assert_eq!((&letter["payload"], &letter["partition_key"]), (&json!({}), &json!("a")));
    assert_eq!(api.get(&format!("/webhooks/{webhook}")).await.expect(200)["dead_letters"], 1);
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
            after = format!("&after={}", page["next"]);
        }
        assert_eq!(seen, ids, "{path}");
    }
}

#[tokio::test]
async fn roles_and_problems_of_any_request() {
    let database = TestDatabase::new().await;
    let api = Api::new(database.store(), &["admin:a", "publish:p", "read:r"]);
    let with = |method: Method, path: &str, token: &str| {
        Request::builder().method(method).uri(path).header(header::AUTHORIZATION, format!("Bearer {token}"))
    };
    let refused = api.get("/topics").await;
    refused.problem(401);
    assert_eq!(refused.headers[header::WWW_AUTHENTICATE], "Bearer");
    for (token, expected) in [("r", 403), ("p", 403), ("a", 415), ("x", 401)] {
        let request = with(Method::POST, "/topics", token).body(Body::empty()).unwrap();
        api.send(request).await.problem(expected);
    }
    let publish =
        with(Method::POST, "/topics/orders/messages", "p").header(header::CONTENT_TYPE, "application/json");
    api.send(publish.body(r#"{"payload":1}"#.into()).unwrap()).await.problem(404);
    let read = with(Method::GET, "/topics", "r").body(Body::empty()).unwrap();
    api.send(read).await.expect(200);

    for open in ["/healthz", "/readyz", "/openapi.json"] {
        api.get(open).await.expect(200);
    }
    api.get("/nowhere").await.problem(404);
    let wrong = api.send(with(Method::PUT, "/topics", "a").body(Body::empty()).unwrap()).await;
    wrong.problem(405);
    assert!(wrong.headers.contains_key(header::ALLOW));
    for query in ["limit=0", "limit=x", "colour=red"] {
        let request = with(Method::GET, &format!("/topics?{query}"), "r").body(Body::empty()).unwrap();
        assert_eq!(api.send(request).await.problem(422)["field"], query.split('=').next().unwrap());
    }
    let malformed = with(Method::POST, "/topics", "a").header(header::CONTENT_TYPE, "application/json");
    api.send(malformed.body("{".into()).unwrap()).await.problem(400);
}

#[tokio::test]
async fn without_its_database_the_api_says_so() {
    let config = pgtopic::config::DatabaseConfig {
        url: Some("postgres://nobody@127.0.0.1:1/nothing".to_owned().into()),
        listen_url: None,
        pooler: pgtopic::config::Pooler::Auto,
        schema: "pgtopic".to_owned(),
        pool_size: 1,
        ca_file: None,
    };
    let api = Api::new(Store::new(&config).unwrap(), &[]);
    api.get("/healthz").await.expect(200);
    api.get("/readyz").await.problem(503);
    let away = api.get("/topics").await;
    away.problem(503);
    assert_eq!(away.headers[header::RETRY_AFTER], "1");
}

#[test]
fn the_description_names_every_route() {
    let document = serde_json::to_value(pgtopic::api::openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.contains_key("/webhooks/{id}/deliveries/{message_id}/attempts"));
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{method} {path} has no summary");
        }
    }
}
