//! Tails: server-sent events over real connections, and the command.

use std::net::SocketAddr;

use pgtopic::{
    api::{self, ApiState},
    broker,
    config::Config,
};
use pgtopic_testkit::{Answer, Broker, LIMIT, Process, Scene};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::Api;

/// The API on a port, until it is told to stop.
struct Server {
    address: SocketAddr,
    shutdown: CancellationToken,
    running: JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn start(scene: &Scene) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state =
            ApiState::new(broker::Broker::new(scene.store(), Vec::new()), &Config::default().api).unwrap();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(api::run(listener, state, shutdown.clone()));
        Self { address, shutdown, running }
    }

    /// Opens a stream, and waits until it is connected.
    async fn tail(&self, path: &str) -> Stream {
        let mut stream = self.request(path).await;
        assert_eq!(stream.line().await, "HTTP/1.1 200 OK");
        while stream.line().await != ": connected" {}
        stream
    }

    async fn request(&self, path: &str) -> Stream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        Stream(BufReader::new(stream))
    }
}

/// What comes over a connection.
struct Stream(BufReader<TcpStream>);

impl Stream {
    async fn line(&mut self) -> String {
        let mut line = String::new();
        tokio::time::timeout(LIMIT, self.0.read_line(&mut line)).await.expect("a line").unwrap();
        line.trim_end().to_owned()
    }

    /// The next event: its name and its data.
    async fn event(&mut self) -> (String, Value) {
        let mut name = String::new();
        loop {
            let line = self.line().await;
            if let Some(event) = line.strip_prefix("event: ") {
                event.clone_into(&mut name);
            } else if let Some(data) = line.strip_prefix("data: ") {
                return (name, serde_json::from_str(data).unwrap());
            }
        }
    }
}

#[tokio::test]
async fn what_is_published_to_a_topic_is_shown_once() {
    let scene = Scene::with_webhook(&[]).await;
    scene.sql("INSERT INTO topics (name) VALUES ('invoices')").await;
    scene.publish(&["before"]).await;
    let server = Server::start(&scene).await;
    let (mut one, mut other) =
        (server.tail("/topics/orders/tail").await, server.tail("/topics/1/tail").await);
    scene.sql("INSERT INTO messages (topic_id, payload) VALUES (2, '{}')").await;
    let id = scene
        .number("INSERT INTO messages (topic_id, partition_key, type, payload) VALUES (1, 'a', 'order.paid', '{\"secret\": 1}') RETURNING id")
        .await;
    for stream in [&mut one, &mut other] {
        let (name, data) = stream.event().await;
        assert_eq!((&*name, &data["id"]), ("message", &json!(id)));
        let fields: Vec<&String> = data.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["created_at", "id", "partition_key", "size_bytes", "type"]);
        assert_eq!(
            (&data["partition_key"], &data["type"], &data["size_bytes"]),
            (&json!("a"), &json!("order.paid"), &json!(13))
        );
    }
    // A transaction that commits late has the lower id.
    let late = scene.another_client().await;
    late.batch_execute("BEGIN").await.unwrap();
    let lower = pgtopic_testkit::publish(&late, "late").await.unwrap();
    let higher = scene.publish(&["b"]).await[0];
    assert_eq!(one.event().await.1["id"], higher);
    late.batch_execute("COMMIT").await.unwrap();
    assert_eq!(one.event().await.1["id"], lower);
}

#[tokio::test]
async fn above_a_hundred_a_second_a_sample_is_shown_and_the_rest_is_told() {
    let scene = Scene::new().await;
    let server = Server::start(&scene).await;
    let mut stream = server.tail("/topics/orders/tail").await;
    scene.sql("INSERT INTO messages (topic_id, payload) SELECT 1, '{}' FROM generate_series(1, 600)").await;
    let (name, data) = stream.event().await;
    assert_eq!((&*name, data), ("left_out", json!({"shown": 100, "of": 600, "at_least": false})));
    let mut ids = Vec::new();
    for _ in 0..100 {
        let (name, data) = stream.event().await;
        assert_eq!(name, "message");
        ids.push(data["id"].as_i64().unwrap());
    }
    assert!(ids.is_sorted() && ids[99] - ids[0] > 500, "{ids:?}");
    // More than one look sees.
    scene.sql("INSERT INTO messages (topic_id, payload) SELECT 1, '{}' FROM generate_series(1, 3000)").await;
    loop {
        let (name, data) = stream.event().await;
        if name == "left_out" {
            assert_eq!((&data["of"], &data["at_least"]), (&json!(1000), &json!(true)));
            break;
        }
    }
}

#[tokio::test]
async fn what_is_sent_to_a_webhook_is_shown() {
    let scene = Scene::with_webhook(&[("max_retries", "1"), ("name", "'billing'")]).await;
    scene.webhook("/other", &[]).await;
    let _broker = Broker::start(scene.store());
    scene
        .until("to_regclass('attempts_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')) IS NOT NULL")
        .await;
    let before = scene.publish(&["a"]).await[0];
    scene
        .until(&format!("EXISTS (SELECT FROM attempts WHERE webhook_id = 1 AND message_id = {before})"))
        .await;
    let server = Server::start(&scene).await;
    let mut stream = server.tail("/webhooks/orders:billing/tail").await;
    let accepted = scene.publish(&["a"]).await[0];
    let (name, data) = stream.event().await;
    assert_eq!(name, "attempt");
    let fields: Vec<&String> = data.as_object().unwrap().keys().collect();
    let expected = [
        "attempt",
        "attempted_at",
        "duration_ms",
        "error",
        "error_class",
        "message_id",
        "outcome",
        "status_code",
        "worker",
    ];
    assert_eq!(fields, expected);
    assert_eq!(
        (&data["message_id"], &data["outcome"], &data["status_code"]),
        (&json!(accepted), &json!("accepted"), &json!(204))
    );
    scene.receiver.set_script(|_| Answer::Status(500));
    let failed = scene.publish(&["a"]).await[0];
    let (_, data) = stream.event().await;
    assert_eq!(
        (&data["message_id"], &data["outcome"], &data["error_class"]),
        (&json!(failed), &json!("failed"), &json!("status"))
    );
}

#[tokio::test]
async fn a_hundred_tails_may_be_open_and_all_end_when_the_process_does() {
    let scene = Scene::new().await;
    let server = Server::start(&scene).await;
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(server.tail("/topics/orders/tail").await);
    }
    let mut refused = server.request("/topics/orders/tail").await;
    assert_eq!(refused.line().await, "HTTP/1.1 503 Service Unavailable");
    let mut head = Vec::new();
    while head.last().is_none_or(|line: &String| !line.is_empty()) {
        head.push(refused.line().await);
    }
    assert!(head.contains(&"content-type: application/problem+json".to_owned()), "{head:?}");
    assert!(head.contains(&"retry-after: 1".to_owned()), "{head:?}");
    // Who leaves makes room. The server notices it when it writes.
    streams.truncate(99);
    scene.publish(&["a"]).await;
    pgtopic_testkit::eventually("there is room", async || {
        let mut stream = server.request("/topics/orders/tail").await;
        (stream.line().await == "HTTP/1.1 200 OK").then_some(())
    })
    .await;

    server.shutdown.cancel();
    let begun = std::time::Instant::now();
    for stream in &mut streams {
        while stream.event().await.0 != "end" {}
    }
    tokio::time::timeout(LIMIT, server.running).await.unwrap().unwrap().unwrap();
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn what_cannot_be_watched_is_a_problem() {
    let (_database, api) = Api::with_topic().await;
    api.get("/topics/nothing/tail").await.problem(404);
    api.get("/webhooks/7/tail").await.problem(404);
    assert_eq!(api.get("/topics/orders/tail?limit=5").await.problem(422)["field"], "limit");
    let answer = api.get("/topics/orders/tail").await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["content-type"]),
        (200, &"text/event-stream".parse().unwrap())
    );
    assert_eq!(answer.headers["cache-control"], "no-cache");
}

#[tokio::test]
async fn the_command_shows_a_line_for_each() {
    let scene = Scene::with_webhook(&[]).await;
    let environment = scene.database.environment();
    let mut people = Process::start(&["tail", "orders"], &environment);
    let mut programs = Process::start(&["tail", "--json", "1"], &environment);
    // Nothing tells from outside that it watches, so it gets messages until it has shown one.
    let shown = async |process: &mut Process, needle: &str| {
        pgtopic_testkit::eventually(needle, async || {
            scene.publish(&["a\u{1b}"]).await;
            process.output().contains(needle).then_some(())
        })
        .await;
    };
    shown(&mut people, "  a\\u{1b}  2 bytes").await;
    shown(&mut programs, "\"partition_key\":\"a\\u001b\"").await;
    assert_eq!(people.stop().await.code(), 0);
    let ended = programs.stop().await;
    assert_eq!(ended.code(), 0);
    let line: Value = serde_json::from_str(ended.output.lines().next().unwrap()).unwrap();
    assert!(line["id"].is_i64(), "{line}");

    for (arguments, code, needle) in [
        (&["tail"][..], 2, "required"),
        (&["tail", "orders", "--webhook", "1"], 2, "cannot be used with"),
        (&["tail", "--webhook", "orders"], 2, "topic:name"),
        (&["tail", "nothing"], 1, "there is no topic"),
        (&["tail", "--webhook", "orders:nothing"], 1, "there is no webhook"),
    ] {
        let ended = Process::run(arguments, &environment).await;
        assert_eq!(ended.code(), code, "{arguments:?}: {}", ended.output);
        assert!(ended.output.contains(needle), "{}", ended.output);
    }
}
