//! A webhook receiver that the test controls.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Request, Response,
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use super::{Gate, LIMIT};

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its place among all requests of this receiver, from 0, by arrival.
    pub number: usize,
    /// When its head had arrived.
    pub arrived: Instant,
    /// When it was answered, or when the client went away. `None` while it is in flight.
    pub ended: Option<Instant>,
    /// The status of the answer. `None` while it is in flight, and if there was no complete answer.
    pub status: Option<u16>,
    /// Whether the script broke it off: there was no answer, or only a part.
    pub broken: bool,
    /// Path and query.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Received {
    /// A header as text; empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// `webhook-position`, or the id in `webhook-id` if the topic is unordered.
    pub fn position(&self) -> i64 {
        match self.header("webhook-position") {
            "" => self.header("webhook-id").trim_start_matches("msg_").parse().unwrap(),
            position => position.parse().unwrap(),
        }
    }

    /// `webhook-partition`.
    pub fn partition(&self) -> &str {
        self.header("webhook-partition")
    }

    /// Whether it was answered with 2xx.
    pub fn accepted(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }

    /// Whether the two were in flight at the same time.
    pub fn overlaps(&self, other: &Self) -> bool {
        let before = |one: &Self, other: &Self| one.ended.is_some_and(|ended| ended <= other.arrived);
        !before(self, other) && !before(other, self)
    }
}

/// The most of these requests that were in flight at one time.
pub fn most_at_once(received: &[Received]) -> usize {
    let at_once = |one: &Received| {
        received.iter().filter(|other| other.arrived <= one.arrived && other.overlaps(one)).count()
    };
    received.iter().map(at_once).max().unwrap_or_default()
}

/// What the receiver does with a request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Answers this status at once.
    Status(u16),
    /// Answers this status, headers and body.
    Full(u16, Vec<(&'static str, String)>, Bytes),
    /// Waits, then answers.
    After(Duration, Box<Answer>),
    /// Waits until the gate is open, then answers.
    Held(Gate, Box<Answer>),
    /// Never answers.
    Hang,
    /// Closes the connection without an answer.
    Close,
    /// Answers 200 and half of the body that it announces. Then closes the connection.
    Half,
}

/// Decides about each request.
type Script = Arc<dyn Fn(&Received) -> Answer + Send + Sync>;

struct Shared {
    requests: Mutex<Vec<Received>>,
    script: Mutex<Script>,
    /// How many requests have arrived, and how many have ended.
    counts: watch::Sender<(usize, usize)>,
    /// How many connections are open.
    connections: watch::Sender<usize>,
}

/// Listens on a port of 127.0.0.1 until it is dropped.
pub struct TestReceiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl TestReceiver {
    /// Accepts everything.
    pub async fn accepting() -> Self {
        Self::start(|_| Answer::Status(204)).await
    }

    /// Answers each request as the script says.
    pub async fn start(script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            requests: Mutex::default(),
            script: Mutex::new(Arc::new(script)),
            counts: watch::Sender::new((0, 0)),
            connections: watch::Sender::new(0),
        });
        let serving = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self { address, shared, serving }
    }

    /// The URL of a path on this receiver. The path begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers as this script says from now on.
    pub fn set_script(&self, script: impl Fn(&Received) -> Answer + Send + Sync + 'static) {
        *self.shared.script.lock().unwrap() = Arc::new(script);
    }

    /// Everything that has arrived so far.
    pub fn received(&self) -> Vec<Received> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How many requests have arrived so far.
    pub fn count(&self) -> usize {
        self.shared.requests.lock().unwrap().len()
    }

    /// What has arrived beyond the first `count` requests.
    pub fn received_after(&self, count: usize) -> Vec<Received> {
        self.shared.requests.lock().unwrap()[count..].to_vec()
    }

    /// Waits until at least `count` requests have arrived, and returns all.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        self.wait(&format!("{count} requests"), |(arrived, _)| arrived >= count).await
    }

    /// Waits until at least `count` requests have ended, and returns all.
    pub async fn wait_for_ended(&self, count: usize) -> Vec<Received> {
        self.wait(&format!("{count} answered requests"), |(_, ended)| ended >= count).await
    }

    /// Waits until the received requests fulfil a condition. It is checked after every arrival and
    /// every end.
    pub async fn wait_until(&self, what: &str, met: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        self.wait(what, |_| met(&self.shared.requests.lock().unwrap())).await
    }

    /// Waits until no connection to it is open.
    pub async fn wait_for_no_connection(&self) {
        let mut open = self.shared.connections.subscribe();
        let none = tokio::time::timeout(LIMIT, open.wait_for(|open| *open == 0)).await.is_ok();
        assert!(none, "{} connections are still open after {LIMIT:?}", *self.shared.connections.borrow());
    }

    async fn wait(&self, what: &str, met: impl Fn((usize, usize)) -> bool) -> Vec<Received> {
        let mut counts = self.shared.counts.subscribe();
        if tokio::time::timeout(LIMIT, counts.wait_for(|counts| met(*counts))).await.is_err() {
            let (arrived, ended) = *self.shared.counts.borrow();
            panic!("waited {LIMIT:?} for {what}; {arrived} requests arrived, {ended} ended");
        }
        self.received()
    }
}

impl Drop for TestReceiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // Connections end with the receiver.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        shared.connections.send_modify(|open| *open += 1);
        connections.spawn(async move {
            let open = shared.connections.clone();
            let service = service_fn(move |request| receive(Arc::clone(&shared), request));
            // If the client goes away, or the answer closes it, it ends with an error.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            open.send_modify(|open| *open -= 1);
        });
    }
}

async fn receive(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<UnsyncBoxBody<Bytes, Abort>>, Abort> {
    let arrived = Instant::now();
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Abort)?.to_bytes();
    let received = {
        let mut requests = shared.requests.lock().unwrap();
        let path = head.uri.path_and_query().map_or_else(String::new, ToString::to_string);
        let number = requests.len();
        let headers = head.headers;
        requests.push(Received {
            number,
            arrived,
            ended: None,
            status: None,
            broken: false,
            path,
            headers,
            body,
        });
        requests[number].clone()
    };
    shared.counts.send_modify(|(arrived, _)| *arrived += 1);
    // It is dropped with the request, also when the client goes away.
    let _ended = Ended { shared: Arc::clone(&shared), number: received.number };
    let script = Arc::clone(&shared.script.lock().unwrap());
    let mut answer = script(&received);
    loop {
        answer = match answer {
            Answer::Status(status) => Answer::Full(status, Vec::new(), Bytes::new()),
            Answer::After(delay, then) => {
                tokio::time::sleep(delay).await;
                *then
            }
            Answer::Held(gate, then) => {
                gate.passed().await;
                *then
            }
            Answer::Full(status, headers, body) => {
                shared.requests.lock().unwrap()[received.number].status = Some(status);
                let mut response = Response::builder().status(status);
                for (name, value) in headers {
                    response = response.header(name, value);
                }
                return Ok(response.body(Full::new(body).map_err(Abort::from).boxed_unsync()).unwrap());
            }
            Answer::Hang => std::future::pending().await,
            Answer::Close => {
                shared.requests.lock().unwrap()[received.number].broken = true;
                return Err(Abort);
            }
            Answer::Half => {
                shared.requests.lock().unwrap()[received.number].broken = true;
                let half = stream::once(async { Ok(Frame::data(Bytes::from_static(b"half"))) });
                // If it were broken off at once, not even the head would be sent.
                let end = stream::once(async {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Err(Abort)
                });
                let body = StreamBody::new(half.chain(end)).boxed_unsync();
                return Ok(Response::builder().header("content-length", "8").body(body).unwrap());
            }
        }
    }
}

struct Ended {
    shared: Arc<Shared>,
    number: usize,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.shared.requests.lock().unwrap()[self.number].ended = Some(Instant::now());
        self.shared.counts.send_modify(|(_, ended)| *ended += 1);
    }
}

/// Ends the connection without an answer.
#[derive(Debug)]
struct Abort;

impl std::fmt::Display for Abort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("closed on purpose")
    }
}

impl std::error::Error for Abort {}

impl From<Infallible> for Abort {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
