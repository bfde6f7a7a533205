//! The metrics: at `/metrics` of the API, and on a listener of their own.

use std::{io, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    error::Problems,
    exposition::Exposition,
    server::{Server, TIMEOUTS},
    state::ApiState,
};

/// The most connections of the listener.
const CONNECTIONS_MAX: usize = 64;
/// The format that Prometheus asks for.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(get_metrics))
}

/// Read the metrics of this process and of the database, as Prometheus does.
#[utoipa::path(
    get, path = "/metrics", tag = "installation",
    responses((status = 200, description = "The metrics, in the text format of Prometheus.", body = String, content_type = "text/plain"), Problems),
)]
async fn get_metrics(State(state): State<ApiState>) -> impl IntoResponse {
    answer(&state.exposition).await
}

async fn answer(exposition: &Exposition) -> impl IntoResponse + use<> {
    ([(CONTENT_TYPE, FORMAT), (CACHE_CONTROL, "no-store")], exposition.text().await)
}

/// Gives the metrics to everybody who connects, until `shutdown`.
///
/// # Errors
/// An error of the operating system if the listener has no address.
pub async fn run_metrics(
    listener: TcpListener,
    exposition: Arc<Exposition>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    tracing::info!(address = %listener.local_addr()?, "metrics are at /metrics");
    let get_metrics = async |State(exposition): State<Arc<Exposition>>| answer(&exposition).await;
    let router = Router::new().route("/metrics", get(get_metrics)).with_state(exposition);
    Server::new(router, CONNECTIONS_MAX, TIMEOUTS).run(listener, shutdown).await;
    Ok(())
}
