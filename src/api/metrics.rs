//! The metrics: at `/metrics` of the API, and on a listener of their own.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

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
    server::{Server, TIMEOUTS},
    state::ApiState,
};
use crate::{
    broker::Broker,
    config::PerWebhook,
    telemetry::{
        LogThrottle,
        metrics::{Metrics, render_gauges},
    },
};

/// For how long the gauges of the database are kept. All readers share them.
const KEPT: Duration = Duration::from_secs(5);
/// The most connections of the listener.
const CONNECTIONS_MAX: usize = 64;
/// The format that Prometheus asks for.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Limits how often the log says that the database is away.
static AWAY: Mutex<LogThrottle> = Mutex::new(LogThrottle::new());

/// What a process gives to Prometheus.
pub struct Exposition {
    metrics: Metrics,
    broker: Broker,
    per_webhook: PerWebhook,
    gauges: tokio::sync::Mutex<Option<Gauges>>,
}

/// The gauges of the database, as they were read last.
struct Gauges {
    read: Instant,
    /// Empty if the database did not answer.
    text: Arc<str>,
}

impl Exposition {
    /// `metrics` are those of this process. `broker` reads what is told of the database.
    pub fn new(metrics: Metrics, broker: Broker, per_webhook: PerWebhook) -> Self {
        Self { metrics, broker, per_webhook, gauges: tokio::sync::Mutex::default() }
    }

    /// The metrics of this process.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// All metrics. Without the database, those of this process alone.
    async fn text(&self) -> String {
        let gauges = self.gauges().await;
        self.metrics.render() + &gauges
    }

    async fn gauges(&self) -> Arc<str> {
        // Who comes while another one reads waits for it: two seconds at most.
        let mut kept = self.gauges.lock().await;
        if let Some(gauges) = kept.as_ref().filter(|gauges| gauges.read.elapsed() < KEPT) {
            return Arc::clone(&gauges.text);
        }
        let text = match self.broker.get_gauges().await {
            Ok(gauges) => render_gauges(&gauges, self.per_webhook),
            Err(error) => {
                let left_out = AWAY.lock().unwrap_or_else(PoisonError::into_inner).say(Instant::now());
                if let Some(left_out) = left_out {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, cause, left_out, "metrics of the database cannot be read");
                }
                String::new()
            }
        };
        Arc::clone(&kept.insert(Gauges { read: Instant::now(), text: text.into() }).text)
    }
}

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
