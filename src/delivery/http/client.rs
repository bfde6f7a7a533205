//! One request and its answer, on a kept connection or a new one.
//!
//! The client follows no redirect and uses no proxy. It has no time limit except for connecting:
//! [`send`](crate::delivery::send) sets one for the whole exchange. When the future of an exchange
//! is dropped, its connection is closed.

use std::{error::Error, fmt, io, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Request, Response, StatusCode, Uri,
    body::{Body as _, Incoming},
    client::conn::http1,
};

use super::{
    super::{guard::AddressGuard, request::Destination},
    connect::{ConnectError, Connector},
    pool::{Connection, Pool},
};
use crate::domain::attempt::ErrorClass;

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
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// Sends requests and keeps connections open. Clones share the connections.
///
/// A client belongs to the Tokio runtime that first uses it. If the allow list changes, make a new
/// client: open connections of the old one stay open.
#[derive(Clone)]
pub struct Client {
    connector: Connector,
    pool: Arc<Pool>,
}

impl Client {
    /// A client that connects only to addresses that `guard` permits.
    ///
    /// # Errors
    /// [`ClientError`] if TLS cannot be set up. A missing trust store is not an error: it is
    /// logged, and `https` requests fail.
    pub fn new(guard: AddressGuard) -> Result<Self, ClientError> {
        Ok(Self { connector: Connector::new(guard)?, pool: Arc::default() })
    }

    /// A client with its own TLS settings in place of the platform's.
    #[cfg(test)]
    pub(in crate::delivery) fn with_tls(guard: AddressGuard, config: rustls::ClientConfig) -> Self {
        Self { connector: Connector::with_tls(guard, config), pool: Arc::default() }
    }

    /// Sends a request and reads the answer to its end, but not more than 16 KiB of the body.
    ///
    /// `progress` says how far the exchange came, even if this future is dropped.
    pub(in crate::delivery) async fn exchange(
        &self,
        destination: &Destination,
        request: Request<Full<Bytes>>,
        progress: &mut Progress,
    ) -> Result<Answer, ExchangeError> {
        let (connection, response) = self.send_on_open_connection(destination, request, progress).await?;
        let (head, body) = response.into_parts();
        *progress = Progress::Reading(head.status);
        let (excerpt, complete) = read_body(body).await.map_err(ExchangeError::Http)?;
        if complete {
            self.pool.put(&destination.origin, connection);
        }
        Ok(Answer { status: head.status, headers: head.headers, excerpt })
    }

    async fn send_on_open_connection(
        &self,
        destination: &Destination,
        mut request: Request<Full<Bytes>>,
        progress: &mut Progress,
    ) -> Result<(Connection, Response<Incoming>), ExchangeError> {
        loop {
            let kept = self.pool.take(&destination.origin).await;
            let was_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.connect(&destination.uri).await?,
            };
            *progress = Progress::Waiting;
            match connection.try_send_request(request).await {
                Ok(response) => return Ok((connection, response)),
                Err(mut error) => match error.take_message() {
                    // The receiver has closed the kept connection, and no byte was sent: take
                    // another one. The loop ends when no kept connection is left.
                    Some(unsent) if was_kept => {
                        request = unsent;
                        *progress = Progress::Connecting;
                    }
                    _ => return Err(ExchangeError::Http(error.into_error())),
                },
            }
        }
    }

    async fn connect(&self, uri: &Uri) -> Result<Connection, ExchangeError> {
        let stream = self.connector.connect(uri).await?;
        let opened = http1::Builder::new().max_buf_size(MAX_BUFFER).handshake(stream).await;
        let (connection, driver) = opened.map_err(ExchangeError::Http)?;
        tokio::spawn(async move {
            // A request in flight gets the same error. Without one the error does not matter.
            if let Err(error) = driver.await {
                tracing::trace!(%error, "connection ended");
            }
        });
        Ok(connection)
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
}

impl ExchangeError {
    /// The error class of an attempt that ended with this error.
    pub(in crate::delivery) fn class(&self) -> ErrorClass {
        match self {
            Self::Connect(error) => error.class(),
            // With TLS 1.3 a receiver may refuse the handshake after the client's part of it is
            // over.
            Self::Http(error) if is_tls(error) => ErrorClass::Tls,
            Self::Http(_) => ErrorClass::Protocol,
        }
    }
}

/// Whether TLS failed on an open connection.
fn is_tls(error: &hyper::Error) -> bool {
    let below = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    below.and_then(io::Error::get_ref).is_some_and(<dyn Error + Send + Sync>::is::<rustls::Error>)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        super::super::{
            PreparedTarget, send,
            test_server::{TestServer, Then, message, target},
        },
        *,
    };
    use crate::domain::attempt::Outcome;

    fn client() -> Client {
        Client::new(AddressGuard::new(vec!["127.0.0.0/8".parse().expect("a network")])).expect("a client")
    }

    fn prepare(server: &TestServer) -> PreparedTarget {
        PreparedTarget::new(&target(&server.url())).expect("a valid target")
    }

    async fn outcome(client: &Client, target: &PreparedTarget, id: i64) -> Outcome {
        send(client, target, &[message(id, "{}")], 1, false).await.outcome
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn messages_reuse_one_connection() {
        for status in ["200 OK", "500 Internal Server Error"] {
            let server = TestServer::with_status(status, "", "some body").await;
            let (client, target) = (client(), prepare(&server));
            for id in 0..200 {
                outcome(&client, &target, id).await;
            }
            let requests = server.requests();
            assert_eq!(requests.len(), 200);
            assert!(requests.iter().all(|request| request.connection == 0), "one connection");
        }
    }

    #[tokio::test]
    async fn a_receiver_that_closes_after_each_answer_still_gets_every_message_once() {
        // The answer has no `connection: close`, so the client must notice by itself.
        let server = TestServer::start("HTTP/1.1 204 No Content\r\n\r\n", Then::Close).await;
        let (client, target) = (client(), prepare(&server));
        for id in 0..20 {
            assert_eq!(outcome(&client, &target, id).await, Outcome::Accepted);
            // The end of the connection needs time to arrive. Otherwise the next request may cross
            // it, which is a failed attempt.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(server.requests().len(), 20);
    }

    #[tokio::test]
    async fn a_connection_with_an_unread_answer_is_not_used_again() {
        let server = TestServer::with_status("200 OK", "", &"x".repeat(MAX_BODY + 1)).await;
        let (client, target) = (client(), prepare(&server));
        for id in 0..2 {
            assert_eq!(outcome(&client, &target, id).await, Outcome::Accepted);
        }
        let connections: Vec<_> = server.requests().iter().map(|request| request.connection).collect();
        assert_eq!(connections, [0, 1]);
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
        for _ in 0..100 {
            if server.closed_by_client() == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the connection is still open");
    }
}
