//! A process that serves: what `serve`, `api`, `worker` and `dev` share.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{CliError, server, settings::RESOLVE_LIMIT, tasks::Tasks};
use crate::{
    api::{self, Exposition},
    broker::Broker,
    config::{BindAddress, Config},
    domain::worker_health::WorkerHealth,
    store::{Store, StoreError},
    telemetry::{metrics::Metrics, traces::Traces},
    worker::Watch,
};

/// The parts of the process. The schema was checked or brought up to date.
pub(super) struct Service {
    pub(super) config: Config,
    pub(super) store: Store,
    pub(super) tasks: Tasks,
    metrics: Metrics,
    traces: Traces,
    /// What the API and the listener of metrics give to Prometheus.
    exposition: Arc<Exposition>,
    shutdown: CancellationToken,
}

impl Service {
    /// Connects, and brings the schema up to date if the settings say so. Several processes may do
    /// that at once. `None` if the token was cancelled meanwhile.
    pub(super) async fn start(config: Config, shutdown: CancellationToken) -> Result<Option<Self>, CliError> {
        let store = Store::new(&config.database)?;
        let Some(prepared) = shutdown.run_until_cancelled(prepare(&store, &config)).await else {
            return Ok(None);
        };
        prepared?;
        let traces = Traces::of_process().map_err(|error| CliError::Usage(error.to_string()))?;
        let per_webhook = config.metrics.per_webhook;
        let metrics = Metrics::new(per_webhook);
        let pool = store.clone();
        metrics.watch_pool(move || pool.connections());
        let broker = Broker::new(store.clone(), Vec::new());
        let exposition = Arc::new(Exposition::new(metrics.clone(), broker, per_webhook));
        let mut tasks = Tasks::new(shutdown.clone());
        tasks.spawn("metrics", metrics.clone().keep(shutdown.clone()));
        Ok(Some(Self { config, store, tasks, metrics, traces, exposition, shutdown }))
    }

    /// Adds the API. `worker`: what [`Self::add_worker`] gave, if this process has a worker.
    pub(super) fn add_api(&mut self, listener: TcpListener, worker: Option<WorkerHealth>) {
        let (store, config) = (self.store.clone(), self.config.clone());
        let telemetry = (Arc::clone(&self.exposition), self.traces.clone());
        let part = server::api(listener, store, config, worker, telemetry, self.shutdown.clone());
        self.tasks.spawn("api", part);
    }

    /// Adds a worker, and the listener of metrics if the settings name one. The worker says in the
    /// answer whether it works.
    pub(super) async fn add_worker(&mut self) -> Result<WorkerHealth, CliError> {
        if let Some(bind) = &self.config.worker.metrics_bind {
            let listener = listen_for_metrics(bind).await?;
            let part = api::run_metrics(listener, Arc::clone(&self.exposition), self.shutdown.clone());
            self.tasks.spawn("metrics listener", part);
        }
        let health = WorkerHealth::default();
        let watch =
            Watch { health: health.clone(), metrics: self.metrics.clone(), traces: self.traces.clone() };
        let part = server::worker(self.config.clone(), watch, self.shutdown.clone());
        self.tasks.spawn("worker", part);
        Ok(health)
    }

    /// Runs until the token is cancelled and every part has ended.
    pub(super) async fn run(self) -> Result<(), CliError> {
        let ended = self.tasks.join().await;
        self.traces.close().await;
        ended?;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Listens on the API's address.
pub(super) async fn listen(address: SocketAddr) -> Result<TcpListener, CliError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| CliError::Failed(format!("cannot listen on {address} (api.bind): {error}")))
}

/// Listens on the address of the metrics.
async fn listen_for_metrics(bind: &BindAddress) -> Result<TcpListener, CliError> {
    let failed = |error| CliError::Failed(format!("cannot listen on {bind} (worker.metrics_bind): {error}"));
    let resolved = tokio::time::timeout(RESOLVE_LIMIT, bind.resolve()).await;
    let address = resolved.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(failed)?;
    TcpListener::bind(address).await.map_err(failed)
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
