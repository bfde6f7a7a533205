//! A dead letter: a delivery that was given up.

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::{topic::TopicRef, words::stored_words};

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

/// A dead letter in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its id.
    pub id: i64,
    /// The webhook that it was owed to.
    pub webhook_id: i64,
    /// The topic's name.
    pub topic: String,
    /// The id of the message.
    pub message_id: i64,
    /// The partition key. A copy stands in the dead letter, so the key stays if the message is
    /// deleted.
    pub partition_key: String,
    /// Why it was given up.
    pub reason: Reason,
    /// How many attempts were made.
    pub attempts: i32,
    /// Why the last attempt failed, or that the message was deleted.
    pub last_error: Option<String>,
    /// When it was given up.
    pub created_at: Timestamp,
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

/// Which dead letters to list. A field that is `None` excludes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Only dead letters of this topic.
    pub topic: Option<TopicRef>,
    /// Only dead letters of this webhook.
    pub webhook_id: Option<i64>,
}
