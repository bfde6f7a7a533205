//! A receiver for tests on a loopback port. It writes its answers byte by byte, so it can also
//! answer wrongly.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{Client, PreparedTarget};
use crate::domain::{
    attempt::AttemptResult,
    breaker::BreakerPolicy,
    message::Message,
    policy::{OnExhausted, Policy},
    target::Target,
    webhook::Format,
};

pub(super) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A webhook whose timeout no test reaches, unless something is wrong.
pub(super) fn target(url: &str) -> Target {
    Target {
        name: "billing".to_owned(),
        webhook_id: 1,
        source: "pgtopic".into(),
        topic: "orders".to_owned(),
        ordered: true,
        url: url.to_owned(),
        secrets: vec![SECRET.into()],
        headers: Vec::new(),
        format: Format::Raw,
        batch_size: 1,
        policy: Policy {
            max_retries: 5,
            backoff_factor: 2.0,
            max_backoff: Duration::from_hours(1),
            retry_schedule: Vec::new(),
            permanent_statuses: Vec::new(),
            timeout: Duration::from_secs(5),
            on_exhausted: OnExhausted::DeadLetter,
            max_in_flight: None,
            max_age: None,
            latest_only: false,
        },
        rate_limit_per_second: None,
        held_for: None,
        breaker: BreakerPolicy::Auto,
        deliverable: true,
    }
}

/// Makes one request that may be started.
pub(super) async fn send(
    client: &Client,
    target: &PreparedTarget,
    messages: &[Message],
    attempt: u32,
) -> AttemptResult {
    super::send(client, target, messages, attempt, None, later).await.expect("it may be started")
}

/// A request may start until then.
#[expect(clippy::unnecessary_wraps, reason = "as the worker says it")]
pub(super) fn later() -> Option<Instant> {
    Some(Instant::now() + Duration::from_hours(1))
}

pub(super) fn message(id: i64, payload: &str) -> Message {
    Message {
        r#type: None,
        replay: false,
        born: std::time::Instant::now(),
        id,
        partition_key: "user 42".into(),
        payload: payload.to_owned().into(),
        headers: None,
        created_at: Timestamp::UNIX_EPOCH,
    }
}

/// What the server does once it has written its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Waits for the next request.
    KeepAlive,
    /// Sends nothing more, and keeps the connection open until the client closes it.
    Hang,
    /// Closes the connection.
    Close,
    /// Waits for the next request on the connection, then closes it without an answer.
    CloseAtNext,
    /// The same, with a part of an answer.
    HalfAtNext,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub(super) struct Received {
    /// The number of the connection, from 0.
    pub(super) connection: usize,
    pub(super) request_line: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Received {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Default)]
struct Log {
    requests: Vec<Received>,
    closed_by_client: usize,
    /// How many bytes of requests came that were not whole.
    unfinished_bytes: usize,
}

/// Waits until a condition is met that nothing signals.
pub(super) async fn until(what: &str, met: impl Fn() -> bool) {
    let waiting = async {
        while !met() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

pub(super) struct TestServer {
    pub(super) address: SocketAddr,
    log: Arc<Mutex<Log>>,
    task: tokio::task::JoinHandle<()>,
}

impl TestServer {
    /// Answers every request with these bytes.
    pub(super) async fn start(answer: impl Into<Vec<u8>>, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let log = Arc::new(Mutex::new(Log::default()));
        let (answer, shared) = (answer.into(), Arc::clone(&log));
        let task = tokio::spawn(async move {
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (answer, log) = (answer.clone(), Arc::clone(&shared));
                tokio::spawn(async move { serve(stream, connection, &answer, then, &log).await });
            }
        });
        Self { address, log, task }
    }

    /// Answers every request with a status and a body of known length.
    pub(super) async fn with_status(status: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}");
        Self::start(answer, Then::KeepAlive).await
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/hook?a=b", self.address)
    }

    pub(super) fn requests(&self) -> Vec<Received> {
        self.log.lock().expect("no panic").requests.clone()
    }

    pub(super) fn closed_by_client(&self) -> usize {
        self.log.lock().expect("no panic").closed_by_client
    }

    pub(super) fn unfinished_bytes(&self) -> usize {
        self.log.lock().expect("no panic").unfinished_bytes
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, connection: usize, answer: &[u8], then: Then, log: &Mutex<Log>) {
    let mut buffer = Vec::new();
    loop {
        let Some(request) = read_request(&mut stream, &mut buffer, connection).await else {
            let mut log = log.lock().expect("no panic");
            log.closed_by_client += 1;
            log.unfinished_bytes += buffer.len();
            return;
        };
        log.lock().expect("no panic").requests.push(request);
        if stream.write_all(answer).await.is_err() || then == Then::Close {
            return;
        }
        if matches!(then, Then::CloseAtNext | Then::HalfAtNext) {
            let Some(request) = read_request(&mut stream, &mut buffer, connection).await else { return };
            log.lock().expect("no panic").requests.push(request);
            if then == Then::HalfAtNext {
                // Fails only if the client is gone.
                let _ = stream.write_all(b"HTTP/1.1 200").await;
            }
            return;
        }
        if then == Then::Hang {
            while stream.read_buf(&mut buffer).await.is_ok_and(|read| read > 0) {}
            log.lock().expect("no panic").closed_by_client += 1;
            return;
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>, connection: usize) -> Option<Received> {
    let head_end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..head_end].to_vec()).expect("an ASCII head");
    buffer.drain(..head_end + 4);
    let mut lines = head.split("\r\n");
    let request_line = lines.next().expect("a request line").to_owned();
    let headers: Vec<_> = lines
        .map(|line| line.split_once(": ").expect("a header line"))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").expect("always sent");
    let length: usize = length.1.parse().expect("a number");
    while buffer.len() < length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = buffer.drain(..length).collect();
    Some(Received { connection, request_line, headers, body })
}
