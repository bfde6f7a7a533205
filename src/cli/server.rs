//! The parts of a process: what the commands run.

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::CliError;
use crate::{
    api::{self, ApiState},
    broker::Broker,
    config::Config,
    store::Store,
    worker,
};

/// Checks the settings that only the API can judge.
pub(super) fn check_api(config: &Config) -> Result<(), CliError> {
    api::check_bind(&config.api).map_err(|error| CliError::Usage(error.to_string()))
}

/// Serves the HTTP API.
pub(super) async fn api(
    listener: TcpListener,
    store: Store,
    config: Config,
    shutdown: CancellationToken,
) -> Result<(), CliError> {
    let broker = Broker::new(store, config.delivery.allow_networks);
    let state = ApiState::new(broker, &config.api).map_err(|error| CliError::Usage(error.to_string()))?;
    api::run(listener, state, shutdown).await.map_err(|error| CliError::Failed(error.to_string()))
}

/// Delivers.
pub(super) async fn worker(config: Config, shutdown: CancellationToken) -> Result<(), CliError> {
    // A pool of its own: requests to the API must not make deliveries wait for a connection, nor
    // the other way round.
    let store = Store::new(&config.database)?;
    worker::run(store, &config.worker, &config.delivery, shutdown)
        .await
        .map_err(|error| CliError::Failed(error.to_string()))
}

/// The API's description.
pub(super) fn openapi() -> Result<String, CliError> {
    api::openapi().to_pretty_json().map_err(|error| CliError::Failed(error.to_string()))
}
