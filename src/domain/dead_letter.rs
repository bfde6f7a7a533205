//! A dead letter: a delivery that was given up.

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::{
    attempt::ErrorClass,
    key::{PARTITION_KEY_MAX, TYPE_MAX, check_key},
    policy::check_range,
    topic::TopicRef,
    violation::Violations,
    words::stored_words,
};

stored_words! {
    /// Why a delivery was given up.
    pub enum Reason {
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
        /// Its message was deleted before it was delivered.
        MessageMissing = "message_missing",
        /// An operator canceled it.
        Canceled = "canceled",
        /// A later message of its lane took its place.
        Superseded = "superseded",
    }
}

impl Reason {
    /// Whether lists and counts leave it out unless a filter names it: nobody has failed to get it.
    pub fn is_left_out(self) -> bool {
        matches!(self, Self::Canceled | Self::Superseded)
    }
}

/// A dead letter in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its id.
    pub id: i64,
    /// The webhook that it was owed to.
    pub webhook_id: i64,
    /// The webhook's name.
    pub webhook: String,
    /// The topic's name.
    pub topic: String,
    /// The id of the message.
    pub message_id: i64,
    /// The partition key. Key and type are copies, so they stay if the message is deleted.
    pub partition_key: String,
    /// The message's type.
    pub message_type: Option<String>,
    /// Why it was given up.
    pub reason: Reason,
    /// How many attempts were made.
    pub attempts: i32,
    /// The kind of the last failure; `None` if there was none.
    pub error_class: Option<ErrorClass>,
    /// The HTTP status of the last attempt, if an answer came.
    pub status_code: Option<i16>,
    /// Why the last attempt failed, or that the message was deleted.
    pub last_error: Option<String>,
    /// When it was given up.
    pub created_at: Timestamp,
    /// Whether its message was deleted. Then it cannot be replayed.
    pub message_gone: bool,
}

/// A dead letter with the payload and the headers of its message.
#[derive(Debug, Clone)]
pub struct DeadLetterDetail {
    /// The dead letter.
    pub dead_letter: DeadLetter,
    /// The message's payload, byte for byte; `None` if the message was deleted.
    pub payload: Option<Box<RawValue>>,
    /// The message's own headers; `None` if it has none, or was deleted.
    pub headers: Option<Box<RawValue>>,
}

/// Dead letters of one webhook, one reason and one hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterGroup {
    /// The webhook that they were owed to.
    pub webhook_id: i64,
    /// The webhook's name.
    pub webhook: String,
    /// The topic's name.
    pub topic: String,
    /// Why they were given up.
    pub reason: Reason,
    /// The kind of their last failure.
    pub error_class: Option<ErrorClass>,
    /// The HTTP status of their last attempt.
    pub status_code: Option<i16>,
    /// The hour in which they were given up.
    pub hour: Timestamp,
    /// How many they are.
    pub count: i64,
    /// When the first of them was given up.
    pub first_at: Timestamp,
    /// When the last of them was given up.
    pub last_at: Timestamp,
    /// The newest of them.
    pub sample_id: i64,
    /// Its error.
    pub sample_error: Option<String>,
    /// Whether the webhook may have older dead letters that were not looked at.
    pub capped: bool,
}

/// How many dead letters of each webhook the groups look at.
pub const GROUPED_MAX: i64 = 10_000;

/// Which dead letters are meant: by lists, counts, groups, and bulk requests. A field that is
/// `None` excludes nothing. But without `reason`, those that were canceled or superseded are left
/// out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Only dead letters of this topic.
    pub topic: Option<TopicRef>,
    /// Only dead letters of this webhook.
    pub webhook_id: Option<i64>,
    /// Only dead letters of this partition.
    pub partition_key: Option<String>,
    /// Only dead letters of messages of this type.
    pub message_type: Option<String>,
    /// Only dead letters with this reason.
    pub reason: Option<Reason>,
    /// Only dead letters whose last attempt failed in this way.
    pub error_class: Option<ErrorClass>,
    /// Only dead letters whose last attempt was answered with this HTTP status.
    pub status_code: Option<i64>,
    /// Only dead letters that were given up at this time or later.
    pub since: Option<Timestamp>,
    /// Only dead letters that were given up before this time.
    pub until: Option<Timestamp>,
}

/// The HTTP statuses that a filter may name.
pub const STATUS_CODE: std::ops::RangeInclusive<i64> = 100..=999;

impl DeadLetterFilter {
    /// Whether it names nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Checks key, type and status.
    ///
    /// # Errors
    /// Every broken rule.
    pub fn check(&self) -> Result<(), Violations> {
        let mut violations = Violations::default();
        check_key(self.partition_key.as_deref(), "partition_key", PARTITION_KEY_MAX, &mut violations);
        check_key(self.message_type.as_deref(), "type", TYPE_MAX, &mut violations);
        check_range("status_code", self.status_code, &STATUS_CODE, &mut violations);
        violations.finish()
    }
}
