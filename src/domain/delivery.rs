//! A delivery: one message owed to one webhook, as its operators see it.

use jiff::Timestamp;

use super::attempt::{ErrorClass, Outcome};

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// Owed: next in its lane without a failure yet, or waiting behind others.
    Pending,
    /// Owed, and the head of a lane that has failed at least once.
    Retrying,
    /// Owed, in a lane that an operator must start again.
    Halted,
    /// Accepted by the receiver.
    Delivered,
    /// In the dead letters.
    Dead,
}

impl DeliveryStatus {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Retrying, Self::Halted, Self::Delivered, Self::Dead];

    /// The word in the API and in `sql/deliveries/`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Retrying => "retrying",
            Self::Halted => "halted",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }

    /// The status that a word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// One message and what one webhook made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The message.
    pub message_id: i64,
    /// Its partition key.
    pub partition_key: String,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// Requests made for it.
    pub attempts: i64,
    /// The HTTP status of the last of them, where an answer came.
    pub last_status_code: Option<i16>,
    /// Why the last of them failed.
    pub last_error: Option<String>,
    /// When it is tried next, if it is the head of its lane and not in flight.
    pub next_attempt_at: Option<Timestamp>,
    /// When the message was published.
    pub created_at: Timestamp,
    /// When it was accepted or became a dead letter.
    pub settled_at: Option<Timestamp>,
}

/// One webhook and what it made of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageDelivery {
    /// The webhook.
    pub webhook_id: i64,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// Requests made for it.
    pub attempts: i64,
}

/// Which deliveries of a webhook are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Only those that stand here.
    pub status: Option<DeliveryStatus>,
    /// Only those of this partition.
    pub partition_key: Option<String>,
}

/// A request that was made, from the log.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptRecord {
    /// 1 is the first.
    pub attempt: i32,
    /// How it ended.
    pub outcome: Outcome,
    /// The HTTP status, where an answer came.
    pub status_code: Option<i16>,
    /// The kind of failure; null where it was accepted.
    pub error_class: Option<ErrorClass>,
    /// Why it failed.
    pub error: Option<String>,
    /// From the start of the request to the end of the answer.
    pub duration_ms: f64,
    /// The first 2 KiB of the answer to a failed attempt.
    pub response_excerpt: Option<String>,
    /// The worker that made it.
    pub worker_id: uuid::Uuid,
    /// When it was made.
    pub attempted_at: Timestamp,
}
