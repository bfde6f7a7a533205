//! A process that serves: what `serve`, `api`, `worker` and `dev` share.

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{CliError, server, tasks::Tasks};
use crate::{
    config::Config,
    delivery::check_ca_file,
    store::{Store, StoreError},
};

/// The parts of the process. The schema was checked or brought up to date.
pub(super) struct Service {
    pub(super) config: Config,
    pub(super) store: Store,
    pub(super) tasks: Tasks,
    shutdown: CancellationToken,
}

impl Service {
    /// Connects, and brings the schema up to date if the settings say so. Several processes may do
    /// that at once. `None` if the token was cancelled meanwhile.
    pub(super) async fn start(config: Config, shutdown: CancellationToken) -> Result<Option<Self>, CliError> {
        if let Some(path) = &config.delivery.ca_file {
            check_ca_file(path).map_err(|error| CliError::Usage(error.to_string()))?;
        }
        let store = Store::new(&config.database)?;
        let Some(prepared) = shutdown.run_until_cancelled(prepare(&store, &config)).await else {
            return Ok(None);
        };
        prepared?;
        Ok(Some(Self { config, store, tasks: Tasks::new(shutdown.clone()), shutdown }))
    }

    pub(super) fn add_api(&mut self, listener: TcpListener) {
        let part = server::api(listener, self.store.clone(), self.config.clone(), self.shutdown.clone());
        self.tasks.spawn("api", part);
    }

    pub(super) fn add_worker(&mut self) {
        let part = server::worker(self.config.clone(), self.shutdown.clone());
        self.tasks.spawn("worker", part);
    }

    /// Runs until the token is cancelled and every part has ended.
    pub(super) async fn run(self) -> Result<(), CliError> {
        self.tasks.join().await?;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Checks the API's settings and listens on its address.
pub(super) async fn listen(config: &Config) -> Result<TcpListener, CliError> {
    server::check_api(config)?;
    let address = config.api.bind;
    TcpListener::bind(address)
        .await
        .map_err(|error| CliError::Failed(format!("cannot listen on {address} (api.bind): {error}")))
}

/// Brings the schema up to date or checks it, as the settings say. Logs what an operator should
/// know about it. Stores `wake.notify` if it is set.
async fn prepare(store: &Store, config: &Config) -> Result<(), StoreError> {
    let schema = if config.database.migrate {
        let migrated = store.migrate().await?;
        tracing::info!(
            schema = store.schema_name(),
            version = migrated.schema.number,
            applied = migrated.applied,
            "the schema is up to date"
        );
        migrated.schema
    } else {
        store.check_schema().await?
    };
    if schema.drifted {
        tracing::warn!(
            "functions, triggers or grants of the schema are not those of this pgtopic: run `pgtopic migrate --repair`"
        );
    }
    for trigger in store.list_later_triggers().await? {
        tracing::warn!(
            trigger,
            "a BEFORE INSERT trigger on messages runs after zz_messages_publish: if it moves a row to another partition, the \
             row is refused; if it drops a row or changes its id, the deliveries end as dead letters"
        );
    }
    if let Some(notify) = config.wake.notify
        && store.set_notify(notify.as_str()).await?
    {
        tracing::info!(notify = notify.as_str(), "wake.notify of this installation was changed");
    }
    Ok(())
}
