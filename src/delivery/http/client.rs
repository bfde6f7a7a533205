//! One request and its answer, on a kept connection or a new one.
//!
//! The client follows no redirect and uses no proxy. It has no time limit except for connecting:
//! [`send`](crate::delivery::send) sets one for the whole exchange. When the future of an exchange
//! is dropped, its connection is closed.
//!
//! A receiver may close a kept connection at any time, also while a request is on its way. So a
//! request on a kept connection that ends without a byte of an answer is repeated once, on a new
//! connection. A request on a new connection is never repeated here.

use std::{
    error::Error,
    fmt, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use http_body_util::BodyExt as _;
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::{Body as _, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;

use super::{
    super::{
        guard::{AddressGuard, is_https},
        request::Identity,
    },
    connect::{ConnectError, Connector},
    drivers::Drivers,
    keep_alive::idle_timeout,
    pool::{Broken, Connection, Pool},
    timely::Timely,
    tls::{TlsError, TlsSettingsError, tls_config},
};
use crate::domain::{attempt::ErrorClass, metrics::ConnectionUses};

/// How much of an answer's body is read, in bytes. If a receiver sends more, its status counts, and
/// the connection is closed.
const MAX_BODY: usize = 16 * 1024;
/// How much of an answer's body is kept, in bytes.
const KEPT_BODY: usize = 2 * 1024;
/// The longest head of an answer, and how much of a request is buffered, in bytes.
const MAX_BUFFER: usize = 64 * 1024;

/// Why no client can be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsSettingsError),
}

/// Sends requests and keeps connections open. Clones share the connections.
///
/// A client belongs to the Tokio runtime that first uses it. If the allow list changes, make a new
/// client: open connections of the old one stay open. When the last clone is dropped, all
/// connections are closed.
#[derive(Clone)]
pub struct Client {
    connector: Connector,
    pool: Arc<Pool>,
    drivers: Arc<Drivers>,
    uses: Arc<Uses>,
}

/// How many requests used which connections.
#[derive(Default)]
struct Uses {
    new: AtomicU64,
    reused: AtomicU64,
}

impl Client {
    /// A client that connects only to addresses that `guard` permits. It trusts the platform's
    /// authorities, and those of the PEM file `ca_file`.
    ///
    /// # Errors
    /// [`ClientError`] if TLS cannot be set up, or if the file holds no usable certificate. A
    /// missing trust store is not an error: it is logged, and `https` requests fail.
    pub fn new(guard: AddressGuard, ca_file: Option<&Path>) -> Result<Self, ClientError> {
        Ok(Self::of(Connector::new(guard, tls_config(ca_file)?)))
    }

    /// A client with its own TLS settings in place of the platform's.
    #[cfg(test)]
    pub(in crate::delivery) fn with_tls(guard: AddressGuard, config: rustls::ClientConfig) -> Self {
        Self::of(Connector::new(guard, config))
    }

    fn of(connector: Connector) -> Self {
        Self { connector, pool: Arc::default(), drivers: Arc::default(), uses: Arc::default() }
    }

    /// Tells how many requests used which connections. It does not keep the client alive.
    pub fn uses(&self) -> impl Fn() -> ConnectionUses + Send + 'static {
        let uses = Arc::clone(&self.uses);
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        move || ConnectionUses { new: count(&uses.new), reused: count(&uses.reused) }
    }

    /// Closes all connections. When this returns, no task of this client is left. No request may be
    /// under way, and none may be made afterwards.
    pub async fn close(&self) {
        self.pool.close().await;
        self.drivers.close().await;
    }

    /// Sends a request and reads the answer to its end, but not more than 16 KiB of the body.
    ///
    /// `request` makes the request, right before it is sent. It is called twice if the request is
    /// repeated. If it returns `None`, nothing is sent. `fresh`: no kept
    /// connection is used. `progress` says how far the exchange came, even if this future is
    /// dropped.
    pub(in crate::delivery) async fn exchange(
        &self,
        identity: &Arc<Identity>,
        request: impl Fn() -> Option<Request<Timely>>,
        fresh: bool,
        progress: &mut Progress,
    ) -> Result<Answer, ExchangeError> {
        let (connection, response) = self.send(identity, request, fresh, progress).await?;
        let (head, body) = response.into_parts();
        *progress = Progress::Reading(head.status);
        let (excerpt, complete) = read_body(body).await.map_err(ExchangeError::Http)?;
        if complete {
            self.pool.put(identity, connection, idle_timeout(&head.headers));
        }
        Ok(Answer { status: head.status, headers: head.headers, excerpt })
    }

    /// Sends a request, on a kept connection if there is one and it may be used.
    async fn send(
        &self,
        identity: &Arc<Identity>,
        request: impl Fn() -> Option<Request<Timely>>,
        fresh: bool,
        progress: &mut Progress,
    ) -> Result<(Connection, Response<Incoming>), ExchangeError> {
        let kept = if fresh { None } else { self.pool.take(identity).await };
        if let Some(mut kept) = kept {
            *progress = Progress::Waiting;
            let request = request().ok_or(ExchangeError::NotStarted)?;
            self.uses.reused.fetch_add(1, Ordering::Relaxed);
            match kept.send(request).await {
                Ok(response) => return Ok((kept, response)),
                Err(broken) if broken.too_late => return Err(ExchangeError::NotStarted),
                Err(broken) if broken.unanswered => {
                    // The other unused connections were used earlier than this one, so the receiver
                    // has closed them too.
                    self.pool.close_unused(identity);
                    tracing::debug!(error = %broken.error, "a kept connection was closed: the request is repeated on a new one");
                    *progress = Progress::Connecting;
                }
                Err(broken) => return Err(broken.into()),
            }
        }
        let mut connection = self.connect(identity).await?;
        *progress = Progress::Waiting;
        let request = request().ok_or(ExchangeError::NotStarted)?;
        self.uses.new.fetch_add(1, Ordering::Relaxed);
        match connection.send(request).await {
            Ok(response) => Ok((connection, response)),
            Err(broken) if broken.too_late => Err(ExchangeError::NotStarted),
            Err(broken) if broken.speaks_tls && !is_https(identity.origin()) => Err(ExchangeError::NotPlain),
            Err(broken) => Err(broken.into()),
        }
    }

    async fn connect(&self, identity: &Identity) -> Result<Connection, ExchangeError> {
        let stream = self.connector.connect(identity).await?;
        let incoming = stream.incoming();
        let opened = http1::Builder::new().max_buf_size(MAX_BUFFER).handshake(TokioIo::new(stream)).await;
        let (sender, driver) = opened.map_err(ExchangeError::Http)?;
        Ok(Connection::new(sender, incoming, self.drivers.drive(driver)))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// The first 2 KiB of an answer's body, and whether the body was read to its end.
async fn read_body(mut body: Incoming) -> Result<(Vec<u8>, bool), hyper::Error> {
    let mut kept = Vec::new();
    let mut read = 0;
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else { break };
        // Trailers are ignored.
        let Ok(data) = frame?.into_data() else { continue };
        let room = KEPT_BODY - kept.len();
        kept.extend_from_slice(&data[..data.len().min(room)]);
        read += data.len();
        if read > MAX_BODY {
            return Ok((kept, false));
        }
    }
    Ok((kept, true))
}

/// How far an exchange has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::delivery) enum Progress {
    /// There is no connection yet.
    #[default]
    Connecting,
    /// The request is on its way. No answer has come.
    Waiting,
    /// The head of the answer has come. It has this status.
    Reading(StatusCode),
}

/// What the receiver answered.
#[derive(Debug)]
pub(in crate::delivery) struct Answer {
    pub(in crate::delivery) status: StatusCode,
    pub(in crate::delivery) headers: HeaderMap,
    /// The first 2 KiB of the body.
    pub(in crate::delivery) excerpt: Vec<u8>,
}

/// Why there is no whole answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::delivery) enum ExchangeError {
    /// No connection could be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke, or what came was not HTTP.
    #[error(transparent)]
    Http(hyper::Error),
    /// TLS failed after the handshake. With TLS 1.3 a receiver may refuse the handshake after the
    /// client's part of it is over.
    #[error(transparent)]
    Tls(TlsError),
    /// The URL is `http`, and the receiver speaks TLS.
    #[error("the receiver speaks TLS at this port: perhaps its URL should start with https://")]
    NotPlain,
    /// The request was not to be started any more. Nothing was sent.
    #[error("the request was not started")]
    NotStarted,
}

impl ExchangeError {
    /// The error class of an attempt that ended with this error.
    pub(in crate::delivery) fn class(&self) -> ErrorClass {
        match self {
            Self::Connect(error) => error.class(),
            Self::Tls(_) => ErrorClass::Tls,
            Self::Http(_) | Self::NotPlain => ErrorClass::Protocol,
            Self::NotStarted => ErrorClass::Request,
        }
    }
}

impl From<Broken> for ExchangeError {
    fn from(Broken { error, .. }: Broken) -> Self {
        match tls_cause(&error) {
            Some(cause) => Self::Tls(cause),
            None => Self::Http(error),
        }
    }
}

/// The failure of TLS that ended an open connection, if there was one.
fn tls_cause(error: &hyper::Error) -> Option<TlsError> {
    let below = error.source()?.downcast_ref::<io::Error>()?;
    let cause = below.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(io::Error::new(below.kind(), cause.clone()).into())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{
        super::super::{
            PreparedTarget,
            test_server::{TestServer, Then, message, send, target, until},
        },
        *,
    };
    use crate::domain::attempt::Outcome;

    const OK: &str = "HTTP/1.1 204 No Content\r\n\r\n";

    fn client() -> Client {
        let guard = AddressGuard::new(vec!["127.0.0.0/8".parse().expect("a network")]);
        Client::new(guard, None).expect("a client")
    }

    fn prepare(server: &TestServer) -> PreparedTarget {
        PreparedTarget::new(&target(&server.url())).expect("a valid target")
    }

    async fn outcome(client: &Client, target: &PreparedTarget, id: i64) -> Outcome {
        send(client, target, &[message(id, "{}")], 1).await.outcome
    }

    fn connections(server: &TestServer) -> Vec<usize> {
        server.requests().iter().map(|request| request.connection).collect()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn messages_reuse_one_connection() {
        for status in ["200 OK", "500 Internal Server Error"] {
            let server = TestServer::with_status(status, "", "some body").await;
            let (client, target) = (client(), prepare(&server));
            for id in 0..200 {
                outcome(&client, &target, id).await;
            }
            assert_eq!(connections(&server), [0; 200], "one connection");
        }
    }

    #[tokio::test]
    async fn a_receiver_that_closes_after_each_answer_still_gets_every_message_once() {
        // The answer has no `connection: close`, so the client must notice by itself, and the end
        // of the connection may cross the next request.
        let server = TestServer::start(OK, Then::Close).await;
        let (client, target) = (client(), prepare(&server));
        for id in 0..200 {
            assert_eq!(outcome(&client, &target, id).await, Outcome::Accepted);
        }
        assert_eq!(server.requests().len(), 200);
    }

    /// The receiver has read the request on the kept connection, and closes it. The client cannot
    /// know that.
    #[tokio::test]
    async fn a_request_that_a_kept_connection_swallowed_is_repeated_once_on_a_new_one() {
        let server = TestServer::start(OK, Then::CloseAtNext).await;
        let (client, target) = (client(), prepare(&server));
        for id in 0..20 {
            assert_eq!(outcome(&client, &target, id).await, Outcome::Accepted, "message {id}");
        }
        let requests = server.requests();
        let ids: Vec<_> = requests.iter().map(|one| one.header("webhook-id").expect("sent")).collect();
        assert_eq!(ids[..4], ["msg_0", "msg_1", "msg_1", "msg_2"]);
        assert!(requests.iter().all(|one| one.header("webhook-attempt") == Some("1")), "one attempt");
    }

    #[tokio::test]
    async fn a_request_on_a_new_connection_is_never_repeated() {
        let server = TestServer::start("", Then::Close).await;
        assert_eq!(outcome(&client(), &prepare(&server), 1).await, Outcome::Failed);
        assert_eq!(server.requests().len(), 1);
    }

    #[tokio::test]
    async fn a_request_with_a_part_of_an_answer_is_never_repeated() {
        let half = "HTTP/1.1 204 No Content\r\n\r\n";
        let server = TestServer::start(half, Then::HalfAtNext).await;
        let (client, target) = (client(), prepare(&server));
        assert_eq!(outcome(&client, &target, 0).await, Outcome::Accepted);
        assert_eq!(outcome(&client, &target, 1).await, Outcome::Failed);
        assert_eq!(server.requests().len(), 2);
    }

    #[tokio::test]
    async fn a_retry_never_uses_a_kept_connection() {
        let server = TestServer::start(OK, Then::KeepAlive).await;
        let (client, target) = (client(), prepare(&server));
        for attempt in [1, 1, 2, 3] {
            let result = send(&client, &target, &[message(1, "{}")], attempt).await;
            assert_eq!(result.outcome, Outcome::Accepted);
        }
        assert_eq!(connections(&server), [0, 0, 1, 2]);
    }

    #[tokio::test]
    async fn the_receiver_says_how_long_an_unused_connection_is_kept() {
        for (headers, expected) in [("", [0, 0]), ("keep-alive: timeout=0\r\n", [0, 1])] {
            let server = TestServer::with_status("200 OK", headers, "").await;
            let (client, target) = (client(), prepare(&server));
            for id in 0..2 {
                assert_eq!(outcome(&client, &target, id).await, Outcome::Accepted);
            }
            assert_eq!(connections(&server), expected, "{headers:?}");
        }
    }

    #[tokio::test]
    async fn under_steady_traffic_a_connection_is_replaced_when_it_is_too_old() {
        let server = TestServer::start(OK, Then::KeepAlive).await;
        let max_age = Duration::from_millis(100);
        let client = Client { pool: Arc::new(Pool::with_max_age(max_age)), ..client() };
        let (target, begun) = (prepare(&server), Instant::now());
        while begun.elapsed() < max_age * 5 {
            assert_eq!(outcome(&client, &target, 1).await, Outcome::Accepted);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let used = connections(&server);
        let newest = *used.iter().max().expect("requests");
        assert!((2..=5).contains(&newest), "{used:?}");
        assert!(used.len() > 2 * (newest + 1), "each of them was used several times: {used:?}");
    }

    #[tokio::test]
    async fn a_connection_with_an_unread_answer_is_not_used_again() {
        let server = TestServer::with_status("200 OK", "", &"x".repeat(MAX_BODY + 1)).await;
        let (client, target) = (client(), prepare(&server));
        for id in 0..2 {
            assert_eq!(outcome(&client, &target, id).await, Outcome::Accepted);
        }
        assert_eq!(connections(&server), [0, 1]);
    }

    #[tokio::test]
    async fn an_answer_without_length_ends_with_its_connection() {
        let server = TestServer::start("HTTP/1.1 200 OK\r\n\r\nuntil the end", Then::Close).await;
        assert_eq!(outcome(&client(), &prepare(&server), 1).await, Outcome::Accepted);
    }

    #[tokio::test]
    async fn dropping_the_future_closes_the_connection() {
        let server = TestServer::start("", Then::Hang).await;
        let (client, target) = (client(), prepare(&server));
        let aborted = tokio::time::timeout(Duration::from_millis(100), outcome(&client, &target, 1)).await;
        assert!(aborted.is_err(), "still waiting when dropped");
        until("the connection is closed", || server.closed_by_client() == 1).await;
    }
}
