//! A lane: one partition of one webhook, the unit of ordering, of claiming and of retry.

use jiff::Timestamp;
use uuid::Uuid;

use super::{
    attempt::ErrorClass,
    key::{PARTITION_KEY_MAX, check_key},
    violation::Violations,
    words::stored_words,
};

/// The key of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneKey {
    /// The id of the webhook.
    pub webhook_id: i64,
    /// `hashtextextended(partition_key, topic_id)`; the message's id if the topic is unordered.
    pub lane: i64,
}

stored_words! {
    /// The state of a lane.
    pub enum LaneState {
        /// It may be claimed.
        Ready = "ready",
        /// A worker holds it.
        Claimed = "claimed",
        /// It is due later: an attempt failed, for example.
        Waiting = "waiting",
        /// It is not sent until an operator releases it.
        Halted = "halted",
    }
}

/// The first message that a lane owes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneHead {
    /// Its id.
    pub message_id: i64,
    /// Its type.
    pub message_type: Option<String>,
    /// When it was published; `None` if it was deleted.
    pub created_at: Option<Timestamp>,
}

/// A lane, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Its key.
    pub key: LaneKey,
    /// The webhook's name.
    pub webhook: String,
    /// The topic's name.
    pub topic: String,
    /// The partition key.
    pub partition_key: String,
    /// On an unordered topic: the message that names the lane.
    pub message_id: Option<i64>,
    /// Its state.
    pub state: LaneState,
    /// The first message that it owes; `None` if it owes nothing any more.
    pub head: Option<LaneHead>,
    /// How many messages it owes; where counting stopped if `owed_capped`.
    pub owed: i64,
    /// Whether it owes more than `owed`.
    pub owed_capped: bool,
    /// Failed attempts of the head.
    pub failures: i32,
    /// The HTTP status of the last of them, if an answer came.
    pub last_status_code: Option<i16>,
    /// The kind of the last failure.
    pub last_error_class: Option<ErrorClass>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// From when on it may be claimed; `None` if it is halted.
    pub due_at: Option<Timestamp>,
    /// The incarnation of the worker that holds it.
    pub worker: Option<Uuid>,
}

impl Lane {
    /// What names it.
    pub fn name(&self) -> LaneName {
        let partition_key = self.message_id.is_none().then(|| self.partition_key.clone());
        LaneName { partition_key, message_id: self.message_id }
    }
}

/// Which lanes of a webhook to list. A field that is `None` excludes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LaneFilter {
    /// Only lanes in this state.
    pub state: Option<LaneState>,
    /// Only the lane of this partition; on an unordered topic, the lanes.
    pub partition_key: Option<String>,
}

impl LaneFilter {
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

/// What names one lane of a webhook: its partition key, or on an unordered topic its message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LaneName {
    /// The partition key.
    pub partition_key: Option<String>,
    /// The message.
    pub message_id: Option<i64>,
}

impl LaneName {
    /// The lane of a message. `ordered`: whether its topic is. Otherwise the message is its own lane.
    pub fn of_message(ordered: bool, partition_key: &str, message_id: i64) -> Self {
        Self {
            partition_key: ordered.then(|| partition_key.to_owned()),
            message_id: (!ordered).then_some(message_id),
        }
    }
}

/// Which lanes of a webhook are to be tried again now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LaneRetry {
    /// Only this lane.
    pub lane: LaneName,
    /// Only lanes in this state: waiting or halted.
    pub state: Option<LaneState>,
    /// All that wait or are halted.
    pub all: bool,
}

impl LaneRetry {
    /// Whether it names no lanes at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Checks key and state.
    ///
    /// # Errors
    /// Every broken rule.
    pub fn check(&self) -> Result<(), Violations> {
        let mut violations = Violations::default();
        check_key(self.lane.partition_key.as_deref(), "partition_key", PARTITION_KEY_MAX, &mut violations);
        let held_up = matches!(self.state, None | Some(LaneState::Waiting | LaneState::Halted));
        violations.require(held_up, "state", "must be waiting or halted: other lanes are sent already");
        violations.finish()
    }
}

/// A lane that was looked up by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundLane {
    /// Whether the topic is ordered. Then lanes are named by partition keys.
    pub is_ordered: bool,
    /// Its number; `None` if it was not named by what names lanes there.
    pub lane: Option<i64>,
    /// Its partition key; `None` if it owes nothing.
    pub partition_key: Option<String>,
}
