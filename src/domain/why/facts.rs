//! What is known, as the tables show it at one instant.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::{
    dead_letter,
    scope::TopicScope,
    sending::{NotSending, SendingStatus},
    webhook::WebhookState,
};

/// What holds for all webhooks of a topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Situation {
    /// The topic.
    pub topic: TopicFacts,
    /// Whether anything is sent, and by whom.
    pub senders: Senders,
}

impl Situation {
    /// The workers that live and send this topic.
    pub fn live_workers(&self) -> impl Iterator<Item = &WorkerFacts> {
        self.senders.live_workers().filter(|worker| worker.topics.contains(&self.topic.name))
    }
}

/// Whether anything is sent, and by whom.
#[derive(Debug, Clone, PartialEq)]
pub struct Senders {
    /// The instant, by the database's clock.
    pub now: Timestamp,
    /// Why nothing is sent; `None` if messages are sent.
    pub not_sending: Option<NotSending>,
    /// Who has switched sending last, and why.
    pub switched: SendingStatus,
    /// All workers that are registered.
    pub workers: Vec<WorkerFacts>,
}

impl Senders {
    /// The workers that live.
    pub fn live_workers(&self) -> impl Iterator<Item = &WorkerFacts> {
        self.workers.iter().filter(|worker| worker.is_live(self.now))
    }
}

/// A topic.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicFacts {
    /// Its name.
    pub name: String,
    /// Whether its messages have an order.
    pub ordered: bool,
    /// Whether nothing of it is claimed.
    pub held: bool,
    /// When it was held, and by whom.
    pub held_by: Option<Change>,
}

/// A change of state in the audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
}

/// A registered worker.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerFacts {
    /// The id of its incarnation.
    pub id: Uuid,
    /// For people: host and process.
    pub name: String,
    /// Requests in flight, as of its last heartbeat.
    pub in_flight: i32,
    /// How many it may have in flight.
    pub capacity: i32,
    /// Whether it was taken for dead or hung already, or has stopped.
    pub gone: bool,
    /// Whether its session holds its lock.
    pub has_session: bool,
    /// When it last wrote its row.
    pub heartbeat_at: Timestamp,
    /// How long that may stand still.
    pub lease: Duration,
    /// The topics that it sends.
    pub topics: TopicScope,
}

impl WorkerFacts {
    /// Whether it may send.
    pub(super) fn is_live(&self, now: Timestamp) -> bool {
        !self.gone && self.has_session && !self.is_silent(now)
    }

    /// Whether its heartbeat stands still.
    pub(super) fn is_silent(&self, now: Timestamp) -> bool {
        let age = now.duration_since(self.heartbeat_at);
        u128::try_from(age.as_millis()).is_ok_and(|age| age >= self.lease.as_millis())
    }
}

/// A message and a webhook of its topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscription {
    /// The message.
    pub message: MessageFacts,
    /// The webhook.
    pub webhook: WebhookFacts,
    /// Whether the message is owed.
    pub owed: bool,
    /// When a replay put it there.
    pub replayed_at: Option<Timestamp>,
    /// Its lane, if that has a row.
    pub lane: Option<LaneFacts>,
    /// Its dead letter.
    pub dead_letter: Option<DeadLetterFacts>,
    /// What the attempt log knows of it.
    pub log: LogFacts,
}

/// A message.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageFacts {
    /// Its id.
    pub id: i64,
    /// Its partition key.
    pub partition_key: String,
    /// When it was published; `None` if it was deleted.
    pub created_at: Option<Timestamp>,
}

/// A webhook, and what it says to the message.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookFacts {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Whether its lanes may be claimed yet.
    pub state: WebhookState,
    /// Whether it is paused.
    pub paused: bool,
    /// Why it was disabled; `None` while it is enabled.
    pub disabled_reason: Option<String>,
    /// Until when its receiver has asked for nothing to be sent; `None` if that is over.
    pub hold_until: Option<Timestamp>,
    /// When it was paused or disabled, and by whom.
    pub changed: Option<Change>,
    /// When it was created.
    pub created_at: Timestamp,
    /// The unfinished job that fills it, and what that job waits for.
    pub backfill: Option<(i64, Option<String>)>,
    /// How many lanes each worker may have in flight.
    pub max_in_flight: Option<i32>,
    /// How many requests a second each worker may send.
    pub rate_limit_per_second: Option<f64>,
    /// Whether its types, as they are now, name the message's type.
    pub types_match: bool,
    /// Whether its filter, as it is now, lets the message through.
    pub filter_matches: bool,
    /// How many of its lanes are claimed and owe something.
    pub in_flight: i64,
}

/// The row of a lane.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneFacts {
    /// From when on it may be claimed; `None`: never.
    pub due_at: Option<Timestamp>,
    /// Whether an operator must act.
    pub halted: bool,
    /// When it was halted.
    pub halted_at: Option<Timestamp>,
    /// Failed attempts of the message that follows.
    pub failures: i32,
    /// The message that failures, error and halt belong to.
    pub head_message_id: Option<i64>,
    /// The last message of the batch that failed.
    pub batch_last: Option<i64>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// The HTTP status of the last attempt.
    pub last_status_code: Option<i16>,
    /// The worker that holds it.
    pub claimed_by: Option<Uuid>,
    /// When it was claimed last.
    pub claimed_at: Option<Timestamp>,
    /// The first message that it owes.
    pub head: Option<i64>,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetterFacts {
    /// Its id.
    pub id: i64,
    /// Why it was given up.
    pub reason: dead_letter::Reason,
    /// How many attempts were made.
    pub attempts: i32,
    /// When it was given up.
    pub at: Timestamp,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// The HTTP status of the last attempt.
    pub status_code: Option<i16>,
}

/// What the attempt log knows of a delivery.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogFacts {
    /// How many attempts.
    pub attempts: i64,
    /// When the last accepted one began, and when it ended.
    pub accepted: Option<(Timestamp, Timestamp)>,
    /// When the last one began.
    pub last_at: Option<Timestamp>,
    /// The HTTP status of the last one.
    pub last_status_code: Option<i16>,
    /// Why the last one failed.
    pub last_error: Option<String>,
}
