//! The parts that the commands run: the API, the worker, the description of the API.

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::CliError;
use crate::{
    api::{self, ApiState},
    broker::Broker,
    config::Config,
    domain::worker_health::WorkerHealth,
    store::Store,
    worker,
};

/// Serves the HTTP API. `worker`: the worker of this process, if it has one.
pub(super) async fn api(
    listener: TcpListener,
    store: Store,
    config: Config,
    worker: Option<WorkerHealth>,
    shutdown: CancellationToken,
) -> Result<(), CliError> {
    let mut broker = Broker::new(store, config.delivery.allow_networks);
    if let Some(worker) = worker {
        broker = broker.beside_worker(worker);
    }
    let state = ApiState::new(broker, &config.api).map_err(|error| CliError::Usage(error.to_string()))?;
    api::run(listener, state, shutdown).await.map_err(|error| CliError::Failed(error.to_string()))
}

/// Runs a worker.
pub(super) async fn worker(
    config: Config,
    health: WorkerHealth,
    shutdown: CancellationToken,
) -> Result<(), CliError> {
    // The worker has a pool of its own. So the API and the worker never wait for each other's
    // connections.
    let store = Store::new(&config.database)?;
    worker::run_watched(store, &config.worker, &config.delivery, &config.retention, health, shutdown)
        .await
        .map_err(|error| CliError::Failed(error.to_string()))
}

/// The description of the API as JSON.
pub(super) fn openapi() -> Result<String, CliError> {
    api::openapi().to_pretty_json().map_err(|error| CliError::Failed(error.to_string()))
}
