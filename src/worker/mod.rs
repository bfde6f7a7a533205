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
//! | file | what it is about |
//! |---|---|
//! | `engine` | what each held lane does next |
//! | `lane` | what one held lane has read, and its phase |
//! | `claim` | which webhooks to look at, and how many lanes to claim |
//! | `told` | which worker looks first at a message that a notification names |
//! | `dry` | when the row of an idle lane (a lane that owes nothing) is removed |
//! | `news` | which held lanes owe something more (tail reads) |
//! | `run` | the requests of one lane, one after another (bursts) |
//! | `outcome` | what a request's end means for its lane |
//! | `outage` | what the log says of webhooks that fail |
//! | `operation`, `settlement` | what is read and written, and when |
//! | `locked`, `halves` | what happens to rows that cannot be written or read |
//! | `log` | the attempt log |
//! | `activity` | what was sent, for operators |
//! | `target` | webhooks as a worker sends to them (endpoints) |
//! | `pace`, `published` | when to poll, and when publishers need not NOTIFY |
//! | `takes` | how long statements and bursts take lately |
//! | `slots`, `turns` | which webhook and which lane gets the next slot (round robin) |
//! | `session`, `liveness`, `takeover` | which workers are alive |
//! | `restart` | when a worker that lost its session opens the next one |
//! | `failing` | when a worker that fails again and again says so |
//! | `clock` | lanes that a step of the database's clock has made late |
//!
//! Beside its engine each worker runs [`background::run`]: one of all workers leads, and does the
//! background work.
//!
//! Some names in the code are older than the terms of the glossary in `docs/architecture.md`:
//!
//! | in the code | standard term |
//! |---|---|
//! | run | burst |
//! | dry | idle (a lane that owes nothing) |
//! | retire | remove the row of an idle lane |
//! | news | what a tail read has found |
//! | notice | notification |
//! | told | named by a notification |
//! | silence, quiet | suppressed notifications |
//! | turns, give way | round robin, yield |
//! | target | endpoint |

mod activity;
mod claim;
mod clock;
mod dry;
mod engine;
mod failing;
mod halves;
mod lane;
mod liveness;
mod locked;
mod log;
mod news;
mod operation;
mod outage;
mod outcome;
mod pace;
mod published;
mod restart;
mod run;
mod session;
mod settlement;
mod slots;
mod takeover;
mod takes;
mod target;
mod told;
mod turns;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use self::{
    engine::{Engine, Parts},
    failing::Failing,
    liveness::Liveness,
    restart::Restarts,
    run::Sender,
    session::Signals,
};
use crate::{
    background,
    config::{DeliveryConfig, RetentionConfig, WorkerConfig},
    delivery::{AddressGuard, Client, ClientError},
    domain::worker_health::WorkerHealth,
    store::{Doing, Store, StoreError, WorkerInfo},
};

/// Why a worker stopped, or one of its incarnations ended.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The HTTP client could not be made.
    #[error("HTTP client: {0}")]
    Client(#[from] ClientError),
    /// A statement failed, and the incarnation cannot go on.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The session is lost; the text says how.
    #[error("{0}")]
    Lost(&'static str),
    /// A task ended that must not end: a defect.
    #[error("a task ended early: {0}")]
    Task(String),
}

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
    run_watched(store, worker, delivery, retention, WorkerHealth::default(), shutdown).await
}

/// The same, and it says in `health` whether it works.
///
/// # Errors
/// As [`run`].
pub async fn run_watched(
    store: Store,
    worker: &WorkerConfig,
    delivery: &DeliveryConfig,
    retention: &RetentionConfig,
    health: WorkerHealth,
    shutdown: CancellationToken,
) -> Result<(), WorkerError> {
    let client =
        Client::new(AddressGuard::new(delivery.allow_networks.clone()), delivery.ca_file.as_deref())?;
    let mut restarts = Restarts::new();
    let mut failing = Failing::default();
    // Ids of this worker's incarnations. All but the current one have stopped; they may still hold
    // lanes.
    let mut stopped = Vec::new();
    let mut ready = None;
    while !shutdown.is_cancelled() {
        let incarnation = Incarnation {
            store: &store,
            worker,
            delivery,
            retention,
            client: &client,
            health: &health,
            shutdown: &shutdown,
        };
        let ended = incarnation.live(&mut stopped, &mut ready).await;
        health.stopped();
        let error = match ended {
            Ok(()) => return Ok(()),
            Err(error @ (WorkerError::Task(_) | WorkerError::Client(_))) => return Err(error),
            Err(error) => error,
        };
        health.failed();
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
            () = tokio::time::sleep(restarts.next(lived)) => {}
            () = shutdown.cancelled() => {}
        }
    }
    Ok(())
}

/// What an incarnation works with.
struct Incarnation<'a> {
    store: &'a Store,
    worker: &'a WorkerConfig,
    delivery: &'a DeliveryConfig,
    retention: &'a RetentionConfig,
    client: &'a Client,
    health: &'a WorkerHealth,
    shutdown: &'a CancellationToken,
}

impl Incarnation<'_> {
    /// Lives until shutdown, or until the session is lost. `ready` is set to the instant since when
    /// the worker was ready, if it was. `stopped` keeps the ids of incarnations that were not
    /// released yet.
    async fn live(&self, stopped: &mut Vec<Uuid>, ready: &mut Option<Instant>) -> Result<(), WorkerError> {
        let lease = target::lease(self.delivery.timeout());
        let info = WorkerInfo { id: Uuid::now_v7(), name: name(), capacity: self.worker.concurrency, lease };
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
        let signals = Arc::new(Signals::default());
        let start_paused = self.worker.start_paused;
        signals.set_not_sending(first.switch.why_not(start_paused));
        signals.want_lease(lease);

        // Tasks beside the engine. If one of them ends, the engine ends too, and the other way
        // round.
        let mut tasks = JoinSet::new();
        tasks.spawn(session::keep(
            Arc::new(session),
            Arc::clone(&signals),
            Arc::clone(&liveness),
            start_paused,
        ));
        tasks.spawn(never(takeover::watch(self.store.clone(), info.id, Arc::clone(&signals))));
        tasks.spawn(never(clock::watch(self.store.clone(), Arc::clone(&signals))));
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

        let (events_sender, events) = mpsc::unbounded_channel();
        let sender = Sender { client: self.client.clone(), liveness, events: events_sender };
        let mut engine = Engine::new(Parts {
            store: self.store.clone(),
            worker: info.id,
            config: self.worker.clone(),
            delivery: self.delivery.clone(),
            sender: Arc::new(sender),
            events,
            notices,
            signals,
        });
        let ended = tokio::select! {
            ended = engine.run(self.shutdown) => ended,
            Some(task) = tasks.join_next() => Err(task.unwrap_or_else(|error| WorkerError::Task(error.to_string()))),
        };
        // When this returns, nothing is sent any more.
        engine.abandon().await;
        if ended.is_err() {
            self.store.close_idle();
        } else {
            self.store.release_worker(info.id).await?;
            info!("worker has stopped");
        }
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
    let host = std::env::var("HOSTNAME")
        .ok()
        .or_else(|| std::fs::read_to_string("/etc/hostname").ok())
        .unwrap_or_else(|| "worker".to_owned());
    format!("{}:{}", host.trim(), std::process::id())
}
