//! The worker: claims lanes and delivers what they owe.
//!
//! Promised: a lane's messages are sent one after another, in rising id order; nothing is sent once
//! others may have taken the lane over; no transaction is open while a request is.
//!
//! A worker lives in incarnations. Each has its own connection for LISTEN, whose advisory lock says
//! that it lives, and an id that guards all its writes. When that connection is lost, all requests
//! are aborted at once and the worker starts over under a new id.
//!
//! | file | what it decides |
//! |---|---|
//! | `engine` | what each held lane does next |
//! | `claim` | which webhooks to look at, and how many lanes to take |
//! | `told` | which worker looks first at a message that a publisher has told of |
//! | `dry` | when a lane that owes nothing is given up |
//! | `news` | which held lanes owe something more |
//! | `run` | the requests of one lane, one after another |
//! | `outcome` | what a request's end means for its lane |
//! | `operation`, `settlement` | what is written, and when |
//! | `locked`, `halves` | what is done about a row that cannot be written or read |
//! | `pace` | when to look for work |
//! | `takes` | how long to leave a busy database alone |
//! | `slots`, `turns` | whose turn it is: among webhooks, among lanes |
//! | `session`, `liveness`, `takeover` | who is alive |
//! | `restart` | when a worker that lost its session opens the next |
//! | `clock` | what a step of the database's clock must not delay |
//! | `maintenance` | partitions of the log, retention, orphans |

mod claim;
mod clock;
mod dry;
mod engine;
mod halves;
mod lane;
mod liveness;
mod locked;
mod log;
mod maintenance;
mod news;
mod operation;
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

use std::{sync::Arc, time::Instant};

use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use uuid::Uuid;

use self::{
    engine::{Engine, Parts},
    liveness::Liveness,
    restart::Restarts,
    run::Sender,
    session::Signals,
};
use crate::{
    config::{DeliveryConfig, WorkerConfig},
    delivery::{AddressGuard, Client, ClientError},
    store::{Store, StoreError, WorkerInfo},
};

/// Why a worker stopped, or an incarnation of it ended.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The HTTP client could not be made.
    #[error("HTTP client: {0}")]
    Client(#[from] ClientError),
    /// A statement failed in a way that the incarnation cannot go on after.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The LISTEN connection is lost.
    #[error("{0}")]
    Lost(&'static str),
    /// A task ended that must not: a defect.
    #[error("a task ended early: {0}")]
    Task(String),
}

/// Delivers until `shutdown`, whatever happens to the database meanwhile; then finishes what is in
/// flight, settles it, releases its lanes and returns.
///
/// Fails only where trying again cannot help.
pub async fn run(
    store: Store,
    worker: &WorkerConfig,
    delivery: &DeliveryConfig,
    shutdown: CancellationToken,
) -> Result<(), WorkerError> {
    let client = Client::new(AddressGuard::new(delivery.allow_networks.clone()))?;
    let mut restarts = Restarts::new();
    // Incarnations of this very worker that have stopped for certain and may still hold lanes.
    let mut stopped = Vec::new();
    let mut ready = None;
    let mut away = false;
    while !shutdown.is_cancelled() {
        let incarnation =
            Incarnation { store: &store, worker, delivery, client: &client, shutdown: &shutdown };
        let error = match incarnation.live(&mut stopped, &mut ready).await {
            Ok(()) => return Ok(()),
            Err(error @ (WorkerError::Task(_) | WorkerError::Client(_))) => return Err(error),
            Err(error) => error,
        };
        let lived = ready.take().map(|since: Instant| since.elapsed());
        if away && lived.is_none() {
            debug!(%error, "still no session");
        } else {
            warn!(%error, "worker lost its session: requests were aborted, starting over");
            away = true;
        }
        tokio::select! {
            () = tokio::time::sleep(restarts.next(lived.unwrap_or_default())) => {}
            () = shutdown.cancelled() => {}
        }
    }
    Ok(())
}

/// What an incarnation is made of.
struct Incarnation<'a> {
    store: &'a Store,
    worker: &'a WorkerConfig,
    delivery: &'a DeliveryConfig,
    client: &'a Client,
    shutdown: &'a CancellationToken,
}

impl Incarnation<'_> {
    /// Lives until shutdown, or until its session is lost; says since when it was ready, if it was.
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
        // Opening took several round trips; only a last one says that the session is alive now.
        let asked = Instant::now();
        session.heartbeat(0, None).await?;
        liveness.answered(asked, None);
        let signals = Arc::new(Signals::default());
        signals.want_lease(lease);

        // The tasks beside the engine: each of them ends with it, and it with each of them.
        let mut tasks = JoinSet::new();
        tasks.spawn(session::keep(Arc::new(session), Arc::clone(&signals), Arc::clone(&liveness)));
        tasks.spawn(never(takeover::watch(self.store.clone(), info.id, Arc::clone(&signals))));
        tasks.spawn(never(clock::watch(self.store.clone(), Arc::clone(&signals))));
        tasks.spawn(never(maintenance::maintain(self.store.clone(), Arc::clone(&signals))));

        for id in stopped.iter().filter(|id| **id != info.id) {
            let release = self.store.release_worker(*id).await?;
            if release.marked {
                info!(worker = %id, lanes = release.lanes, "released what this worker held before");
            }
        }
        // What was locked is left to the sweeps, and the row to whoever looks at the workers.
        stopped.retain(|id| *id == info.id);
        info!(worker = %info.id, concurrency = self.worker.concurrency, "worker is ready");
        *ready = Some(Instant::now());

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
        // Nothing is sent any more once this returns.
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

/// A task that has no reason to end.
async fn never(task: impl Future<Output = ()>) -> WorkerError {
    task.await;
    WorkerError::Task("it had no reason to".to_owned())
}

/// Who this is, for people who look at the list of workers.
fn name() -> String {
    let host = std::env::var("HOSTNAME")
        .ok()
        .or_else(|| std::fs::read_to_string("/etc/hostname").ok())
        .unwrap_or_else(|| "worker".to_owned());
    format!("{}:{}", host.trim(), std::process::id())
}
