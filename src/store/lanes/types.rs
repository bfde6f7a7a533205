//! What is asked of lanes, and what is known of them.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::{batch::Batch, lane::LaneKey, message::Message};

/// How many lanes of one webhook a worker wants.
#[derive(Debug, Clone)]
pub struct Want {
    /// The webhook.
    pub webhook_id: i64,
    /// How many lanes at most.
    pub slots: usize,
    /// Where to begin looking among the due lanes.
    pub due_after: DueAfter,
}

/// How many lanes a worker has room for when it looks at messages that notifications named.
#[derive(Debug, Clone, Default)]
pub struct Room {
    /// How many lanes at most.
    pub lanes: usize,
    /// Webhooks without room for another lane.
    pub full_webhooks: Vec<i64>,
}

/// The lower bound of a look at the due lanes. Without one, each look reads the old row versions
/// that an old snapshot keeps alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueAfter {
    /// Lanes that became due in the last 5 s.
    Recent,
    /// Lanes that became due at this instant or later.
    At(Timestamp),
    /// All due lanes.
    Beginning,
}

impl DueAfter {
    pub(super) fn parameter(self) -> Option<Timestamp> {
        match self {
            Self::Recent => None,
            Self::At(instant) => Some(instant),
            Self::Beginning => Some(Timestamp::UNIX_EPOCH),
        }
    }
}

/// How much one call may read.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimits {
    /// Messages of each lane.
    pub messages_per_lane: i32,
    /// The budget: bytes of payload and headers in all.
    pub payload_bytes: i64,
}

/// A lane that was claimed, with its next messages.
#[derive(Debug)]
pub struct ClaimedLane {
    /// The lane.
    pub key: LaneKey,
    /// Since when it is due.
    pub due_at: Timestamp,
    /// The token of the claim.
    pub token: i64,
    /// Everything up to this message id has left the lane.
    pub position: i64,
    /// Its generation: how often an operator has put something into it or taken something out.
    pub generation: i32,
    /// The messages that `failures` belongs to.
    pub failed: Option<Batch>,
    /// How many attempts of these messages have failed.
    pub failures: i32,
    /// Messages up to this id are sent one by one.
    pub split_until: Option<i64>,
    /// Its next messages.
    pub owed: Owed,
}

/// The result of a look at messages that notifications named.
#[derive(Debug, Default)]
pub struct Looked {
    /// Lanes that were claimed.
    pub claimed: Vec<ClaimedLane>,
    /// Messages of lanes that the worker held before.
    pub followers: Vec<Follower>,
}

/// A message of a lane that the worker held before.
#[derive(Debug)]
pub struct Follower {
    /// The lane.
    pub key: LaneKey,
    /// The token of its claim.
    pub token: i64,
    /// Its generation, as in [`ClaimedLane`].
    pub generation: i32,
    /// The id of the last message before this one that the lane owes. If there is none, the lane's
    /// position.
    pub after: i64,
    /// The message's id.
    pub message_id: i64,
    /// The message; `None` if it is deferred: the budget was used up.
    pub message: Option<Message>,
}

/// A held lane with its next messages.
#[derive(Debug)]
pub struct ReadLane {
    /// The lane.
    pub key: LaneKey,
    /// Reading began after this message id. It is the position that the worker gave; if the
    /// generation has risen since, it is the row's position.
    pub position: i64,
    /// Its generation, as in [`ClaimedLane`].
    pub generation: i32,
    /// Its next messages.
    pub owed: Owed,
}

/// The next messages of a lane, in order.
#[derive(Debug, Default)]
pub struct Owed {
    /// The messages by rising id.
    pub items: Vec<OwedMessage>,
    /// Whether the lane may owe more than was read.
    pub more: bool,
}

/// One message that a lane owes.
#[derive(Debug)]
pub enum OwedMessage {
    /// The message.
    Present(Message),
    /// A delivery whose message was deleted; it becomes a dead letter.
    Missing(i64),
    /// The webhook keeps the latest message, and the lane owes a newer one than this; it becomes a
    /// dead letter.
    Superseded(i64),
}

impl OwedMessage {
    /// The message's id.
    pub fn id(&self) -> i64 {
        match self {
            Self::Present(message) => message.id,
            Self::Missing(id) | Self::Superseded(id) => *id,
        }
    }

    /// The bytes of its payload and headers.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Present(message) => message.bytes(),
            Self::Missing(_) | Self::Superseded(_) => 0,
        }
    }
}

/// A held lane, as the calls that read or remove it need it.
#[derive(Debug, Clone, Copy)]
pub struct HeldLane {
    /// The lane.
    pub key: LaneKey,
    /// The token of its claim.
    pub token: i64,
    /// The id of the last message that was read.
    pub position: i64,
    /// The newest generation that the worker knows.
    pub generation: i32,
}

/// A message that was published lately.
#[derive(Debug, Clone, Copy)]
pub struct LaneNews {
    /// Its id.
    pub message_id: i64,
    /// Its lane. It is the same for every webhook.
    pub lane: i64,
    /// How far two ids that are given out one after the other lie apart; at least 1.
    pub step: i64,
}

/// What happened to an idle lane that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Its row was deleted.
    Removed,
    /// A replay had lowered its position, so it owes messages again. It is still held.
    Rewound,
}

/// A turn to probe a webhook, and the lane that it takes.
#[derive(Debug)]
pub struct TakenProbe {
    /// The lane.
    pub lane: ClaimedLane,
    /// The epoch of the breaker.
    pub epoch: i64,
    /// How many probes have failed since it opened.
    pub failed: u32,
    /// For how long it has been open.
    pub open_for: Duration,
    /// Whether the webhook has no other lane that is not halted.
    pub only_lane: bool,
    /// How long the turn lasts, from when it was asked for.
    pub turn: Duration,
}
