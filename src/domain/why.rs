//! Why a message is where it is: facts in, one state and one reason out.
//!
//! [`judge()`] is a pure function over what the tables show at one instant. It names what is in the
//! way and what helps.

mod facts;
mod judge;
#[cfg(test)]
pub(crate) mod tests;
mod text;

use jiff::Timestamp;
use uuid::Uuid;

pub use self::{
    facts::{
        Change, DeadLetterFacts, LaneFacts, LogFacts, MessageFacts, Senders, Situation, Subscription,
        TopicFacts, WebhookFacts, WorkerFacts,
    },
    judge::judge,
};
use super::{dead_letter, lane::LaneName, words::stored_words};

/// The most webhooks of one topic that are looked at.
pub const WEBHOOKS_MAX: i64 = 1000;

stored_words! {
    /// Where a message stands with a webhook.
    pub enum State {
        /// The webhook was never owed it.
        NotOwed = "not_owed",
        /// It is owed, and not sent now.
        Waiting = "waiting",
        /// A worker is sending it.
        InFlight = "in_flight",
        /// The receiver has accepted it.
        Delivered = "delivered",
        /// It was given up.
        Dead = "dead",
        /// An operator has canceled it.
        Canceled = "canceled",
        /// A later message of its lane took its place.
        Superseded = "superseded",
        /// Nothing is known of it any more.
        Unknown = "unknown",
    }
}

stored_words! {
    /// Why it stands there.
    pub enum Reason {
        /// The webhook's filter does not let it through.
        Filter = "filter",
        /// The webhook's types do not name its type.
        Types = "types",
        /// The webhook was created after it was published.
        YoungerWebhook = "younger_webhook",
        /// Another message of its partition comes first.
        Behind = "behind",
        /// An attempt failed, and the next one is due later.
        Backoff = "backoff",
        /// Its lane is halted until an operator acts.
        Halted = "halted",
        /// The receiver has asked for nothing to be sent for a while.
        HeldByReceiver = "held_by_receiver",
        /// The webhook's rate limit.
        RateLimit = "rate_limit",
        /// The webhook has as many lanes in flight as it may.
        MaxInFlight = "max_in_flight",
        /// No worker has a slot for it.
        SlotsBusy = "slots_busy",
        /// The webhook is paused.
        Paused = "paused",
        /// The topic is held.
        TopicHeld = "topic_held",
        /// The webhook's breaker is open.
        BreakerOpen = "breaker_open",
        /// The webhook is disabled.
        Disabled = "disabled",
        /// The webhook is starting.
        Starting = "starting",
        /// Nothing is sent by this installation.
        NotSending = "not_sending",
        /// No worker lives.
        NoWorker = "no_worker",
        /// The worker that holds its lane is dead or hung.
        Takeover = "takeover",
        /// Its lane has no row.
        NoLane = "no_lane",
        /// The next look of a worker finds it.
        Ready = "ready",
        /// Its request is under way, or about to be.
        Request = "request",
        /// The receiver has accepted it, and that is not written yet.
        OutcomeUnclear = "outcome_unclear",
        /// The receiver has accepted it.
        Accepted = "accepted",
        /// The receiver has accepted it after it had left its lane.
        AcceptedLate = "accepted_late",
        /// It used up its attempts.
        AttemptsExhausted = "attempts_exhausted",
        /// No request can be made for it, or the webhook takes its answer as final.
        Permanent = "permanent",
        /// It was older than its webhook allows.
        Expired = "expired",
        /// Its webhook was owed more than it allows.
        Overflow = "overflow",
        /// An operator skipped it.
        Skipped = "skipped",
        /// It was deleted before it was delivered.
        MessageMissing = "message_missing",
        /// The attempt log does not know it any more.
        LogExpired = "log_expired",
    }
}

impl Reason {
    /// The state that it is a reason of. Each has one.
    pub fn state(self) -> State {
        match self {
            Self::Filter | Self::Types | Self::YoungerWebhook => State::NotOwed,
            Self::Behind
            | Self::Backoff
            | Self::Halted
            | Self::HeldByReceiver
            | Self::RateLimit
            | Self::MaxInFlight
            | Self::SlotsBusy
            | Self::Paused
            | Self::TopicHeld
            | Self::BreakerOpen
            | Self::Disabled
            | Self::Starting
            | Self::NotSending
            | Self::NoWorker
            | Self::Takeover
            | Self::NoLane
            | Self::Ready => State::Waiting,
            Self::Request | Self::OutcomeUnclear => State::InFlight,
            Self::Accepted | Self::AcceptedLate => State::Delivered,
            Self::AttemptsExhausted
            | Self::Permanent
            | Self::Expired
            | Self::Overflow
            | Self::Skipped
            | Self::MessageMissing => State::Dead,
            Self::LogExpired => State::Unknown,
        }
    }
}

/// Where a message stands, and why. Canceled and superseded messages have no further reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// For this reason.
    For(Reason),
    /// An operator has canceled it.
    Canceled,
    /// A later message of its lane took its place.
    Superseded,
}

impl Verdict {
    /// Where it stands.
    pub fn state(self) -> State {
        match self {
            Self::For(reason) => reason.state(),
            Self::Canceled => State::Canceled,
            Self::Superseded => State::Superseded,
        }
    }

    /// Why it stands there.
    pub fn reason(self) -> Option<Reason> {
        match self {
            Self::For(reason) => Some(reason),
            Self::Canceled | Self::Superseded => None,
        }
    }
}

impl From<dead_letter::Reason> for Verdict {
    fn from(reason: dead_letter::Reason) -> Self {
        match reason {
            dead_letter::Reason::AttemptsExhausted => Self::For(Reason::AttemptsExhausted),
            dead_letter::Reason::Permanent => Self::For(Reason::Permanent),
            dead_letter::Reason::Expired => Self::For(Reason::Expired),
            dead_letter::Reason::Overflow => Self::For(Reason::Overflow),
            dead_letter::Reason::Skipped => Self::For(Reason::Skipped),
            dead_letter::Reason::MessageMissing => Self::For(Reason::MessageMissing),
            dead_letter::Reason::Canceled => Self::Canceled,
            dead_letter::Reason::Superseded => Self::Superseded,
        }
    }
}

/// What an operator can do about it.
#[derive(Debug, Clone, PartialEq)]
pub enum Remedy {
    /// End the pause of the webhook.
    ResumeWebhook(i64),
    /// Enable the webhook.
    EnableWebhook(i64),
    /// End the pause of the topic of this name.
    ResumeTopic(String),
    /// Switch sending on.
    SwitchSendingOn,
    /// Start a worker, or another one.
    StartWorker,
    /// Try the head of a lane now. A halted lane is released.
    RetryLane {
        /// The webhook.
        webhook_id: i64,
        /// Which of its lanes.
        lane: LaneName,
    },
    /// Raise the webhook's limit of requests a second to this number.
    RaiseRateLimit {
        /// The webhook.
        webhook_id: i64,
        /// Twice what it is, as far as a limit may go.
        per_second: f64,
    },
    /// Raise the webhook's limit of lanes in flight to this number.
    RaiseMaxInFlight {
        /// The webhook.
        webhook_id: i64,
        /// Twice what it is, as far as a limit may go.
        lanes: i32,
    },
    /// Cancel a delivery, to replay it then.
    CancelDelivery {
        /// The webhook.
        webhook_id: i64,
        /// The message.
        message_id: i64,
    },
    /// Replay a dead letter.
    ReplayDeadLetter(i64),
    /// Send the webhook a message that it was not owed.
    ReplayMessage {
        /// The webhook.
        webhook_id: i64,
        /// The message.
        message_id: i64,
    },
}

/// The answer for one webhook.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The webhook's id.
    pub webhook_id: i64,
    /// Its name.
    pub webhook: String,
    /// Where the message stands, and why.
    pub verdict: Verdict,
    /// The same for people: what is in the way, and what follows.
    pub text: String,
    /// The message that must leave the lane first.
    pub blocked_by: Option<i64>,
    /// Since when it stands there, if that is known.
    pub since: Option<Timestamp>,
    /// When it is tried next, if that is known.
    pub next_attempt_at: Option<Timestamp>,
    /// In how many seconds it is tried, if that can be told.
    pub estimate_seconds: Option<i64>,
    /// The worker that holds its lane.
    pub worker: Option<Uuid>,
    /// How many requests were made for it.
    pub attempts: i64,
    /// The HTTP status of the last attempt.
    pub last_status_code: Option<i16>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// What helps.
    pub remedy: Option<Remedy>,
}

/// Why a message is where it is, for each webhook of its topic.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageWhy {
    /// The message.
    pub message_id: i64,
    /// Its topic's name.
    pub topic: String,
    /// Its partition key.
    pub partition_key: String,
    /// When it was published.
    pub created_at: Timestamp,
    /// Whether the topic is ordered. Otherwise each message is a lane of its own.
    pub ordered: bool,
    /// One entry for each webhook, by rising id.
    pub webhooks: Vec<Entry>,
}

/// Why a partition does not move, for each webhook that is owed something of it.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionWhy {
    /// Its topic's name.
    pub topic: String,
    /// Its key.
    pub partition_key: String,
    /// The transaction that publishes to it now, if one does.
    pub publisher: Option<Publisher>,
    /// The entry of the head for each webhook that is owed something, by rising id.
    pub webhooks: Vec<Entry>,
}

/// A transaction that holds the stripe of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publisher {
    /// Its process; `None` for a prepared transaction.
    pub pid: Option<i32>,
    /// Its role.
    pub user: Option<String>,
    /// Its application; for a prepared transaction its gid.
    pub application_name: Option<String>,
    /// When it began, or was prepared.
    pub since: Option<Timestamp>,
}
