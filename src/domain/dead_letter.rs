//! A dead letter: a delivery that was given up.

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::topic::TopicRef;

/// Why a delivery was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It used up its attempts.
    AttemptsExhausted,
    /// Its message was deleted before it was delivered.
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

    /// The reason of a stored word; `None` if the word is unknown.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
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
