//! Requests as HTTP allows them: hosts, bodies, paths, methods and parameters.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Method, Request, header},
};
use pgtopic::{
    api::{self, ApiState, router},
    broker::Broker,
    config::{ApiConfig, Config},
    store::Store,
};
use pgtopic_testkit::TestDatabase;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

use super::{Api, nowhere, operations};

/// Sends these bytes to an API that has no database. Reads until the API closes the connection.
async fn exchange(request: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let broker = Broker::new(Store::new(&nowhere()).unwrap(), Vec::new());
    let state = ApiState::new(broker, &Config::default().api).unwrap();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(api::run(listener, state, shutdown.clone()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut answer)).await;
    read.expect("the API closes the connection").unwrap();
    shutdown.cancel();
    serving.await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn a_request_names_one_host() {
    let close = "connection: close\r\n\r\n";
    for (head, status) in [
        ("GET /healthz HTTP/1.1\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nhost: localhost\r\nHost: evil.example\r\n", 400),
        ("GET http://evil.example/healthz HTTP/1.1\r\nhost: localhost\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nhost: evil.example\r\n", 421),
        ("GET /healthz HTTP/1.1\r\nhost: localhost:1\r\n", 200),
        ("GET http://localhost/healthz HTTP/1.1\r\nhost: localhost\r\n", 200),
        ("GET /healthz HTTP/1.0\r\n", 200),
    ] {
        let answer = exchange(&format!("{head}{close}")).await;
        assert!(answer.split(' ').nth(1) == Some(&status.to_string()), "{head}: {answer}");
    }
}

#[tokio::test]
async fn a_body_whose_content_length_is_too_large_is_refused_at_once() {
    let head = "POST /topics HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    // No body follows.
    let answer = exchange(&format!("{head}content-length: 3000000\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("the body is larger than 2097152 bytes (api.max_body_bytes)"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    let chunk = format!("{:x}\r\n{}\r\n", 3_000_000, " ".repeat(3_000_000));
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}0\r\n\r\n");
    assert!(exchange(&chunked).await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn bodies_beyond_the_limit_of_all_are_refused() {
    let config = ApiConfig { max_body_bytes: 2048, max_bodies_bytes: 1024, ..Config::default().api };
    let broker = Broker::new(Store::new(&nowhere()).unwrap(), Vec::new());
    let api = Api(router(ApiState::new(broker, &config).unwrap()));
    let endless = Body::from_stream(futures_util::stream::pending::<std::io::Result<Vec<u8>>>());
    let first = api.text(Method::POST, "/topics", "application/json", endless);
    let others = async {
        api.get("/healthz").await.expect(200);
        api.post("/topics", &json!({"name": "orders"})).await
    };
    let refused = tokio::select! {
        biased;
        _ = first => panic!("its body never ends"),
        refused = others => refused,
    };
    assert_eq!(refused.headers[header::RETRY_AFTER], "1");
    let detail = refused.problem(503)["detail"].clone();
    assert!(detail.as_str().unwrap().contains("api.max_bodies_bytes"), "{detail}");
}

#[tokio::test]
async fn the_length_of_a_request_id_is_limited() {
    let api = Api::new(Store::new(&nowhere()).unwrap(), &[]);
    let id = async |given: &str| {
        let request = Request::get("/healthz").header("x-request-id", given).body(Body::empty()).unwrap();
        api.send(request).await.headers["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(id("abc").await, "abc");
    assert_eq!(id(&"a".repeat(4000)).await, "a".repeat(128));
    assert_eq!(id("a b").await.len(), 36, "the API makes a new id");
}

#[tokio::test]
async fn the_answer_to_a_mistyped_path_names_the_right_path() {
    let api = Api::new(Store::new(&nowhere()).unwrap(), &[]);
    for (path, words) in [
        ("/health", "there is nothing at /health; did you mean /healthz?"),
        ("/topics/", "there is nothing at /topics/; did you mean /topics?"),
        ("/webhooks/7/", "did you mean /webhooks/7?"),
        ("/api/v1/topics", "did you mean /topics?"),
        ("/favicon.ico", "there is nothing at /favicon.ico; /docs lists all paths"),
    ] {
        let detail = api.get(path).await.problem(404)["detail"].clone();
        assert!(detail.as_str().unwrap().contains(words), "{detail}");
    }
    let wrong = api.text(Method::POST, "/topics/orders", "application/json", "{}").await;
    let allowed = wrong.headers[header::ALLOW].to_str().unwrap();
    let mut methods: Vec<&str> = allowed.split(',').collect();
    methods.sort_unstable();
    assert_eq!(methods, ["DELETE", "GET", "HEAD", "PATCH", "PUT"]);
    assert_eq!(
        wrong.problem(405)["detail"],
        "/topics/orders does not take POST; it takes DELETE, GET, PATCH, PUT, HEAD"
    );
    let docs = api.text(Method::POST, "/docs", "application/json", "{}").await.problem(405);
    assert_eq!(docs["detail"], "/docs does not take POST; it takes GET, HEAD");
    let root = api.get("/").await;
    assert!(root.status.is_redirection() && root.headers[header::LOCATION] == "docs/", "{}", root.status);
    let docs = api.get("/docs/").await;
    assert!(docs.status.is_success() && docs.text.contains("swagger-ui"), "{}", docs.text);
}

#[tokio::test]
async fn every_route_refuses_parameters_that_it_does_not_take() {
    let (_database, api) = Api::with_topic().await;
    for operation in operations() {
        let path = format!("{}?colour=red", operation.example_path());
        let body = operation.example_body.to_string();
        let problem = api.text(operation.method.clone(), &path, "application/json", body).await.problem(422);
        assert_eq!(problem["field"], "colour", "{}", operation.route());
    }
}

#[tokio::test]
async fn parameters_out_of_their_bounds_are_named() {
    let (_database, api) = Api::with_topic().await;
    let webhook = api.webhook(json!({})).await;
    api.publish("a").await;
    let deliveries = format!("/webhooks/{webhook}/deliveries");
    let long = "a".repeat(1025);
    for (path, field, rule) in [
        (format!("{deliveries}?partition_key=%00"), "partition_key", "must not hold the character U+0000"),
        (format!("{deliveries}?partition_key={long}"), "partition_key", "must be 1 to 1024 bytes long"),
        (format!("{deliveries}?partition_key="), "partition_key", "must be 1 to 1024 bytes long"),
        (
            format!("{deliveries}?status=open"),
            "status",
            "must be one of pending, in_flight, retrying, halted, delivered, dead, canceled, superseded",
        ),
        (format!("{deliveries}/1/attempts?after=1"), "after", "must be `next` of a page of this list"),
        ("/topics?limit=0".to_owned(), "limit", "must be between 1 and 1000"),
        ("/topics?limit=99999999999999999999".to_owned(), "limit", "must be between 1 and 1000"),
        ("/topics?limit=ten".to_owned(), "limit", "must be an integer"),
        ("/topics?limit=1&limit=2".to_owned(), "limit", "is given more than once"),
        ("/dead-letter?webhook_id=".to_owned(), "webhook_id", "must be an integer"),
    ] {
        let problem = api.get(&path).await.problem(422);
        assert_eq!((&problem["field"], &problem["rule"]), (&json!(field), &json!(rule)), "{path}");
    }
    for path in [
        "/dead-letter?topic=typo",
        "/dead-letter/count?topic=typo",
        "/dead-letter?webhook_id=99",
        "/topics/%00",
    ] {
        api.get(path).await.problem(404);
    }
    let force =
        api.text(Method::DELETE, "/topics/orders?force=yes", "application/json", "").await.problem(422);
    assert_eq!(force["rule"], "must be true or false");
}

/// The text with each character escaped. A client may send JSON like this.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |escaped, byte| escaped + &format!("\\u{byte:04x}"))
}

#[tokio::test]
async fn a_payload_at_the_limit_of_its_topic_fits_into_a_body() {
    let (_database, api) = Api::with_topic().await;
    let payload = format!("\"{}\"", "x".repeat((1 << 20) - 2 - 8192));
    let headers: Vec<String> = [4000, 4000]
        .iter()
        .enumerate()
        .map(|(n, length)| format!("\"{}{n}\": \"{}\"", escaped("x-"), escaped(&"v".repeat(*length))))
        .collect();
    let body = |payload: &str| {
        format!(
            r#"{{ "payload": {payload}, "partition_key": "{}", "idempotency_key": "{}", "headers": {{ {} }} }}"#,
            escaped(&"k".repeat(1024)),
            escaped(&"i".repeat(255)),
            headers.join(", ")
        )
    };
    let publish = async |body: String| {
        api.text(Method::POST, "/topics/orders/messages", "application/json", body).await
    };
    publish(body(&payload)).await.expect(201);
    let whole = format!("{{\"payload\": \"{}\"}}", "x".repeat((1 << 20) - 2));
    publish(whole).await.expect(201);
    let over = format!("{{\"payload\": \"{}\"}}", "x".repeat((1 << 20) - 1));
    let refused = publish(over).await.problem(413);
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("1048577 bytes") && detail.contains("1048576 bytes"), "{detail}");
}

#[tokio::test]
async fn dots_are_no_topic_names() {
    let database = TestDatabase::new().await;
    let api = Api::new(database.store(), &[]);
    for name in [".", ".."] {
        let problem = api.post("/topics", &json!({"name": name})).await.problem(422);
        assert_eq!(problem["field"], "name");
        let sql = format!("INSERT INTO pgtopic.topics (name) VALUES ('{name}')");
        let error = database.client().await.batch_execute(&sql).await.unwrap_err();
        assert_eq!(error.as_db_error().unwrap().constraint(), Some("topics_name_check"));
    }
    for name in ["...", ".a", "1.2"] {
        api.post("/topics", &json!({"name": name})).await.expect(201);
        assert_eq!(api.get(&format!("/topics/{name}")).await.expect(200)["name"], name);
    }
    let array = api.text(Method::POST, "/topics", "application/json", r#"["orders"]"#).await.problem(400);
    assert_eq!(array["detail"], "the body must be an object, not an array");
    assert_eq!(api.get("/topics").await.expect(200)["items"].as_array().map(Vec::len), Some(3));
    let nothing: Value = api.post("/topics", &json!({})).await.problem(422);
    assert_eq!(nothing["detail"], "name is required");
}
