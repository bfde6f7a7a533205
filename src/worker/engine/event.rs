//! What the engine hears from its driver.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use uuid::Uuid;

pub use super::super::wakeup::publish_rate::Publishing;
use super::{command::Unusable, failure::Failure};
use crate::{
    domain::{
        attempt::AttemptResult,
        breaker::{BreakerPolicy, BreakerRow, Opening, TurnEnd, Waking},
        lane::LaneKey,
        message::Message,
        policy::Policy,
    },
    store::{
        Claim, ClaimedLane, DueWebhooks, HeldLane, LaneNews, Looked, Notice, ReadLane, Removal,
        SettleOutcome, Share, TakenProbe,
    },
};

/// Something has happened.
#[derive(Debug)]
pub enum Event {
    /// Webhooks that have changed were read.
    Webhooks(Result<LoadedWebhooks, Failure>),
    /// Some webhooks have due lanes.
    DueWebhooks(Result<DueWebhooks, Failure>),
    /// A claim was answered.
    Claimed(Result<ClaimAnswer, Failure>),
    /// A look at named messages was answered.
    MessagesClaimed(Result<Looked, Failure>),
    /// A read of held lanes was answered.
    Read(Result<ReadAnswer, Failure>),
    /// A tail read was answered.
    TailRead(Result<Vec<LaneNews>, Failure>),
    /// A settle was answered, and the removal behind it.
    Settled(SettleAnswer),
    /// Rows of the attempt log were written, or not.
    AttemptsLogged(LogAnswer),
    /// The activity was written, or left out.
    ActivityWritten,
    /// An ask for shares was answered.
    Shares(Result<Vec<Share>, Failure>),
    /// A webhook could not be disabled.
    NotDisabled {
        /// The webhook.
        webhook_id: i64,
        /// Why.
        failure: Failure,
    },
    /// The database has said whether a breaker may open.
    BreakerAsked {
        /// The webhook.
        webhook_id: i64,
        /// What it said.
        answer: Result<Opening, Failure>,
    },
    /// Turns to probe webhooks were taken.
    ProbesTaken(Result<Vec<TakenProbe>, Failure>),
    /// The turn of a probe was given back.
    ProbeTurnEnded {
        /// The webhook.
        webhook_id: i64,
        /// What became of it.
        answer: Result<TurnEnd, Failure>,
    },
    /// Some lanes of a webhook were made due.
    LanesWoken {
        /// The webhook.
        webhook_id: i64,
        /// Whether further lanes follow.
        answer: Result<Waking, Failure>,
    },
    /// A request has ended.
    Attempt(AttemptEnded),
    /// A burst has ended. All its requests have.
    BurstEnded(BurstEnded),
    /// A notification has arrived.
    Notified(Notice),
    /// What the session knows has changed.
    Session(SessionState),
    /// The worker is to stop: requests in flight may finish.
    Shutdown,
}

/// What was read of the webhooks.
#[derive(Debug, Default)]
pub struct LoadedWebhooks {
    /// Those that were read, by id.
    pub changed: HashMap<i64, Arc<Endpoint>>,
    /// Those that are gone, or that no request can be made for any more.
    pub removed: Vec<i64>,
    /// Whether one of them was deleted.
    pub deleted: bool,
    /// Webhooks whose receivers have asked for nothing to be sent, and for how much longer.
    pub held: Vec<(i64, Duration)>,
    /// Webhooks that could be claimed, but no request can be made for them.
    pub unusable: Vec<Unusable>,
    /// Breakers that may have changed.
    pub breakers: Vec<BreakerRow>,
}

/// A webhook, as far as the engine must know it.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// The topic's name.
    pub topic: String,
    /// Whether lanes of this webhook may be claimed.
    pub deliverable: bool,
    /// How many messages one request may carry.
    pub batch_size: usize,
    /// Attempts, back-off, timeout.
    pub policy: Policy,
    /// How many requests a second all workers together may start; `None` is no limit.
    pub rate_limit_per_second: Option<f64>,
    /// Whether its breaker may open.
    pub breaker: BreakerPolicy,
}

/// The answer to a claim.
#[derive(Debug, Default)]
pub struct ClaimAnswer {
    /// The lanes that were claimed.
    pub lanes: Vec<ClaimedLane>,
    /// Why the lanes were claimed one by one, if they were.
    pub one_by_one: Option<Failure>,
}

/// The answer to a read. A lane that is in neither list is not the worker's any more.
#[derive(Debug, Default)]
pub struct ReadAnswer {
    /// What the lanes owe.
    pub lanes: Vec<ReadLane>,
    /// Lanes that cannot be read.
    pub unreadable: Vec<(HeldLane, Failure)>,
}

/// The answer to a settle.
#[derive(Debug)]
pub struct SettleAnswer {
    /// Whether it was a settle of outcomes that could not be written before.
    pub again: bool,
    /// What became of each claim.
    pub written: Result<Written, Failure>,
    /// What became of the lanes that were to be removed. A lane that is absent stays.
    pub removed: Result<HashMap<LaneKey, Removal>, Failure>,
}

/// What became of each claim of a settle.
#[derive(Debug, Default)]
pub struct Written {
    /// What the database did.
    pub outcomes: Vec<(Claim, SettleOutcome)>,
    /// Claims that cannot be written even alone.
    pub refused: Vec<(Claim, Failure)>,
}

/// What became of rows of the attempt log.
#[derive(Debug)]
pub struct LogAnswer {
    /// How many rows there were.
    pub rows: usize,
    /// How many of them were written.
    pub written: usize,
    /// How many PostgreSQL refused, each by itself. Not counted if trying ended early.
    pub refused: usize,
    /// Why some rows were not written.
    pub failure: Option<Failure>,
}

/// How one request ended.
#[derive(Debug)]
pub struct AttemptEnded {
    /// The lane.
    pub key: LaneKey,
    /// The messages that it carried, by rising id; never empty.
    pub message_ids: Vec<i64>,
    /// Whether they are replays.
    pub replay: bool,
    /// Whether it was a probe.
    pub probe: bool,
    /// The number of the attempt; 1 is the first.
    pub attempt: u32,
    /// How it ended.
    pub result: AttemptResult,
    /// When it began.
    pub attempted_at: Timestamp,
    /// When the messages were published, if they were accepted.
    pub created_at: Vec<Timestamp>,
}

/// How a burst ended.
#[derive(Debug)]
pub struct BurstEnded {
    /// The lane.
    pub key: LaneKey,
    /// How many messages it has sent, accepted or not.
    pub sent: usize,
    /// How many requests it has made for them.
    pub requests: usize,
    /// The messages for which no request was started, by rising id.
    pub unsent: Vec<Message>,
    /// Why it ended.
    pub why: BurstEnd,
}

/// Why a burst ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BurstEnd {
    /// All was sent, a request was not accepted, or the engine has asked for it.
    Over,
    /// This worker may not send: it may not be alive for others, or its lease is too short. Or a
    /// probe's turn would end before its request. Or the driver knows no such webhook.
    MayNotSend,
    /// The webhook's rate limit: the next request must wait this long.
    RateLimited(Duration),
}

/// What the session knows of the database and of the other workers.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionState {
    /// Whether messages may be sent: nobody has switched that off, and the database is no copy.
    pub sends: bool,
    /// Whether anybody may NOTIFY.
    pub notifies: bool,
    /// Until when notifications are suppressed, as the database said last.
    pub suppressed_until: Option<Instant>,
    /// The other workers that live.
    pub others: Arc<[Uuid]>,
    /// When this worker last saw a worker that it had not seen before; `None` while there are no
    /// others.
    pub newcomer: Option<Instant>,
    /// What publishers do.
    pub publishing: Publishing,
    /// How often something may have become due: lanes were taken over, or their `due_at` was
    /// repaired.
    pub wakes: u64,
    /// How often webhooks or topics were seen to have changed.
    pub webhook_changes: u64,
}

impl Default for SessionState {
    fn default() -> Self {
        Self {
            sends: true,
            notifies: true,
            suppressed_until: None,
            others: Arc::from([]),
            newcomer: None,
            publishing: Publishing::default(),
            wakes: 0,
            webhook_changes: 0,
        }
    }
}
