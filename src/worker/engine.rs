//! The engine: one task that knows every lane this worker holds, and decides what happens next.
//!
//! Bursts report to it, and statements run beside it. The engine waits for none of them. So its
//! state needs no lock, and every decision is made in one place. It keeps two promises: a lane's
//! messages are sent one after another, and a lane is given up before another worker may have it.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use super::{
    WorkerError,
    activity::Activity,
    claim::Claims,
    dry::Retired,
    lane::{Lane, Phase},
    locked::Locked,
    log::Log,
    news::{Look, News},
    operation::Done,
    outage::Outages,
    pace::{Pace, Silence},
    run::{RunEvent, Sender},
    session::Signals,
    settlement::Gathered,
    slots::Slots,
    target::Targets,
    told::Told,
};
use crate::{
    config::{DeliveryConfig, WorkerConfig},
    domain::{dead_letter::Reason, lane::LaneKey},
    store::{DeadDelivery, LaneState, Notice, Store},
    telemetry::LogThrottle,
};

/// Reload all webhook settings at least this often, even if no notification arrived.
const REFRESH_TARGETS: Duration = Duration::from_secs(10);

/// The state of the engine.
pub(super) struct Engine {
    pub(super) store: Store,
    pub(super) worker: Uuid,
    pub(super) config: WorkerConfig,
    pub(super) delivery: DeliveryConfig,
    pub(super) sender: Arc<Sender>,
    pub(super) signals: Arc<Signals>,
    pub(super) events: mpsc::UnboundedReceiver<RunEvent>,
    /// Notifications, straight from the session's connection.
    pub(super) notices: mpsc::Receiver<Notice>,
    pub(super) runs: JoinSet<()>,
    pub(super) operations: JoinSet<Done>,
    pub(super) targets: Targets,
    pub(super) lanes: HashMap<LaneKey, Lane>,
    /// Lanes that were claimed again while a request of their earlier claim is under way. They wait
    /// for the end of that request.
    pub(super) successors: HashMap<LaneKey, Lane>,
    /// Lanes that wait for a slot, by webhook.
    pub(super) queued: HashMap<i64, VecDeque<LaneKey>>,
    /// Webhooks with lanes that wait for a slot, in the order of their turns (round robin).
    pub(super) turns: VecDeque<i64>,
    /// While lanes wait for a slot: when to check next which bursts have used up their time slice.
    pub(super) next_turns: Option<Instant>,
    pub(super) slots: Slots,
    pub(super) claims: Claims,
    pub(super) gathered: Gathered,
    pub(super) locked: Locked,
    /// Lanes whose next messages are to be read.
    pub(super) to_read: Vec<LaneKey>,
    /// When to read them.
    pub(super) read_due: Option<Instant>,
    pub(super) under_way: UnderWay,
    /// Idle lanes (phase `Dry`), and some that were idle a moment ago.
    pub(super) dry: BTreeSet<LaneKey>,
    /// When to check next which idle lanes are to be removed.
    pub(super) next_retire: Option<Instant>,
    pub(super) news: News,
    /// Lanes that were removed lately.
    pub(super) retired: Retired,
    pub(super) told: Told,
    pub(super) pace: Pace,
    targets_due: Instant,
    pub(super) draining: bool,
    /// Whether messages may be sent: nobody has switched that off, and the database is no copy.
    pub(super) sends: bool,
    /// How many statements failed in a row. Only the first failure is logged. Each one makes the
    /// wait longer.
    pub(super) trouble: u32,
    pub(super) trouble_said: LogThrottle,
    /// Whether to log it when they succeed again.
    pub(super) tell_recovery: bool,
    /// When it was logged that a lane cannot be read.
    pub(super) unreadable_said: LogThrottle,
    pub(super) log: Log,
    pub(super) activity: Activity,
    pub(super) outages: Outages,
}

/// Which statements are under way. Of each kind there is one at a time.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each may be true whatever the others are")]
pub(super) struct UnderWay {
    pub(super) settle: bool,
    /// A settle of outcomes that could not be written before.
    pub(super) settle_again: bool,
    pub(super) read: bool,
    pub(super) refresh: bool,
}

/// What the engine works with.
pub(super) struct Parts {
    pub(super) store: Store,
    pub(super) worker: Uuid,
    pub(super) config: WorkerConfig,
    pub(super) delivery: DeliveryConfig,
    pub(super) sender: Arc<Sender>,
    pub(super) events: mpsc::UnboundedReceiver<RunEvent>,
    pub(super) notices: mpsc::Receiver<Notice>,
    pub(super) signals: Arc<Signals>,
}

impl Engine {
    pub(super) fn new(parts: Parts) -> Self {
        let now = Instant::now();
        Self {
            slots: Slots::new(parts.config.concurrency),
            store: parts.store,
            worker: parts.worker,
            config: parts.config,
            delivery: parts.delivery,
            sender: parts.sender,
            signals: parts.signals,
            events: parts.events,
            notices: parts.notices,
            runs: JoinSet::new(),
            operations: JoinSet::new(),
            targets: Targets::new(),
            lanes: HashMap::new(),
            successors: HashMap::new(),
            queued: HashMap::new(),
            turns: VecDeque::new(),
            next_turns: None,
            claims: Claims::new(now),
            gathered: Gathered::default(),
            locked: Locked::default(),
            to_read: Vec::new(),
            read_due: None,
            under_way: UnderWay::default(),
            dry: BTreeSet::new(),
            next_retire: None,
            news: News::default(),
            retired: Retired::default(),
            told: Told::default(),
            pace: Pace::new(now),
            targets_due: now,
            draining: false,
            sends: true,
            trouble: 0,
            trouble_said: LogThrottle::new(),
            tell_recovery: false,
            unreadable_said: LogThrottle::new(),
            log: Log::default(),
            activity: Activity::new(now),
            outages: Outages::default(),
        }
    }

    /// Delivers until `shutdown`. Then finishes the requests in flight, settles and releases
    /// everything. Returns early if that takes longer than `shutdown_seconds`.
    pub(super) async fn run(&mut self, shutdown: &CancellationToken) -> Result<(), WorkerError> {
        let mut deadline = None;
        loop {
            if shutdown.is_cancelled() && !self.draining {
                self.begin_draining();
                deadline = Some(Instant::now() + Duration::from_secs(self.config.shutdown_seconds));
            }
            self.step(Instant::now());
            if self.draining && self.drained() {
                return Ok(());
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                warn!(in_flight = self.slots.used(), "requests did not finish in time and are abandoned");
                return Ok(());
            }
            let wait_until = self.next_deadline(deadline);
            tokio::select! {
                Some(event) = self.events.recv() => {
                    self.on_run_event(event);
                    // Take in all that has arrived. Then one settle and one round of starts serve
                    // all of it.
                    while let Ok(event) = self.events.try_recv() {
                        self.on_run_event(event);
                    }
                }
                Some(done) = self.operations.join_next() => self.on_done(joined(done)?)?,
                Some(ended) = self.runs.join_next() => joined(ended)?,
                notice = self.notices.recv() => {
                    let Some(notice) = notice else { return Err(WorkerError::Lost("its connection ended")) };
                    self.on_notices(notice);
                }
                () = self.signals.arrived() => self.on_signals(),
                () = shutdown.cancelled(), if !self.draining => {}
                () = tokio::time::sleep_until(wait_until.into()) => {}
            }
        }
    }

    /// Aborts all requests and statements, and returns when they have ended.
    pub(super) async fn abandon(&mut self) {
        self.runs.shutdown().await;
        self.operations.shutdown().await;
    }

    /// Starts everything that can be started now.
    fn step(&mut self, now: Instant) {
        self.tell_outages(now);
        self.may_send();
        self.retire_dry(now);
        self.take_turns(now);
        self.start_runs();
        self.expect_turns(now);
        if !self.draining {
            if now >= self.targets_due && !self.under_way.refresh {
                self.under_way.refresh = true;
                self.targets_due = now + REFRESH_TARGETS;
                self.refresh_targets();
            }
            if self.sends {
                if now >= self.pace.next_look(now) {
                    self.pace.look(now);
                    if self.news_suffice(now) {
                        self.look_for_news(now, Look::Alone);
                    } else {
                        self.claims.look();
                    }
                }
                self.start_look(now);
                self.start_claim(now);
            }
        }
        self.gathered.shared_by(self.signals.workers());
        if self.draining {
            // Other workers wait for these lanes.
            self.gathered.hasten();
        }
        self.start_read(now);
        self.start_settle(now);
        self.start_activity(now);
        self.signals.in_flight.store(self.slots.used(), Ordering::Relaxed);
        self.signals.lanes.store(self.lanes.len(), Ordering::Relaxed);
    }

    /// When to wake up next, if nothing happens before.
    fn next_deadline(&self, deadline: Option<Instant>) -> Instant {
        let now = Instant::now();
        let claims = self.sends && !self.draining;
        let look = if self.claims.under_way() || !claims {
            // The claim's answer wakes the engine; no look is due before. A worker that stops, or may
            // not send, does not look.
            now + Duration::from_secs(1)
        } else {
            self.pace.next_look(now).max(self.claims.not_before())
        };
        let settle = self.gathered.due().filter(|_| !self.under_way.settle);
        [
            Some(look),
            settle,
            self.locked.due().filter(|_| !self.under_way.settle_again),
            self.read_due.filter(|_| !self.under_way.read),
            self.next_retire,
            self.next_turns,
            self.told.due(now).map(|due| due.max(self.claims.not_before())).filter(|_| claims),
            self.claims.next_room().filter(|_| claims),
            self.outages.due(),
            self.activity.due(),
            deadline,
            Some(self.targets_due.max(now + Duration::from_millis(5))),
        ]
        .into_iter()
        .flatten()
        .min()
        // The list is never empty.
        .unwrap_or(look)
    }

    /// Takes in whether messages may be sent.
    fn may_send(&mut self) {
        let sends = self.signals.sends();
        let before = std::mem::replace(&mut self.sends, sends);
        if before && !sends {
            self.give_back_all();
        } else if sends && !before {
            self.claims.look();
        }
    }

    fn on_signals(&mut self) {
        let signals = self.signals.take();
        let now = Instant::now();
        if signals.webhooks {
            self.targets_due = now;
        }
        self.pace.set_notifies(signals.notifies);
        if !signals.silent_for.is_zero() {
            self.pace.silent_for(signals.silent_for, now);
        }
        if signals.wakes > 0 {
            self.woken(signals.wakes, now);
        }
    }

    /// A notification has arrived: takes in this one and all that wait behind it.
    fn on_notices(&mut self, first: Notice) {
        let now = Instant::now();
        let (mut told, mut wakes) = (Vec::new(), 0);
        let mut next = Some(first);
        while let Some(notice) = next {
            match notice {
                Notice::Published(message) => told.push(message),
                Notice::Wake => wakes += 1,
                Notice::Webhooks => self.targets_due = now,
                Notice::Quiet => self.pace.silent_for(super::pace::SILENCE, now),
            }
            next = self.notices.try_recv().ok();
        }
        if !told.is_empty() {
            self.on_told(&told, now);
        }
        if wakes > 0 {
            self.woken(wakes, now);
        }
    }

    /// Something may be due.
    fn woken(&mut self, wakes: u32, now: Instant) {
        self.claims.look();
        // It may be for a lane that is being removed: that lane goes on after the next settle.
        self.gathered.hasten();
        self.noticed(wakes, now);
    }

    /// `count` notifications of published messages have arrived.
    pub(super) fn noticed(&mut self, count: u32, now: Instant) {
        let silence = self.pace.noticed(count, self.signals.publishing(), now);
        self.ask_for_silence(silence);
    }

    /// A look was answered. It was sent at `asked`.
    pub(super) fn looked(&mut self, asked: Instant, now: Instant) {
        let silence = self.pace.looked(asked, self.signals.publishing(), now);
        self.ask_for_silence(silence);
    }

    /// Suppresses publishers' notifications, if `silence` says so.
    fn ask_for_silence(&mut self, silence: Silence) {
        if silence == Silence::Keep {
            return;
        }
        let store = self.store.clone();
        self.operations.spawn(async move {
            // If this fails, only speed suffers.
            if store.quiet(super::pace::SILENCE).await.is_ok() && silence == Silence::Begin {
                let _ = store.announce_quiet().await;
            }
            Done::Asked
        });
    }

    /// Decides what a lane does next that has nothing under way.
    pub(super) fn advance(&mut self, key: LaneKey) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        let deliverable = self.targets.get(&key.webhook_id).is_some_and(|target| target.deliverable());
        if self.draining || !self.sends || !deliverable {
            self.release(key, LaneState::Ready);
            return;
        }
        while let Some(message_id) = lane.pop_missing() {
            lane.left(message_id);
            let attempts = lane.failures;
            lane.failures = 0;
            let dead = DeadDelivery { message_id, reason: Reason::MessageMissing, attempts, last: None };
            self.gathered.dead((key, lane.token), dead);
            self.activity.dead(key.webhook_id);
        }
        if lane.locked {
            // It goes on when its outcomes are written.
            lane.phase = Phase::Idle;
        } else if lane.has_messages() && !lane.incomplete() {
            lane.phase = Phase::Queued { since: Instant::now() };
            let queue = self.queued.entry(key.webhook_id).or_default();
            if queue.is_empty() {
                self.turns.push_back(key.webhook_id);
            }
            queue.push_back(key);
        } else if lane.more {
            lane.phase = Phase::Idle;
            self.read_on(key);
        } else {
            self.ran_dry(key);
        }
    }

    fn refresh_targets(&mut self) {
        let (store, defaults) = (self.store.clone(), self.delivery.policy());
        self.operations.spawn(async move { Done::Targets(store.list_targets(&defaults).await) });
    }

    /// Takes in the webhooks that were read; `None` if reading them failed.
    pub(super) fn on_targets(&mut self, current: Option<Vec<crate::domain::target::TargetRow>>) {
        self.under_way.refresh = false;
        let Some(current) = current else {
            self.targets_due = Instant::now() + Duration::from_secs(1);
            return;
        };
        let replaced = super::target::replace(&mut self.targets, current);
        if replaced.gone {
            self.signals.webhook_deleted.notify_one();
        }
        for unusable in replaced.unusable {
            self.disable_unusable(unusable);
        }
        let longest = self.targets.values().map(|target| target.lease()).max().unwrap_or_default();
        // Never less than a webhook with the default timeout needs. So the first such webhook need
        // not wait for a longer lease.
        self.signals.want_lease(longest.max(super::target::lease(self.delivery.timeout())));
        self.claims.forget_except(&self.targets);
        self.outages.forget_except(&self.targets);
        self.activity.forget_except(&self.targets);
        self.claims.look();
        // Release the lanes of webhooks that stopped now, not only when they get a slot.
        let stopped: Vec<LaneKey> = self
            .lanes
            .values()
            .filter(|lane| !lane.running() && !matches!(lane.phase, Phase::Retiring))
            .map(|lane| lane.key)
            .filter(|key| !self.targets.get(&key.webhook_id).is_some_and(|target| target.deliverable()))
            .collect();
        for key in stopped {
            self.advance(key);
        }
    }

    fn begin_draining(&mut self) {
        info!(
            in_flight = self.slots.used(),
            held = self.lanes.len(),
            "stopping: requests in flight may finish"
        );
        self.draining = true;
        self.signals.stopping.store(true, Ordering::Relaxed);
        self.give_back_all();
    }

    /// Gives all lanes back. Requests under way finish first.
    fn give_back_all(&mut self) {
        let keys: Vec<LaneKey> = self.lanes.keys().copied().collect();
        for key in keys {
            match self.lanes.get(&key) {
                Some(lane) if lane.running() => lane.stop_run(),
                Some(lane) if matches!(lane.phase, Phase::Retiring) => {}
                _ => self.advance(key),
            }
        }
    }

    fn drained(&self) -> bool {
        self.lanes.is_empty()
            && !self.under_way.settle
            && !self.under_way.settle_again
            && self.locked.is_empty()
            && self.gathered.due().is_none()
            && self.log.is_idle()
            && self.activity.is_idle()
            && !self.claims.under_way()
            && !self.told.under_way()
    }
}

fn joined<T>(result: Result<T, JoinError>) -> Result<T, WorkerError> {
    result.map_err(|error| WorkerError::Task(error.to_string()))
}
