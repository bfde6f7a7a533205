//! STUB: the parts of a process. The API and the worker are not in this tree yet; everything here fails and says so.
//!
//! Each function below is to call what its comment names.

#![expect(clippy::unused_async, reason = "a stub")]

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::CliError;
use crate::{config::Config, store::Store};

fn missing(what: &str) -> CliError {
    CliError::Failed(format!("this build has no {what}"))
}

/// Settings that only the API can judge: `check_bind(&config.api)`, an error is `CliError::Usage`.
pub(super) fn check_api(_config: &Config) -> Result<(), CliError> {
    Err(missing("HTTP API"))
}

/// `ApiState::new(store, &config.api, &config.delivery)`, then `api::run(listener, state, shutdown)`.
pub(super) async fn api(
    _listener: TcpListener,
    _store: Store,
    _config: Config,
    _shutdown: CancellationToken,
) -> Result<(), CliError> {
    Err(missing("HTTP API"))
}

/// `worker::run(store, &config.worker, &config.delivery, shutdown)`.
pub(super) async fn worker(
    _store: Store,
    _config: Config,
    _shutdown: CancellationToken,
) -> Result<(), CliError> {
    Err(missing("worker"))
}

/// `api::openapi().to_pretty_json()`.
pub(super) fn openapi() -> Result<String, CliError> {
    Err(missing("HTTP API"))
}

/// The store's statement that publishes one message, as an application does with SQL; gives its id.
pub(super) async fn publish(
    _store: &Store,
    _topic: &str,
    _partition_key: &str,
    _payload: &str,
) -> Result<i64, CliError> {
    Err(missing("publish statement"))
}
