//! A delivery: one message owed to one webhook, as operators see it. They still see it after it was
//! accepted or given up.

use jiff::Timestamp;

use super::{
    attempt::{ErrorClass, Outcome},
    key::{PARTITION_KEY_MAX, TYPE_MAX, check_key},
    topic::TopicRef,
    violation::Violations,
    words::stored_words,
};

stored_words! {
    /// The status of a delivery.
    pub enum DeliveryStatus {
        /// Owed. It waits behind the head of its lane, or it is the head and no attempt has failed
        /// yet.
        Pending = "pending",
        /// Owed. It is the head of a lane that a worker holds.
        InFlight = "in_flight",
        /// Owed. It is the head of its lane, or in the batch at its head, and at least one attempt
        /// failed.
        Retrying = "retrying",
        /// Owed. Its lane is halted until an operator releases it.
        Halted = "halted",
        /// Accepted by the receiver, as the attempt log says. The log keeps attempts for 30 days.
        /// After that the delivery is not shown any more.
        Delivered = "delivered",
        /// A dead letter.
        Dead = "dead",
        /// An operator canceled it. It can be replayed.
        Canceled = "canceled",
        /// A later message of its lane took its place. It can be replayed.
        Superseded = "superseded",
    }
}

impl DeliveryStatus {
    /// Whether the message is still owed.
    pub fn is_owed(self) -> bool {
        matches!(self, Self::Pending | Self::InFlight | Self::Retrying | Self::Halted)
    }
}

/// The delivery of one message to one webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The id of the webhook.
    pub webhook_id: i64,
    /// The webhook's name.
    pub webhook: String,
    /// The topic's name.
    pub topic: String,
    /// The id of the message.
    pub message_id: i64,
    /// Its partition key.
    pub partition_key: String,
    /// Its type.
    pub message_type: Option<String>,
    /// Its status.
    pub status: DeliveryStatus,
    /// How many requests were made for it, as the dead letter or the attempt log says.
    pub attempts: i64,
    /// The HTTP status of the last attempt, if an answer came.
    pub last_status_code: Option<i16>,
    /// The kind of failure of the last attempt.
    pub last_error_class: Option<ErrorClass>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// When it is tried next. `None` unless it is the head of its lane, and the lane is neither
    /// claimed nor halted.
    pub next_attempt_at: Option<Timestamp>,
    /// When the message was published.
    pub created_at: Timestamp,
    /// When it was accepted or became a dead letter; `None` while it is owed.
    pub settled_at: Option<Timestamp>,
    /// When a replay made it owed once more; `None` if none did, or if it is not owed any more.
    pub replayed_at: Option<Timestamp>,
}

impl Delivery {
    /// This delivery as a replay leaves it: owed, and not tried yet.
    #[must_use]
    pub fn owed_again(self) -> Self {
        Self {
            status: DeliveryStatus::Pending,
            attempts: 0,
            last_status_code: None,
            last_error_class: None,
            last_error: None,
            next_attempt_at: None,
            settled_at: None,
            ..self
        }
    }
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

/// Which deliveries to list. A field that is `None` excludes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Only deliveries with this status.
    pub status: Option<DeliveryStatus>,
    /// Only deliveries of this partition.
    pub partition_key: Option<String>,
    /// Only deliveries of messages of this type.
    pub message_type: Option<String>,
    /// Only deliveries of this topic.
    pub topic: Option<TopicRef>,
}

impl DeliveryFilter {
    /// Checks the partition key and the type.
    ///
    /// # Errors
    /// Every broken rule.
    pub fn check(&self) -> Result<(), Violations> {
        let mut violations = Violations::default();
        check_key(self.partition_key.as_deref(), "partition_key", PARTITION_KEY_MAX, &mut violations);
        check_key(self.message_type.as_deref(), "type", TYPE_MAX, &mut violations);
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
    /// For how many seconds the answer asked to wait (`Retry-After`).
    pub retry_after_seconds: Option<i32>,
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
