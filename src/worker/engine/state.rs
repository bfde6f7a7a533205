//! The state of the engine.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{SeedableRng as _, rngs::SmallRng};
use uuid::Uuid;

use super::{
    super::{
        scheduling::{concurrency_limit::ConcurrencyLimit, fair_queue::FairQueue, holds::Holds},
        wakeup::mode::WakeupMode,
    },
    activity::Activity,
    attempt_log::AttemptLog,
    breakers::Breakers,
    claims::{Claims, ListingDue},
    command::Command,
    event::{Endpoint, SessionState},
    lane::Lane,
    locked::Locked,
    named::Named,
    outages::Outages,
    pending_writes::PendingWrites,
    reads::Reads,
    removed_lately::RemovedLately,
    settles::Settles,
    shares::Shares,
    tail::Tail,
    troubles::Troubles,
};
use crate::{domain::lane::LaneKey, telemetry::LogThrottle};

/// What an engine is made of.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// The id of the worker's incarnation. It is never used again.
    pub worker: Uuid,
    /// How many lanes may be in flight.
    pub concurrency: usize,
    /// The timeout of a webhook that sets none.
    pub default_timeout: Duration,
    /// A webhook whose breaker has been open for this long is disabled; `None`: never.
    pub disable_after: Option<Duration>,
    /// Where jitter comes from. The same seed and the same events give the same commands. The order
    /// of some of them may differ: it is that of a `HashMap`.
    pub seed: u64,
}

/// The engine: it knows every lane that the worker holds, and decides what happens next.
pub struct Engine {
    pub(super) settings: EngineSettings,
    pub(super) random: SmallRng,
    /// What the driver is to do, in this order.
    pub(super) commands: Vec<Command>,
    pub(super) session: SessionState,

    // -- Webhooks
    pub(super) endpoints: HashMap<i64, Arc<Endpoint>>,
    /// When to read them again, and not before when.
    pub(super) webhooks_due: Instant,
    pub(super) webhooks_not_before: Instant,
    /// When to look at all of them again, and not only at those that were changed lately.
    pub(super) all_webhooks_due: Instant,
    pub(super) loading_webhooks: bool,
    /// Those whose receivers have asked for nothing to be sent.
    pub(super) holds: Holds,
    /// The longest timeout of all webhooks.
    pub(super) longest_timeout: Duration,
    /// Since when the database is being asked which webhooks have due lanes, if it is.
    pub(super) listing_due: Option<ListingDue>,

    // -- Lanes
    pub(super) lanes: HashMap<LaneKey, Lane>,
    /// Lanes that were claimed again while a request of their earlier claim is under way. They wait
    /// for the end of that request.
    pub(super) successors: HashMap<LaneKey, Lane>,
    /// Idle lanes, and some that were idle a moment ago.
    pub(super) idle: BTreeSet<LaneKey>,
    /// When to check next which idle lanes are to be removed.
    pub(super) next_removal: Option<Instant>,
    pub(super) removed_lately: RemovedLately,

    // -- Slots
    /// Lanes that wait for a slot. A key stays when its lane is released or forgotten, and it may
    /// stand here twice. So whoever takes a key out checks the lane's phase.
    pub(super) queue: FairQueue,
    pub(super) slots: ConcurrencyLimit,
    /// Of the limits that hold for all workers together.
    pub(super) shares: Shares,
    /// While lanes wait for a slot: when to check next which bursts have used up their time slice.
    pub(super) next_slice_check: Option<Instant>,
    /// While lanes are in flight: when to look next for webhooks that do not answer.
    pub(super) next_silence_check: Option<Instant>,

    pub(super) breakers: Breakers,

    // -- Statements
    pub(super) claims: Claims,
    pub(super) named: Named,
    pub(super) reads: Reads,
    pub(super) tail: Tail,
    pub(super) pending: PendingWrites,
    pub(super) locked: Locked,
    pub(super) settles: Settles,
    pub(super) wakeup: WakeupMode,
    pub(super) troubles: Troubles,
    /// When it was logged that a lane cannot be read.
    pub(super) unreadable_said: LogThrottle,

    // -- What people read
    pub(super) attempt_log: AttemptLog,
    pub(super) activity: Activity,
    pub(super) outages: Outages,

    /// Whether the worker stops.
    pub(super) stopping: bool,
}

impl Engine {
    /// An engine that holds nothing yet.
    pub fn new(settings: EngineSettings, now: Instant) -> Self {
        Self {
            random: SmallRng::seed_from_u64(settings.seed),
            slots: ConcurrencyLimit::new(settings.concurrency),
            shares: Shares::new(now),
            longest_timeout: settings.default_timeout,
            settings,
            commands: Vec::new(),
            session: SessionState::default(),
            endpoints: HashMap::new(),
            webhooks_due: now,
            webhooks_not_before: now,
            all_webhooks_due: now,
            loading_webhooks: false,
            holds: Holds::default(),
            listing_due: None,
            lanes: HashMap::new(),
            successors: HashMap::new(),
            idle: BTreeSet::new(),
            next_removal: None,
            removed_lately: RemovedLately::default(),
            queue: FairQueue::default(),
            next_slice_check: None,
            next_silence_check: None,
            breakers: Breakers::default(),
            claims: Claims::new(now),
            named: Named::default(),
            reads: Reads::default(),
            tail: Tail::default(),
            pending: PendingWrites::default(),
            locked: Locked::default(),
            settles: Settles::default(),
            wakeup: WakeupMode::new(now),
            troubles: Troubles::new(),
            unreadable_said: LogThrottle::new(),
            attempt_log: AttemptLog::default(),
            activity: Activity::new(now),
            outages: Outages::default(),
            stopping: false,
        }
    }

    /// Whether this worker may hold lanes of this webhook other than probes: requests may be
    /// started, now or soon.
    ///
    /// | asks | true if |
    /// |---|---|
    /// | `endpoint.deliverable` | its row says so: active, not paused, not disabled, topic not on hold, and this worker sends the topic |
    /// | `takes_messages` | and its receiver has asked for no pause, and this worker was not refused a share |
    /// | `is_deliverable` | and its breaker is closed as far as this worker knows, and this worker does not suspect it |
    /// | `may_start` | `takes_messages`, and one of two: its breaker is closed as above, or it is open and the lane is its probe |
    pub(super) fn is_deliverable(&self, webhook_id: i64) -> bool {
        self.takes_messages(webhook_id) && self.breakers.may_send(webhook_id)
    }

    /// Whether the webhook takes messages: it is active, neither paused nor disabled, its topic is not
    /// on hold, and this worker has a share of its limits, or has not been refused one.
    pub(super) fn takes_messages(&self, webhook_id: i64) -> bool {
        self.endpoints.get(&webhook_id).is_some_and(|endpoint| endpoint.deliverable)
            && !self.holds.is_held(webhook_id)
            && !self.shares.is_refused(webhook_id)
    }

    /// The lane of this claim, if it is still held. Another token is another claim.
    pub(super) fn held(&mut self, key: LaneKey, token: i64) -> Option<&mut Lane> {
        self.lanes.get_mut(&key).filter(|lane| lane.token == token)
    }
}
