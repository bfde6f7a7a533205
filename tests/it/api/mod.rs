//! The HTTP API as its clients see it. This file tests what is true for any request. The other
//! files test one subject each.
//!
//! | file | what it tests |
//! |---|---|
//! | `access` | which role may use which route |
//! | `canceled_requests` | requests whose client goes away |
//! | `connections` | many clients and few descriptors |
//! | `deliveries` | deliveries and dead letters are read and listed |
//! | `description` | the OpenAPI document |
//! | `health` | the health of webhooks, figures, workers, sending |
//! | `http` | hosts, bodies, paths, methods and parameters of requests |
//! | `messages` | messages are published, read and listed |
//! | `metrics` | what Prometheus reads |
//! | `operating` | dead letters, lanes, single deliveries |
//! | `tail` | what is published and sent is watched |
//! | `topics` | topics are made, changed and deleted |
//! | `webhooks` | webhooks are made, changed and deleted |
//! | `why` | where a message or a partition stands, and what helps |

mod access;
mod canceled_requests;
mod connections;
mod deliveries;
mod description;
mod health;
mod http;
mod messages;
mod metrics;
mod operating;
mod tail;
mod topics;
mod webhooks;
mod why;

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use http_body_util::BodyExt;
use pgtopic::{
    api::{ApiState, router},
    broker::Broker,
    config::{ApiConfig, Config, DatabaseConfig},
    store::Store,
};
use pgtopic_testkit::TestDatabase;
use serde_json::{Value, json};
use tower::ServiceExt;

/// The API over a store. Requests go to it without a network.
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

    /// Checks that the answer is a problem with this status. Returns the problem.
    #[track_caller]
    fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        problem
    }

    /// Checks that the answer has this status. Returns the answer.
    #[track_caller]
    fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()
    }
}

impl Api {
    fn new(store: Store, tokens: &[&str]) -> Self {
        let config = ApiConfig {
            tokens: tokens.iter().map(|token| (*token).into()).collect(),
            ..Config::default().api
        };
        Self(router(ApiState::new(Broker::new(store, Vec::new()), &config).unwrap()))
    }

    /// The API over a database with one topic, `orders`.
    async fn with_topic() -> (TestDatabase, Self) {
        let database = TestDatabase::new().await;
        let api = Self::new(database.store(), &[]);
        api.post("/topics", &json!({"name": "orders"})).await.expect(201);
        (database, api)
    }

    async fn send(&self, mut request: Request<Body>) -> Answer {
        // A real client names the host that it connects to.
        request.headers_mut().entry(header::HOST).or_insert("localhost:8000".parse().unwrap());
        let (parts, body) = self.0.clone().oneshot(request).await.unwrap().into_parts();
        if parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream") {
            // It lasts for minutes.
            return Answer { status: parts.status, headers: parts.headers, text: "{}".to_owned() };
        }
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

    async fn delete(&self, path: &str) -> Answer {
        self.send(Request::delete(path).body(Body::empty()).unwrap()).await
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

/// The settings of a database that does not exist.
fn nowhere() -> DatabaseConfig {
    DatabaseConfig {
        url: Some("postgres://nobody@127.0.0.1:1/nothing".to_owned().into()),
        pool_size: 1,
        ..Config::default().database
    }
}

/// An operation of the OpenAPI document, with its examples.
struct Operation {
    method: Method,
    path: String,
    /// The example of its JSON body. Null if it has no JSON body.
    example_body: Value,
    document: Value,
}

impl Operation {
    fn route(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The path with the examples of its parameters.
    fn example_path(&self) -> String {
        let parameters = self.document["parameters"].as_array().into_iter().flatten();
        parameters.filter(|parameter| parameter["in"] == "path").fold(self.path.clone(), |path, parameter| {
            let example =
                parameter["example"].as_str().map_or(parameter["example"].to_string(), str::to_owned);
            path.replace(&format!("{{{}}}", parameter["name"].as_str().unwrap()), &example)
        })
    }

    /// The media types of its body, each with its example.
    fn example_bodies(&self) -> Vec<(String, String)> {
        let contents = self.document["requestBody"]["content"].as_object().into_iter().flatten();
        let text = |example: &Value| example.as_str().map_or(example.to_string(), str::to_owned);
        contents.map(|(kind, content)| (kind.clone(), text(&content["example"]))).collect()
    }
}

/// All operations of the OpenAPI document.
fn operations() -> Vec<Operation> {
    let document = pgtopic::api::openapi();
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, operations): (&String, &Value)| {
        let operations = operations.as_object().unwrap().iter();
        let operation = |(method, document): (&String, &Value)| Operation {
            method: method.to_uppercase().parse().unwrap(),
            path: path.clone(),
            example_body: document["requestBody"]["content"]["application/json"]["example"].clone(),
            document: document.clone(),
        };
        operations.map(operation).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
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
async fn without_its_database_the_api_answers_503() {
    let api = Api::new(Store::new(&nowhere()).unwrap(), &[]);
    api.get("/healthz").await.expect(200);
    api.get("/readyz").await.problem(503);
    let away = api.get("/topics").await;
    away.problem(503);
    assert_eq!(away.headers[header::RETRY_AFTER], "1");
}

#[test]
fn every_route_of_the_description_has_a_summary() {
    let document = pgtopic::api::openapi();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.contains_key("/webhooks/{webhook}/deliveries/{message_id}/attempts"));
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().unwrap() {
            let summary = operation["summary"].as_str().unwrap_or_default();
            assert!(!summary.is_empty(), "{method} {path} has no summary");
            assert!(!summary.contains('`'), "{method} {path}: /docs shows a summary as it stands");
        }
    }
}
