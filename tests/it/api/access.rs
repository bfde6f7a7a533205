//! Who may do what: roles, tokens that are limited to topics, and hidden payloads.

use axum::{
    body::Body,
    http::{Method, Request, header},
};
use pgtopic_testkit::TestDatabase;
use serde_json::{Value, json};

use super::{Answer, Api, operations};

/// The roles that may use a route. `docs/operations.md` has the same table. A new route needs a
/// line in both.
fn permitted(route: &str) -> &'static [&'static str] {
    const EVERYBODY: &[&str] = &["admin", "operate", "publish", "read", "read-payloads"];
    const READERS: &[&str] = &["admin", "operate", "read", "read-payloads"];
    match route {
        "GET /healthz" | "GET /readyz" => EVERYBODY,
        "POST /topics/{topic}/messages" | "POST /topics/{topic}/messages/batch" => &["admin", "publish"],
        "POST /topics/{topic}/pause"
        | "POST /topics/{topic}/resume"
        | "POST /webhooks/{webhook}/pause"
        | "POST /webhooks/{webhook}/resume"
        | "POST /webhooks/{webhook}/enable"
        | "POST /webhooks/{webhook}/test"
        | "POST /webhooks/{webhook}/replay"
        | "POST /webhooks/{webhook}/cancel"
        | "POST /jobs/{id}/cancel"
        | "POST /dead-letter/replay"
        | "POST /dead-letter/discard"
        | "POST /webhooks/{webhook}/deliveries/{message_id}/cancel"
        | "POST /webhooks/{webhook}/deliveries/{message_id}/replay"
        | "POST /webhooks/{webhook}/lanes/retry"
        | "POST /webhooks/{webhook}/lanes/skip"
        | "POST /sending"
        | "DELETE /dead-letter/{id}"
        | "POST /dead-letter/{id}/replay" => &["admin", "operate"],
        "POST /purge"
        | "POST /topics"
        | "PUT /topics/{topic}"
        | "PATCH /topics/{topic}"
        | "DELETE /topics/{topic}"
        | "POST /webhooks"
        | "PATCH /webhooks/{webhook}"
        | "DELETE /webhooks/{webhook}" => &["admin"],
        "GET /topics"
        | "GET /topics/{topic}"
        | "GET /topics/{topic}/webhooks"
        | "GET /topics/{topic}/messages"
        | "GET /messages/{id}"
        | "GET /messages/{id}/why"
        | "GET /topics/{topic}/why"
        | "GET /topics/{topic}/tail"
        | "GET /webhooks/{webhook}/tail"
        | "GET /webhooks"
        | "GET /webhooks/{webhook}"
        | "GET /webhooks/{webhook}/deliveries"
        | "GET /webhooks/{webhook}/deliveries/{message_id}"
        | "GET /webhooks/{webhook}/deliveries/{message_id}/attempts"
        | "GET /deliveries"
        | "GET /doctor"
        | "GET /webhooks/{webhook}/lanes"
        | "GET /dead-letter"
        | "GET /dead-letter/count"
        | "GET /jobs"
        | "GET /jobs/{id}"
        | "GET /dead-letter/groups"
        | "GET /dead-letter/{id}"
        | "GET /stats"
        | "GET /workers"
        | "GET /metrics"
        | "GET /sending" => READERS,
        _ => panic!("which roles may use {route}? Say it here and in docs/operations.md"),
    }
}

async fn send(api: &Api, method: &Method, path: &str, token: &str, body: &Value) -> Answer {
    let mut request =
        Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
    if !token.is_empty() {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let body = if body.is_null() { Body::empty() } else { body.to_string().into() };
    api.send(request.body(body).unwrap()).await
}

#[tokio::test]
async fn every_route_takes_its_own_roles_and_refuses_the_others() {
    let database = TestDatabase::new().await;
    let tokens =
        ["admin:admin", "operate:operate", "publish:publish", "read:read", "read-payloads:read-payloads"];
    let api = Api::new(database.store(), &tokens);
    let mut routes = 0;
    for operation in operations() {
        let permitted = permitted(&operation.route());
        let path = operation.example_path();
        for token in tokens.map(|token| token.split_once(':').unwrap().1) {
            let answer = send(&api, &operation.method, &path, token, &operation.example_body).await;
            let refused = [401, 403].contains(&answer.status.as_u16());
            assert_eq!(
                refused,
                !permitted.contains(&token),
                "{} as {token}: {}",
                operation.route(),
                answer.text
            );
            if refused {
                answer.problem(403);
            }
        }
        for stranger in ["", "sesame"] {
            let answer = send(&api, &operation.method, &path, stranger, &operation.example_body).await;
            assert_eq!(answer.status == 401, permitted.len() < tokens.len(), "{}", operation.route());
        }
        routes += 1;
    }
    assert!(routes > 20, "{routes}");
}

/// Two topics: `invoices` and `orders.eu`. Each has a webhook, a message, an attempt and a dead
/// letter. The ids of `invoices` and of all that belongs to it are 1. The other ids are 2.
async fn two_topics() -> (TestDatabase, Api) {
    let database = TestDatabase::new().await;
    let tokens = [
        "admin:all",
        "admin@orders.*:some",
        "read@orders.eu:reader",
        "read@invoices:reader",
        "publish@orders.*:publisher",
        "read:blind",
        "read-payloads:seeing",
        "operate:operator",
    ];
    let api = Api::new(database.store(), &tokens);
    for topic in ["invoices", "orders.eu"] {
        send(&api, &Method::POST, "/topics", "all", &json!({"name": topic})).await.expect(201);
        let webhook = json!({"topic": topic, "url": format!("https://example.com/{topic}")});
        send(&api, &Method::POST, "/webhooks", "all", &webhook).await.expect(201);
        let message = json!({"payload": {"of": topic}, "headers": {"x-of": topic}, "partition_key": topic});
        let path = format!("/topics/{topic}/messages");
        send(&api, &Method::POST, &path, "all", &message).await.expect(201);
    }
    let sql = "CREATE TABLE attempts_now PARTITION OF pgtopic.attempts DEFAULT;
         INSERT INTO pgtopic.dead_letters (webhook_id, topic_id, partition_key, lane, message_id, reason, attempts, last_error)
         SELECT w.id, m.topic_id, m.partition_key, m.lane, m.id, 'attempts_exhausted', 1, 'status 500'
           FROM pgtopic.messages m JOIN pgtopic.webhooks w USING (topic_id) ORDER BY m.id;
         INSERT INTO pgtopic.attempts
         SELECT w.id, m.id, 1, 'failed', 500, 'status', 'status 500', 10, 'cannot read invoices', gen_random_uuid(), '2026-01-01Z'
           FROM pgtopic.messages m JOIN pgtopic.webhooks w USING (topic_id)";
    database.client().await.batch_execute(sql).await.unwrap();
    (database, api)
}

/// A token that is limited to topics uses every route. For this token nothing of other topics
/// exists.
#[tokio::test]
async fn a_limited_token_sees_nothing_of_other_topics_and_changes_nothing_there() {
    let (_database, api) = two_topics().await;
    for operation in operations() {
        if permitted(&operation.route()).contains(&"publish") && operation.method == Method::GET {
            continue; // Everybody may use it.
        }
        // The ids of what belongs to `invoices` are 1.
        for topic in ["invoices", "1"] {
            let path = operation
                .path
                .replace("{topic}", topic)
                .replace("{id}", "1")
                .replace("{webhook}", "1")
                .replace("{message_id}", "1");
            let body = match operation.route().as_str() {
                "POST /topics" => json!({"name": "invoices.new"}),
                "POST /webhooks" => json!({"topic": topic, "url": "https://example.com/"}),
                "POST /dead-letter/replay" | "POST /dead-letter/discard" => json!({"topic": topic}),
                _ => operation.example_body.clone(),
            };
            let answer = send(&api, &operation.method, &path, "some", &body).await;
            let (route, status) = (operation.route(), answer.status.as_u16());
            match route.as_str() {
                // Whether a topic of that name exists is not told.
                "PUT /topics/{topic}" if topic == "invoices" => {
                    assert_eq!(status, 403, "{route}: {}", answer.text);
                }
                // What concerns the whole installation is nothing for it.
                "POST /topics" | "POST /purge" | "GET /stats" | "GET /workers" | "GET /metrics"
                | "GET /doctor" | "GET /sending" | "POST /sending" => {
                    assert_eq!(status, 403, "{route}: {}", answer.text);
                }
                _ if path.contains('1')
                    || path.contains("invoices")
                    || ["POST /webhooks", "POST /dead-letter/replay", "POST /dead-letter/discard"]
                        .contains(&&*route) =>
                {
                    assert_eq!(status, 404, "{route}: {}", answer.text);
                }
                _ => {
                    assert_eq!(status, 200, "{route}: {}", answer.text);
                    assert!(!answer.text.contains("invoices"), "{route}: {}", answer.text);
                }
            }
        }
    }
    // Who may use some topics must name one.
    for path in ["/dead-letter/replay", "/dead-letter/discard"] {
        send(&api, &Method::POST, path, "some", &json!({"all": true})).await.problem(403);
    }
    for query in ["topic=invoices", "topic=1", "webhook_id=1"] {
        for path in ["/dead-letter", "/dead-letter/count"] {
            send(&api, &Method::GET, &format!("{path}?{query}"), "some", &Value::Null).await.problem(404);
        }
    }
    let webhook = send(&api, &Method::GET, "/webhooks/1", "all", &Value::Null).await.expect(200);
    assert_eq!((&webhook["paused"], &webhook["max_retries"]), (&json!(false), &Value::Null));
    let topic = send(&api, &Method::GET, "/topics/invoices", "all", &Value::Null).await.expect(200);
    assert_eq!(topic["retention_seconds"], Value::Null);
    let messages =
        send(&api, &Method::GET, "/topics/invoices/messages", "all", &Value::Null).await.expect(200);
    assert_eq!(messages["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_limited_token_uses_its_own_topics() {
    let (_database, api) = two_topics().await;
    let get = async |path: &str, token: &str| send(&api, &Method::GET, path, token, &Value::Null).await;
    let names = |page: &Value, field: &str| -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items.map(|item| item[field].as_str().unwrap().to_owned()).collect()
    };
    for (path, field) in [("/topics", "name"), ("/webhooks", "topic"), ("/dead-letter", "topic")] {
        assert_eq!(names(&get(path, "some").await.expect(200), field), ["orders.eu"], "{path}");
        assert_eq!(get(path, "reader").await.expect(200)["items"].as_array().unwrap().len(), 2, "{path}");
        // The limit of a page counts only what the token may see.
        let page = get(&format!("{path}?limit=1"), "some").await.expect(200);
        assert_eq!(names(&page, field), ["orders.eu"], "{path}");
    }
    assert_eq!(get("/dead-letter/count", "some").await.expect(200)["count"], 1);
    assert_eq!(get("/dead-letter/count?webhook_id=2&topic=orders.eu", "some").await.expect(200)["count"], 1);
    for path in ["/topics/2", "/topics/orders.eu/webhooks", "/webhooks/2", "/messages/2", "/dead-letter/2"] {
        get(path, "some").await.expect(200);
    }
    let message = json!({"payload": 1});
    let path = "/topics/orders.eu/messages";
    send(&api, &Method::POST, path, "publisher", &message).await.expect(201);
    send(&api, &Method::POST, "/topics/2/messages", "publisher", &message).await.expect(201);
    send(&api, &Method::POST, "/topics/invoices/messages", "publisher", &message).await.problem(404);
    send(&api, &Method::GET, path, "publisher", &Value::Null).await.problem(403);
    send(&api, &Method::POST, path, "reader", &message).await.problem(403);
    send(&api, &Method::POST, "/topics", "some", &json!({"name": "orders.us"})).await.expect(201);
    send(&api, &Method::DELETE, "/webhooks/2", "some", &Value::Null).await.expect(200);
}

/// Lists use LIKE. In LIKE, `_` and `%` stand for other characters.
#[tokio::test]
async fn a_topic_limit_takes_underscores_and_percent_signs_literally() {
    let database = TestDatabase::new().await;
    let api = Api::new(database.store(), &["admin:all", "read@a_b*:one", "read@x_y:two", "read@*:every"]);
    for name in ["a_b", "a_b.c", "axb", "a.b", "x_y", "xzy", "x_yz", "A_B"] {
        send(&api, &Method::POST, "/topics", "all", &json!({"name": name})).await.expect(201);
    }
    for (token, expected) in [("one", &["a_b", "a_b.c"][..]), ("two", &["x_y"])] {
        let page = send(&api, &Method::GET, "/topics", token, &Value::Null).await.expect(200);
        let found: Vec<_> =
            page["items"].as_array().unwrap().iter().map(|topic| topic["name"].clone()).collect();
        assert_eq!(found, expected);
    }
    let page = send(&api, &Method::GET, "/topics", "every", &Value::Null).await.expect(200);
    assert_eq!(page["items"].as_array().unwrap().len(), 8);
}

#[tokio::test]
async fn payloads_are_shown_to_those_who_may_see_them() {
    let (_database, api) = two_topics().await;
    let get =
        async |path: &str, token: &str| send(&api, &Method::GET, path, token, &Value::Null).await.expect(200);
    let attempts = "/webhooks/1/deliveries/1/attempts";
    for path in ["/messages/1", "/dead-letter/1"] {
        for token in ["all", "seeing", "operator"] {
            let answer = get(path, token).await;
            assert_eq!(answer["payload"], json!({"of": "invoices"}), "{path} as {token}");
            assert_eq!(answer["headers"], json!({"x-of": "invoices"}));
            assert_eq!(answer["payload_hidden"], false);
        }
        let answer = get(path, "blind").await;
        assert_eq!((&answer["payload"], &answer["headers"]), (&Value::Null, &Value::Null), "{path}");
        assert_eq!(answer["payload_hidden"], true);
    }
    assert_eq!(get(attempts, "seeing").await["items"][0]["response_excerpt"], "cannot read invoices");
    let hidden = get(attempts, "blind").await;
    assert_eq!(
        (&hidden["items"][0]["response_excerpt"], &hidden["items"][0]["status_code"]),
        (&Value::Null, &json!(500))
    );
}

/// A browser on the same machine shows a page of another site. This page tries the whole API.
#[tokio::test]
async fn an_api_without_tokens_refuses_pages_of_other_sites() {
    let (_database, api) = Api::with_topic().await;
    let webhook = api.webhook(json!({})).await;
    let headers = [
        (header::HOST.as_str(), "evil.example:8000", 421),
        (header::ORIGIN.as_str(), "https://evil.example", 403),
        (header::ORIGIN.as_str(), "null", 403),
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-site", 403),
    ];
    let paths = ["/", "/docs", "/docs/", "/openapi.json", "/nowhere"];
    let others = paths.map(|path| (Method::GET, path.to_owned(), Value::Null));
    let described =
        operations().into_iter().map(|one| (one.method.clone(), one.example_path(), one.example_body));
    for (method, path, body) in described.chain(others) {
        for (name, value, status) in headers {
            let request = Request::builder().method(&method).uri(&path).header(name, value);
            let request = request.header(header::CONTENT_TYPE, "application/json");
            let answer = api.send(request.body(body.to_string().into()).unwrap()).await;
            let problem = answer.problem(status);
            let kind = if status == 421 { "/problems/host" } else { "about:blank" };
            assert_eq!(problem["type"], kind, "{method} {path}");
        }
    }
    // One of the refused requests was a pause, which needs no body. It has changed nothing.
    assert_eq!(api.get(&format!("/webhooks/{webhook}")).await.expect(200)["paused"], false);
    let own = Request::post(format!("/webhooks/{webhook}/pause"))
        .header(header::ORIGIN, "http://localhost:8000")
        .header("sec-fetch-site", "same-origin");
    assert_eq!(api.send(own.body(Body::empty()).unwrap()).await.expect(200)["paused"], true);
}
