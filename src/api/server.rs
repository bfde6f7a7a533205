//! Connections: accept, serve, and end without cutting a request short.

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

/// How long a connection may take to send the head of a request; an idle one is closed by it as
/// well.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How long requests in flight may take to finish at shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait after a failed accept, most often for want of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Serves the API until `shutdown`, then stops accepting, lets requests in flight finish within 10
/// s, and returns.
pub async fn run(listener: TcpListener, state: ApiState, shutdown: CancellationToken) -> std::io::Result<()> {
    let service = TowerToHyperService::new(super::router(state));
    // HTTP/1 alone: telling the versions apart waits for bytes without a time limit.
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
        // Without it a small answer may wait for an acknowledgement; if it cannot be set, that is
        // all that happens.
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

/// The span that everything logged for a request stands in.
pub(super) fn request_span(request: &Request<Body>) -> tracing::Span {
    let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
    tracing::info_span!("request", id, method = %request.method(), path = request.uri().path())
}
