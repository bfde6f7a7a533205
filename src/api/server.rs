//! Connections: accepts them, serves them, and ends without cutting off requests.
//!
//! Nobody can hold a connection for nothing. One is closed if the head of the next request does not
//! come within 30 s, or if its client takes no byte of an answer for 30 s. There are at most
//! `api.max_connections`. While there are that many, each is closed after its current request, or at
//! once if it has none; new ones wait.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, body::Body, http::Request};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::request_id::RequestId;

use super::ApiState;
use crate::telemetry::LogThrottle;

/// How long a connection may take for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    /// Until the whole head of the next request has come.
    head: Duration,
    /// Until the client takes a byte of an answer.
    write: Duration,
    /// Until requests in flight have ended, at shutdown.
    shutdown: Duration,
}

pub(super) const TIMEOUTS: Timeouts = Timeouts {
    head: Duration::from_secs(30),
    write: Duration::from_secs(30),
    shutdown: Duration::from_secs(10),
};

/// The largest head of a request, in bytes.
const HEAD_MAX: usize = 64 * 1024;
/// How long to wait after a failed accept. It fails mostly because no file descriptor is free.
const ACCEPT_RETRY: Duration = Duration::from_millis(250);

/// Serves the API until `shutdown`. Then it accepts no more connections, gives requests 10 s to
/// finish, and returns.
///
/// # Errors
/// An error of the operating system if the listener has no address. Later errors are logged.
pub async fn run(listener: TcpListener, state: ApiState, shutdown: CancellationToken) -> io::Result<()> {
    let most = state.connections.most();
    tracing::info!(address = %listener.local_addr()?, "the API listens");
    let broker = state.broker.clone();
    // A tail would hold up the shutdown.
    let end_tails = async {
        shutdown.cancelled().await;
        broker.end_tails();
    };
    tokio::join!(
        Server::new(super::router(state), most, TIMEOUTS).run(listener, shutdown.clone()),
        end_tails
    );
    Ok(())
}

pub(super) struct Server {
    router: Router,
    /// A permit for each connection.
    slots: Arc<Semaphore>,
    most: usize,
    timeouts: Timeouts,
    open: TaskTracker,
    full: LogThrottle,
    failed: LogThrottle,
}

impl Server {
    pub(super) fn new(router: Router, most: usize, timeouts: Timeouts) -> Self {
        let slots = Arc::new(Semaphore::new(most));
        let (full, failed) = (LogThrottle::new(), LogThrottle::new());
        Self { router, slots, most, timeouts, open: TaskTracker::new(), full, failed }
    }

    pub(super) async fn run(mut self, listener: TcpListener, shutdown: CancellationToken) {
        // Cancelled to end all connections that have no request.
        let mut idle = shutdown.child_token();
        loop {
            let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await else { break };
            match accepted {
                Ok((stream, _)) => {
                    let slot = self.slot(&mut idle, &shutdown);
                    let Some(Some(slot)) = shutdown.run_until_cancelled(slot).await else { break };
                    self.serve(stream, slot, idle.clone());
                }
                // The client has gone already.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if let Some(left_out) = self.failed.say(Instant::now()) {
                        tracing::warn!(%error, left_out, "cannot accept a connection; this is logged at most every ten seconds");
                    }
                    shutdown.run_until_cancelled(tokio::time::sleep(ACCEPT_RETRY)).await;
                }
            }
        }
        drop(listener);
        self.open.close();
        if tokio::time::timeout(self.timeouts.shutdown, self.open.wait()).await.is_err() {
            tracing::warn!("requests were still in flight after {} s", self.timeouts.shutdown.as_secs());
        }
    }

    /// A slot for a new connection. If there is none, all connections are closed that have no
    /// request, and the others after theirs. `None` if the server has ended.
    async fn slot(
        &mut self,
        idle: &mut CancellationToken,
        shutdown: &CancellationToken,
    ) -> Option<OwnedSemaphorePermit> {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Some(slot);
        }
        std::mem::replace(idle, shutdown.child_token()).cancel();
        if let Some(left_out) = self.full.say(Instant::now()) {
            let connections = self.most;
            tracing::warn!(
                connections,
                left_out,
                "as many connections as api.max_connections permits are open, and new ones wait; this is logged at most \
                 every ten seconds"
            );
        }
        Arc::clone(&self.slots).acquire_owned().await.ok()
    }

    fn serve(&self, stream: TcpStream, slot: OwnedSemaphorePermit, idle: CancellationToken) {
        // Otherwise a small answer may wait for an acknowledgement. If it cannot be set, answers
        // are only slower.
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.timeouts.write));
        // HTTP/1 only: hyper waits without a time limit for the bytes that tell the versions apart.
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(self.timeouts.head).max_buf_size(HEAD_MAX);
        let service = TowerToHyperService::new(self.router.clone());
        let connection = http.serve_connection(TokioIo::new(Box::pin(stream)), service);
        self.open.spawn(async move {
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = idle.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(slot);
        });
    }
}

/// The span of everything that is logged for a request.
pub(super) fn request_span(request: &Request<Body>) -> tracing::Span {
    let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
    tracing::info_span!("request", id, method = %request.method(), path = request.uri().path())
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);
    const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

    /// A server whose `/` is small, whose `/large` fits into no buffer, and whose `/slow` never
    /// comes.
    async fn start(most: usize, timeouts: Timeouts) -> (std::net::SocketAddr, CancellationToken) {
        let router = Router::new()
            .route("/", get(|| async { "small" }))
            .route("/large", get(|| async { vec![b'x'; 64 << 20] }))
            .route("/slow", get(std::future::pending::<()>));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        tokio::spawn(Server::new(router, most, timeouts).run(listener, shutdown.clone()));
        (address, shutdown)
    }

    async fn connect(address: std::net::SocketAddr, request: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        stream
    }

    /// What comes until the server closes.
    async fn rest(stream: &mut TcpStream) -> Vec<u8> {
        let mut all = Vec::new();
        // A reset is an end, too.
        let _ = tokio::time::timeout(LIMIT, stream.read_to_end(&mut all)).await.expect("it is closed");
        all
    }

    async fn is_answered(stream: &mut TcpStream) -> bool {
        let mut answer = [0; 12];
        let read = tokio::time::timeout(LIMIT, stream.read_exact(&mut answer)).await;
        read.is_ok_and(|read| read.is_ok()) && &answer == b"HTTP/1.1 200"
    }

    fn short(head: u64, write: u64) -> Timeouts {
        Timeouts { head: Duration::from_millis(head), write: Duration::from_millis(write), ..TIMEOUTS }
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_closed() {
        let (address, _shutdown) = start(1, short(60_000, 300)).await;
        let mut stuck = connect(address, b"GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        // The only slot is free again.
        assert!(is_answered(&mut connect(address, GET).await).await);
        assert!(rest(&mut stuck).await.len() < 64 << 20, "the answer was cut off");
    }

    #[tokio::test]
    async fn a_client_that_reads_slowly_gets_everything() {
        let (address, _shutdown) = start(1, short(60_000, 1000)).await;
        let mut slow =
            connect(address, b"GET /large HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
        let mut buffer = vec![0; 1 << 20];
        let mut read = 0;
        // Longer than the time limit in all.
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            read += slow.read(&mut buffer).await.unwrap();
        }
        assert!(read + rest(&mut slow).await.len() > 64 << 20);
    }

    #[tokio::test]
    async fn a_head_that_does_not_come_and_a_connection_without_requests_are_closed() {
        let (address, _shutdown) = start(10, short(300, 60_000)).await;
        assert!(rest(&mut connect(address, b"").await).await.is_empty());
        rest(&mut connect(address, b"GET / HTTP/1.1\r\nhost: loc").await).await;
        let mut kept = connect(address, GET).await;
        assert!(is_answered(&mut kept).await);
        rest(&mut kept).await;
    }

    #[tokio::test]
    async fn a_full_server_closes_connections_without_requests_for_new_ones() {
        let (address, _shutdown) = start(2, TIMEOUTS).await;
        let mut busy = connect(address, b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        for _ in 0..5 {
            // It keeps its connection open after the answer.
            let mut next = connect(address, GET).await;
            assert!(is_answered(&mut next).await);
            std::mem::forget(next);
        }
        let mut one = [0];
        let unanswered = tokio::time::timeout(Duration::from_millis(50), busy.read(&mut one)).await;
        assert!(unanswered.is_err(), "a request in flight is left alone");
    }

    #[tokio::test]
    async fn at_shutdown_connections_without_requests_are_closed_at_once() {
        let (address, shutdown) = start(2, TIMEOUTS).await;
        let mut kept = connect(address, GET).await;
        assert!(is_answered(&mut kept).await);
        shutdown.cancel();
        rest(&mut kept).await;
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn a_head_that_is_too_large_is_refused() {
        let (address, _shutdown) = start(1, TIMEOUTS).await;
        let head = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx-a: {}\r\n\r\n", "a".repeat(2 * HEAD_MAX));
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The server may close before all is written.
        let _ = stream.write_all(head.as_bytes()).await;
        let answer = rest(&mut stream).await;
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"),
            "{:?}",
            String::from_utf8_lossy(&answer)
        );
    }
}
