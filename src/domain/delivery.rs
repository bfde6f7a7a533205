//! A delivery: one message owed to one webhook, as operators see it. They still see it after it was
//! accepted or given up.

use jiff::Timestamp;

use super::{
    attempt::{ErrorClass, Outcome},
    key::{PARTITION_KEY_MAX, check_key},
    violation::Violations,
};

/// The status of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// Owed. It is the head of its lane and no attempt failed yet, or it waits behind the head.
    Pending,
    /// Owed. It is the head of its lane, or in the batch at its head, and at least one attempt
    /// failed.
    Retrying,
    /// Owed. Its lane is halted until an operator restarts it.
    Halted,
    /// Accepted by the receiver, as the attempt log says. The log keeps attempts for 30 days. After
    /// that the delivery is not shown any more.
    Delivered,
    /// A dead letter.
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

    /// The status of a word; `None` if the word is unknown.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// The delivery of one message to one webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The id of the message.
    pub message_id: i64,
    /// Its partition key.
    pub partition_key: String,
    /// Its status.
    pub status: DeliveryStatus,
    /// How many requests were made for it, as the dead letter or the attempt log says.
    pub attempts: i64,
    /// The HTTP status of the last attempt, if an answer came.
    pub last_status_code: Option<i16>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// When it is tried next. `None` unless it is the head of its lane, and the lane is neither
    /// claimed nor halted.
    pub next_attempt_at: Option<Timestamp>,
    /// When the message was published.
    pub created_at: Timestamp,
    /// When it was accepted or became a dead letter; `None` while it is owed.
    pub settled_at: Option<Timestamp>,
}

/// The delivery of a message to one webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageDelivery {
    /// The id of the webhook.
    pub webhook_id: i64,
    /// Its status.
    pub status: DeliveryStatus,
    /// How many requests were made for it, as the dead letter or the attempt log says.
    pub attempts: i64,
}

/// Which deliveries of a webhook to list. A field that is `None` excludes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Only deliveries with this status.
    pub status: Option<DeliveryStatus>,
    /// Only deliveries of this partition.
    pub partition_key: Option<String>,
}

impl DeliveryFilter {
    /// Checks the partition key.
    ///
    /// # Errors
    /// Every broken rule.
    pub fn check(&self) -> Result<(), Violations> {
        let mut violations = Violations::default();
        check_key(self.partition_key.as_deref(), "partition_key", PARTITION_KEY_MAX, &mut violations);
        violations.finish()
    }
}

/// An attempt, as the attempt log holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptRecord {
    /// Its number; 1 is the first.
    pub attempt: i32,
    /// The first and the last message of the request; `None` if it carried one.
    pub batch: Option<(i64, i64)>,
    /// How it ended.
    pub outcome: Outcome,
    /// The HTTP status, if an answer came.
    pub status_code: Option<i16>,
    /// The kind of failure; `None` if it was accepted.
    pub error_class: Option<ErrorClass>,
    /// Why it failed; `None` if it was accepted.
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// The first 2 KiB of the answer's body, if the attempt failed.
    pub response_excerpt: Option<String>,
    /// The incarnation of the worker that made it.
    pub worker_id: uuid::Uuid,
    /// When it began.
    pub attempted_at: Timestamp,
    /// Whether it only asked whether a failing receiver answers again.
    pub probe: bool,
    /// Whether the request carried replays.
    pub replay: bool,
}
