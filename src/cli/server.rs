//! The parts that the commands run: the API, the worker, the description of the API.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::CliError;
use crate::{
    api::{self, ApiState, Exposition},
    broker::{Broker, Expectations},
    config::{Config, Shown, common_settings},
    console,
    domain::worker_health::WorkerHealth,
    store::Store,
    telemetry::traces::Traces,
    worker::{self, Watch},
};

/// Descriptors for what is neither a connection of the API nor one of the database nor one to a
/// receiver: the log, the listener, signals, name lookups.
const OTHER_DESCRIPTORS: usize = 32;

/// How many descriptors the process may need beside the connections of its API.
fn descriptors_beside_api(config: &Config, worker: bool) -> usize {
    // A worker has a pool of its own, its engine's connections and its session. Each lane in flight
    // has a connection to a receiver. Others are kept for a while.
    let worker = if worker { config.database.pool_size + 9 + config.worker.concurrency * 3 / 2 } else { 0 };
    OTHER_DESCRIPTORS + config.database.pool_size + worker
}

/// Serves the HTTP API. `worker`: the worker of this process, if it has one.
pub(super) async fn api(
    listener: TcpListener,
    store: Store,
    config: Config,
    worker: Option<WorkerHealth>,
    (exposition, traces): (Arc<Exposition>, Traces),
    shutdown: CancellationToken,
) -> Result<(), CliError> {
    let reserved = descriptors_beside_api(&config, worker.is_some());
    let defaults = config.delivery.policy();
    let expectations = Expectations {
        settings: Some(common_settings(&config.delivery, &config.retention)),
        messages_days: config.retention.messages_days,
        attempts_days: config.retention.attempts_days,
    };
    let mut broker = Broker::new(store, config.delivery.allow_networks)
        .with_delivery(config.delivery.ca_file, defaults)
        .starting_paused(config.worker.start_paused)
        .expecting(expectations);
    if let Some(worker) = worker {
        broker = broker.beside_worker(worker);
    }
    let state = ApiState::new(broker, &config.api).map_err(|error| CliError::Usage(error.to_string()))?;
    let mut state = state.beside(&config.api, reserved).with_metrics(exposition).with_traces(traces);
    if config.console.enabled {
        state = with_console(state, config.shown);
    }
    api::run(listener, state, shutdown).await.map_err(|error| CliError::Failed(error.to_string()))
}

/// Adds the console.
fn with_console(state: ApiState, settings: Vec<Shown>) -> ApiState {
    let console = console::router(&state, settings);
    state.with_console(console)
}

/// Runs a worker.
pub(super) async fn worker(
    config: Config,
    watch: Watch,
    shutdown: CancellationToken,
) -> Result<(), CliError> {
    // The worker has a pool of its own. So the API and the worker never wait for each other's
    // connections.
    let store = Store::new(&config.database)?;
    worker::run_watched(store, &config.worker, &config.delivery, &config.retention, watch, shutdown)
        .await
        .map_err(|error| CliError::Failed(error.to_string()))
}

/// The description of the API as JSON.
pub(super) fn openapi() -> Result<String, CliError> {
    serde_json::to_string_pretty(&api::openapi()).map_err(|error| CliError::Failed(error.to_string()))
}
