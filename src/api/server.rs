//! Connections: accepts them, serves them, and ends without cutting off requests.

use std::time::Duration;

use axum::{body::Body, http::Request};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::request_id::RequestId;

use super::ApiState;

/// How long a client may take to send the head of a request. An idle connection is closed after the
/// same time.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How long requests may take to finish at shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait after a failed accept. It fails mostly because no file descriptor is free.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Serves the API until `shutdown`. Then it accepts no more connections, gives requests 10 s to
/// finish, and returns.
///
/// # Errors
/// An error of the operating system if the listener has no address. Later errors are logged.
pub async fn run(listener: TcpListener, state: ApiState, shutdown: CancellationToken) -> std::io::Result<()> {
    let service = TowerToHyperService::new(super::router(state));
    // HTTP/1 only: hyper waits without a time limit for the bytes that tell the versions apart.
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_READ_TIMEOUT);
    let graceful = GracefulShutdown::new();
    tracing::info!(address = %listener.local_addr()?, "the API listens");
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        // Otherwise a small answer may wait for an acknowledgement. If it cannot be set, answers
        // are only slower.
        let _ = stream.set_nodelay(true);
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service.clone()));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still in flight after {} s", SHUTDOWN_TIMEOUT.as_secs());
    }
    Ok(())
}

/// The span of everything that is logged for a request.
pub(super) fn request_span(request: &Request<Body>) -> tracing::Span {
    let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
    tracing::info_span!("request", id, method = %request.method(), path = request.uri().path())
}
