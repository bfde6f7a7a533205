//! A dead letter: a delivery that used up its attempts.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::new_topic::TopicRef;

/// A dead letter in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct DeadLetter {
    /// Its id.
    pub id: i64,
    /// The webhook that did not take it.
    pub webhook_id: i64,
    /// The topic's name.
    pub topic: String,
    /// The message.
    pub message_id: i64,
    /// The message's partition key; null where the message is gone.
    pub partition_key: Option<String>,
    /// `attempts_exhausted` or `message_missing`.
    pub reason: String,
    /// Attempts that were made.
    pub attempts: i32,
    /// Why the last of them failed.
    pub last_error: Option<String>,
    /// When it was given up.
    pub created_at: Timestamp,
}

/// A dead letter with what it would have said.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct DeadLetterDetail {
    /// The dead letter.
    #[serde(flatten)]
    pub dead_letter: DeadLetter,
    /// The message's payload, byte for byte; null where the message is gone.
    #[schema(value_type = serde_json::Value)]
    pub payload: Option<Box<RawValue>>,
    /// The message's own headers.
    #[schema(value_type = Option<std::collections::BTreeMap<String, String>>)]
    pub headers: Option<Box<RawValue>>,
}

/// Which dead letters are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Only those of this topic.
    pub topic: Option<TopicRef>,
    /// Only those of this webhook.
    pub webhook_id: Option<i64>,
}
