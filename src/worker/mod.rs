//! The worker: claims lanes and delivers what they owe.
//!
//! Promises:
//! - A lane's messages are sent one after another, by rising id.
//! - Nothing is sent once another worker may have taken the lane over.
//! - No transaction is open while a request is under way.
//!
//! A worker lives in incarnations. Each incarnation has an id that is never used again. The id
//! guards all its writes. Each incarnation also has a session: its own connection, which listens
//! for notifications and holds an advisory lock. The lock says that the incarnation lives. If the
//! session is lost, all requests are aborted at once, and the worker starts over as a new
//! incarnation.
//!
//! | module | what it is about |
//! |---|---|
//! | [`engine`] | what each held lane does next: a state machine without I/O and without a clock |
//! | `scheduling` | who may send next, how much to claim, how many bytes to hold |
//! | `wakeup` | wait for notifications, or poll |
//! | `driver` | runs the engine's commands: statements, and the requests of lanes |
//! | `session` | heartbeats, liveness, takeover |
//! | `tuning` | limits and times, and how they depend on one another |
//!
//! Beside its engine each worker runs [`background::run`]: one of all workers leads, and does the
//! background work.

mod driver;
pub mod engine;
mod error;
mod scheduling;
pub mod session;
mod tuning;
mod wakeup;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

pub use self::error::WorkerError;
use self::{
    driver::{Driver, Parts},
    engine::EngineSettings,
    session::{
        due_at_repair,
        failing::Failing,
        heartbeat,
        liveness::{Liveness, lease},
        reconnect_backoff::ReconnectBackoff,
        signals::Signals,
        takeover,
    },
};
use crate::{
    background,
    config::{DeliveryConfig, RetentionConfig, WorkerConfig, common_settings},
    delivery::{AddressGuard, Client},
    domain::worker_health::WorkerHealth,
    store::{Doing, Store, WorkerInfo},
    telemetry::{metrics::Metrics, traces::Traces},
};

/// Delivers until `shutdown`, whatever happens to the database meanwhile. Then finishes the
/// requests in flight, settles them, releases its lanes and returns.
///
/// Fails only where another try cannot help: the HTTP client cannot be made, or a task ended early.
pub async fn run(
    store: Store,
    worker: &WorkerConfig,
    delivery: &DeliveryConfig,
    retention: &RetentionConfig,
    shutdown: CancellationToken,
) -> Result<(), WorkerError> {
    let watch = Watch { health: WorkerHealth::default(), metrics: Metrics::off(), traces: Traces::off() };
    run_watched(store, worker, delivery, retention, watch, shutdown).await
}

/// Where a worker says how it does.
#[derive(Debug)]
pub struct Watch {
    /// Whether it works.
    pub health: WorkerHealth,
    /// What it has done.
    pub metrics: Metrics,
    /// What it sends.
    pub traces: Traces,
}

/// The same, and it says in `watch` how it does.
///
/// # Errors
/// As [`run`].
pub async fn run_watched(
    store: Store,
    worker: &WorkerConfig,
    delivery: &DeliveryConfig,
    retention: &RetentionConfig,
    watch: Watch,
    shutdown: CancellationToken,
) -> Result<(), WorkerError> {
    let client =
        Client::new(AddressGuard::new(delivery.allow_networks.clone()), delivery.ca_file.as_deref())?;
    let Watch { health, metrics, traces } = watch;
    metrics.set_slots(worker.concurrency);
    metrics.watch_client(client.uses());
    let pool = store.clone();
    metrics.watch_pool(move || pool.connections());
    let incarnation = Incarnation {
        store: &store,
        worker,
        delivery,
        retention,
        client: &client,
        health: &health,
        metrics: &metrics,
        traces: &traces,
        shutdown: &shutdown,
    };
    let ended = incarnation.live_again_and_again().await;
    // When this returns, no connection to a receiver is open.
    client.close().await;
    ended
}

/// What an incarnation works with.
struct Incarnation<'a> {
    store: &'a Store,
    worker: &'a WorkerConfig,
    delivery: &'a DeliveryConfig,
    retention: &'a RetentionConfig,
    client: &'a Client,
    health: &'a WorkerHealth,
    metrics: &'a Metrics,
    traces: &'a Traces,
    shutdown: &'a CancellationToken,
}

impl Incarnation<'_> {
    /// Lives until shutdown, each time as a new incarnation.
    async fn live_again_and_again(&self) -> Result<(), WorkerError> {
        let mut backoff = ReconnectBackoff::new();
        let mut failing = Failing::default();
        // Ids of this worker's incarnations. All but the current one have stopped; they may still
        // hold lanes.
        let mut stopped = Vec::new();
        let mut ready = None;
        while !self.shutdown.is_cancelled() {
            let ended = self.live(&mut stopped, &mut ready).await;
            self.health.stopped();
            self.metrics.set_slots_in_use(0);
            let error = match ended {
                Ok(()) => return Ok(()),
                Err(error @ (WorkerError::Task(_) | WorkerError::Client(_))) => return Err(error),
                Err(error) => error,
            };
            self.health.failed();
            let lived = ready.take().map_or(Duration::ZERO, |since: Instant| since.elapsed());
            if let Some(failing) = failing.failed(Instant::now(), &error.to_string(), lived) {
                if failing.tries == 1 {
                    warn!(%error, "worker lost its session: requests were aborted, starting over");
                } else {
                    warn!(
                        %error, tries = failing.tries, seconds = failing.since.as_secs(),
                        "worker has no session that lasts: nothing is delivered by it; this is logged every minute"
                    );
                }
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next(lived)) => {}
                () = self.shutdown.cancelled() => {}
            }
        }
        Ok(())
    }

    /// Lives until shutdown, or until the session is lost. `ready` is set to the instant since when
    /// the worker was ready, if it was. `stopped` keeps the ids of incarnations that were not
    /// released yet.
    async fn live(&self, stopped: &mut Vec<Uuid>, ready: &mut Option<Instant>) -> Result<(), WorkerError> {
        let lease = lease(self.delivery.timeout());
        let topics = self.worker.patterns().map(<[String]>::to_vec);
        let info = WorkerInfo {
            id: Uuid::now_v7(),
            name: name(),
            capacity: self.worker.concurrency,
            lease,
            topics,
            settings: common_settings(self.delivery, self.retention),
        };
        let asked = Instant::now();
        let (session, notices) = tokio::select! {
            opened = self.store.open_worker_session(&info) => opened?,
            () = self.shutdown.cancelled() => return Ok(()),
        };
        stopped.push(info.id);
        let liveness = Arc::new(Liveness::new(asked, lease));
        // Opening took several round trips. Only a new round trip proves that the session is alive
        // now.
        let asked = Instant::now();
        let first = session.heartbeat(&Doing::default(), None).await?;
        liveness.answered(asked, None);
        let signals = Arc::new(Signals::new(self.delivery.timeout()));
        let start_paused = self.worker.start_paused;
        signals.set_not_sending(first.switch.why_not(start_paused));

        // Tasks beside the engine. If one of them ends, the engine ends too, and the other way
        // round.
        let mut tasks = JoinSet::new();
        tasks.spawn(heartbeat::keep(
            Arc::new(session),
            Arc::clone(&signals),
            Arc::clone(&liveness),
            start_paused,
        ));
        tasks.spawn(never(takeover::watch(
            self.store.clone(),
            info.id,
            Arc::clone(&signals),
            self.metrics.clone(),
        )));
        tasks.spawn(never(due_at_repair::watch(self.store.clone(), Arc::clone(&signals))));
        let retention = self.retention.clone();
        let deleted = Arc::clone(&signals.webhook_deleted);
        tasks.spawn(never(background::run(self.store.clone(), info.id, retention, deleted)));

        for id in stopped.iter().filter(|id| **id != info.id) {
            let release = self.store.release_worker(*id).await?;
            if release.marked {
                info!(worker = %id, lanes = release.lanes, "released what this worker held before");
            }
        }
        // Sweeps claim the lanes that were locked just now. A watcher (`takeover`) deletes the rows
        // of these workers.
        stopped.retain(|id| *id == info.id);
        info!(worker = %info.id, concurrency = self.worker.concurrency, "worker is ready");
        *ready = Some(Instant::now());
        self.health.ready();

        let engine = EngineSettings {
            worker: info.id,
            concurrency: self.worker.concurrency,
            default_timeout: self.delivery.timeout(),
            disable_after: self.delivery.disable_after(),
            seed: rand::random(),
        };
        let mut driver = Driver::new(Parts {
            store: self.store,
            engine,
            worker: self.worker,
            delivery: self.delivery,
            client: self.client,
            liveness,
            notices,
            signals,
            metrics: self.metrics,
            traces: self.traces,
        });
        let ended = tokio::select! {
            ended = driver.run(self.shutdown) => ended,
            Some(task) = tasks.join_next() => Err(task.unwrap_or_else(|error| WorkerError::Task(error.to_string()))),
        };
        // When this returns, nothing is sent any more.
        driver.abandon().await;
        if ended.is_err() {
            self.store.close_idle();
        } else {
            self.store.release_worker(info.id).await?;
            info!("worker has stopped");
        }
        // The session is closed with its task.
        tasks.shutdown().await;
        ended
    }
}

/// Runs a task that must never end; if it ends, that is a defect.
async fn never(task: impl Future<Output = ()>) -> WorkerError {
    task.await;
    WorkerError::Task("it had no reason to".to_owned())
}

/// A name for people who read the list of workers: `host:process id`.
fn name() -> String {
    format!("{}{}", name_prefix(), std::process::id())
}

/// What the names of all workers of this host begin with.
pub fn name_prefix() -> String {
    let host = std::env::var("HOSTNAME")
        .ok()
        .or_else(|| std::fs::read_to_string("/etc/hostname").ok())
        .unwrap_or_else(|| "worker".to_owned());
    format!("{}:", host.trim())
}
