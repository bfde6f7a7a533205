//! The session: the worker's own connection. It listens for notifications. Each answered round trip
//! over it proves that the worker's lock is held.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::Notify;
use tracing::{info, warn};
use uuid::Uuid;

use super::{
    WorkerError,
    liveness::Liveness,
    published::{Published, Publishing},
    target::LEASE_MIN,
};
use crate::{
    domain::sending::NotSending,
    store::{Doing, Heartbeat, WorkerSession},
};

/// The pause between two heartbeats. Several must fit into the time for which one counts
/// (`ALIVE_FOR`).
const HEARTBEAT: Duration = Duration::from_millis(150);

/// The time between two heartbeats that write the worker's row.
const WRITE_ROW: Duration = Duration::from_secs(1);

/// How often the log says that nothing is sent.
const SAY_NOT_SENDING: Duration = Duration::from_mins(1);

/// At so few messages a second, publishers do not wait for one another, however long a flush takes.
const FEW: u32 = 20;

/// More workers than this count as this many. Otherwise outcomes would gather too long where many
/// workers share a database.
const SHARED_BY_MAX: u32 = 4;

/// What the session, the watchers and the engine tell one another.
#[derive(Default)]
pub(super) struct Signals {
    arrived: Notify,
    wakes: AtomicU32,
    webhooks: AtomicBool,
    /// Whether nobody may NOTIFY.
    polls_only: AtomicBool,
    /// For how many microseconds notifications are suppressed.
    silent_for: AtomicU64,
    /// How many messages publishers publish a second.
    published_per_second: AtomicU32,
    /// Whether publishers wait for one another.
    publishers_wait: AtomicBool,
    /// A webhook was deleted. What it was owed must be deleted too.
    pub(super) webhook_deleted: Arc<Notify>,
    /// Requests in flight, and lanes that are held, for the worker's row.
    pub(super) in_flight: AtomicUsize,
    pub(super) lanes: AtomicUsize,
    /// Whether the worker stops, for its row.
    pub(super) stopping: AtomicBool,
    /// Which statement fails, for the worker's row.
    trouble: Mutex<Option<String>>,
    /// Why nothing is sent.
    not_sending: Mutex<Option<NotSending>>,
    /// When this worker last saw a worker that it had not seen before; `None` while there are no
    /// others.
    newcomer: Mutex<Option<Instant>>,
    /// The other workers that live.
    others: Mutex<Arc<[Uuid]>>,
    /// The lease that the webhooks' timeouts need, in milliseconds.
    lease: AtomicU64,
    lease_grew: Notify,
}

/// What has arrived since the last [`Signals::take`].
pub(super) struct Arrived {
    /// How often something may have become due: lanes were taken over, or their `due_at` was
    /// repaired.
    pub(super) wakes: u32,
    /// Whether webhooks or topics changed.
    pub(super) webhooks: bool,
    /// Whether anybody may NOTIFY.
    pub(super) notifies: bool,
    /// For how long notifications are suppressed.
    pub(super) silent_for: Duration,
}

impl Signals {
    /// Resolves when something has arrived since the last [`Signals::take`].
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Takes what has arrived.
    pub(super) fn take(&self) -> Arrived {
        Arrived {
            wakes: self.wakes.swap(0, Ordering::Relaxed),
            webhooks: self.webhooks.swap(false, Ordering::Relaxed),
            notifies: !self.polls_only.load(Ordering::Relaxed),
            silent_for: Duration::from_micros(self.silent_for.swap(0, Ordering::Relaxed)),
        }
    }

    /// Something may be due.
    pub(super) fn wake(&self) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
        self.arrived.notify_one();
    }

    /// Sets the lease that the webhooks' timeouts need.
    pub(super) fn want_lease(&self, lease: Duration) {
        let milliseconds = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        if self.lease.swap(milliseconds, Ordering::Relaxed) < milliseconds {
            // Requests wait until the longer lease is in the worker's row.
            self.lease_grew.notify_one();
        }
    }

    /// Sets the other workers that live. `newcomer`: when one of them was seen for the first time,
    /// if one was.
    pub(super) fn set_others(&self, others: Arc<[Uuid]>, newcomer: Option<Instant>) {
        let alone = others.is_empty();
        *self.others.lock().unwrap_or_else(PoisonError::into_inner) = others;
        if alone || newcomer.is_some() {
            *self.newcomer.lock().unwrap_or_else(PoisonError::into_inner) = newcomer;
        }
    }

    /// The other workers that live.
    pub(super) fn others(&self) -> Arc<[Uuid]> {
        Arc::clone(&self.others.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many workers share the database, this one included; at most [`SHARED_BY_MAX`].
    pub(super) fn workers(&self) -> u32 {
        u32::try_from(self.others().len()).unwrap_or(u32::MAX).saturating_add(1).min(SHARED_BY_MAX)
    }

    /// When this worker last saw a worker that it had not seen before; `None` while there are no
    /// others.
    pub(super) fn newcomer(&self) -> Option<Instant> {
        *self.newcomer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What publishers did by the last heartbeat.
    pub(super) fn publishing(&self) -> Publishing {
        Publishing {
            per_second: self.published_per_second.load(Ordering::Relaxed),
            waits: self.publishers_wait.load(Ordering::Relaxed),
        }
    }

    fn set_publishing(&self, publishing: Publishing) {
        self.published_per_second.store(publishing.per_second, Ordering::Relaxed);
        self.publishers_wait.store(publishing.waits, Ordering::Relaxed);
    }

    /// Whether messages may be sent, as the last heartbeat said.
    pub(super) fn sends(&self) -> bool {
        self.not_sending.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Sets why nothing is sent; `None` if messages are sent. The engine takes it in.
    pub(super) fn set_not_sending(&self, why_not: Option<NotSending>) {
        let before =
            std::mem::replace(&mut *self.not_sending.lock().unwrap_or_else(PoisonError::into_inner), why_not);
        if before.is_some() != why_not.is_some() {
            self.arrived.notify_one();
        }
    }

    /// Sets which statement fails; `None` if all succeed.
    pub(super) fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// What the worker says of itself.
    fn doing(&self) -> Doing {
        let not_sending = *self.not_sending.lock().unwrap_or_else(PoisonError::into_inner);
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Doing {
            in_flight: self.in_flight.load(Ordering::Relaxed),
            lanes: self.lanes.load(Ordering::Relaxed),
            stopping: self.stopping.load(Ordering::Relaxed),
            trouble: not_sending.map(|why_not| why_not.text().to_owned()).or(trouble),
        }
    }

    fn lease(&self) -> Duration {
        Duration::from_millis(self.lease.load(Ordering::Relaxed)).max(LEASE_MIN)
    }
}

/// Keeps the session. Returns only when it is lost, and says why.
pub(super) async fn keep(
    session: Arc<WorkerSession>,
    signals: Arc<Signals>,
    liveness: Arc<Liveness>,
    start_paused: bool,
) -> WorkerError {
    tokio::select! {
        error = beat(&session, &signals, &liveness, start_paused) => error,
        () = watch(&liveness) => WorkerError::Lost("the database did not answer in time"),
    }
}

async fn beat(
    session: &WorkerSession,
    signals: &Signals,
    liveness: &Liveness,
    start_paused: bool,
) -> WorkerError {
    let mut not_sending = SayNotSending::default();
    let mut row_written = Instant::now();
    let mut lease_written = Duration::ZERO;
    let mut published = Published::default();
    let mut webhooks_changed_at: Option<Timestamp> = None;
    loop {
        let asked = Instant::now();
        let lease = Some(signals.lease())
            .filter(|lease| *lease > lease_written || asked.duration_since(row_written) >= WRITE_ROW);
        match session.heartbeat(&signals.doing(), lease).await {
            Ok(Heartbeat { silent_for, given_ids, notifies, changed_at, switch }) => {
                liveness.answered(asked, lease);
                let why_not = switch.why_not(start_paused);
                signals.set_not_sending(why_not);
                not_sending.say(why_not, asked);
                if let Some(lease) = lease {
                    row_written = asked;
                    lease_written = lease;
                }
                if !silent_for.is_zero() {
                    let microseconds = u64::try_from(silent_for.as_micros()).unwrap_or(u64::MAX);
                    signals.silent_for.store(microseconds, Ordering::Relaxed);
                    signals.arrived.notify_one();
                }
                if signals.polls_only.swap(!notifies, Ordering::Relaxed) == notifies {
                    info!(notifies, "whether transactions that publish NOTIFY has changed");
                    signals.arrived.notify_one();
                }
                // Any other value counts, not only a later one: the database may have been replaced
                // by another one.
                if changed_at.is_some() && changed_at != webhooks_changed_at {
                    signals.webhooks.store(true, Ordering::Relaxed);
                    signals.arrived.notify_one();
                }
                webhooks_changed_at = changed_at;
                let per_second = published.seen(asked, Instant::now(), given_ids);
                // Publishers that do not notify do not wait, and a few publishers slow nobody down.
                let waiting = if silent_for.is_zero() && per_second > FEW {
                    match session.count_waiting_publishers().await {
                        Ok(waiting) => waiting,
                        // The worker's role may not be allowed to see who waits.
                        Err(error) if error.is_refusal() => 0,
                        Err(error) => return WorkerError::Store(error),
                    }
                } else {
                    0
                };
                signals.set_publishing(Publishing { per_second, waits: published.waiting(waiting) });
            }
            Err(error) => return WorkerError::Store(error),
        }
        tokio::select! {
            () = tokio::time::sleep(HEARTBEAT) => {}
            () = signals.lease_grew.notified() => {}
        }
    }
}

/// Says that nothing is sent, each minute.
#[derive(Default)]
struct SayNotSending(Option<Instant>);

impl SayNotSending {
    fn say(&mut self, why_not: Option<NotSending>, now: Instant) {
        match (why_not, self.0) {
            (Some(_), Some(said)) if now.duration_since(said) < SAY_NOT_SENDING => {}
            (Some(why_not), _) => {
                warn!("{}", why_not.text());
                self.0 = Some(now);
            }
            (None, Some(_)) => {
                info!("messages are sent again");
                self.0 = None;
            }
            (None, None) => {}
        }
    }
}

/// Returns when no round trip was answered in time.
async fn watch(liveness: &Liveness) {
    loop {
        let until = liveness.alive_until();
        if Instant::now() >= until {
            return;
        }
        tokio::time::sleep_until(until.into()).await;
    }
}
