//! The history of a lane: what it owes and has sent, and what has changed for it.

use jiff::Timestamp;

use super::{
    change::ChangeKind, dead_letter, delivery::AttemptRecord, lane::Lane, webhook_ref::WebhookNames,
};

/// The most owed messages in a history. Those that come first are in it.
pub const OWED_SHOWN: i64 = 14;
/// The most other messages in a history: the newest.
pub const OTHERS_SHOWN: i64 = 14;
/// The most attempts of one message in a history: the newest.
pub const ATTEMPTS_SHOWN: i64 = 30;
/// The most changes in a history: the newest.
pub const CHANGES_SHOWN: i64 = 50;

/// A message of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneMessage {
    /// Its id.
    pub message_id: i64,
    /// When it was published; `None` if it was deleted.
    pub created_at: Option<Timestamp>,
    /// Whether the lane owes it.
    pub owed: bool,
    /// When a replay made it owed once more.
    pub replayed_at: Option<Timestamp>,
    /// Why and when it was given up, if it is a dead letter.
    pub given_up: Option<(dead_letter::Reason, Timestamp)>,
}

/// A change of a lane, of its webhook or of its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneChange {
    /// What has changed.
    pub kind: ChangeKind,
    /// Why.
    pub reason: Option<String>,
    /// Who did it.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// The history of a lane.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneHistory {
    /// The webhook.
    pub webhook: WebhookNames,
    /// The lane; `None` if it owes nothing and nobody holds it.
    pub lane: Option<Lane>,
    /// The first messages that it owes, and the newest others that are found; by rising id.
    pub messages: Vec<LaneMessage>,
    /// Their attempts with the message of each, oldest first.
    pub attempts: Vec<(i64, AttemptRecord)>,
    /// What has changed, oldest first.
    pub changes: Vec<LaneChange>,
}
