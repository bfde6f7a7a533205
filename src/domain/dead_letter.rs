//! A dead letter: a delivery that used up its attempts.

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::topic::TopicRef;

/// Why a delivery was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It used up its attempts.
    AttemptsExhausted,
    /// Its message is gone.
    MessageMissing,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::AttemptsExhausted, Self::MessageMissing];

    /// The word stored in `dead_letters.reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::MessageMissing => "message_missing",
        }
    }

    /// The reason that a stored word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

/// A dead letter in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Why it was given up.
    pub reason: Reason,
    /// Attempts that were made.
    pub attempts: i32,
    /// Why the last of them failed.
    pub last_error: Option<String>,
    /// When it was given up.
    pub created_at: Timestamp,
}

/// A dead letter with what it would have said.
#[derive(Debug, Clone)]
pub struct DeadLetterDetail {
    /// The dead letter.
    pub dead_letter: DeadLetter,
    /// The message's payload, byte for byte; null where the message is gone.
    pub payload: Option<Box<RawValue>>,
    /// The message's own headers.
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
