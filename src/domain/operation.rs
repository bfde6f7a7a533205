//! What became of a delivery or a dead letter that an operator has acted on.

use jiff::Timestamp;
use uuid::Uuid;

use super::words::stored_words;

stored_words! {
    /// What became of a replay.
    pub enum ReplayOutcome {
        /// The message is owed once more.
        Replayed = "owed",
        /// It is owed already. Nothing has changed.
        AlreadyOwed = "already_owed",
        /// It was deleted. Nothing has changed.
        MessageGone = "message_gone",
        /// The webhook was deleted.
        WebhookGone = "webhook_gone",
        /// There is no such dead letter any more.
        Absent = "absent",
        /// Somebody publishes to the partition, or changes what it owes: try again later.
        StripeTaken = "stripe_taken",
        /// Somebody has locked a row that is needed: try again later.
        RowLocked = "row_locked",
    }
}

stored_words! {
    /// What became of a dead letter that was to be discarded.
    pub enum DiscardOutcome {
        /// It is gone now.
        Discarded = "discarded",
        /// There was no such dead letter any more.
        Absent = "absent",
        /// Somebody replays or discards it now: try again later.
        RowLocked = "row_locked",
    }
}

/// Why deliveries are taken out of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// They are canceled.
    Cancel,
    /// The head of the lane is skipped.
    Skip,
}

/// What became of a delivery that was to be canceled or skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelOutcome {
    /// It is a dead letter now.
    Removed {
        /// The dead letter.
        dead_letter_id: i64,
    },
    /// The webhook is not owed the message.
    NotOwed,
    /// It is the head of a lane that a worker holds: it may be on its way.
    InFlight {
        /// The worker's incarnation.
        worker: Uuid,
        /// Since when the worker holds the lane.
        since: Option<Timestamp>,
    },
    /// It is not the head of its lane, and only the head can be skipped.
    NotHead {
        /// The head.
        head: Option<i64>,
    },
    /// Somebody publishes to the partition, or changes what it owes: try again later.
    StripeTaken,
    /// Somebody has locked a row that is needed: try again later.
    RowLocked,
}

/// Who holds a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StripeHolder {
    /// The process id of its session; `None` if it is a prepared transaction.
    pub pid: Option<i32>,
    /// The application that the session names.
    pub application_name: Option<String>,
    /// Since when its transaction runs.
    pub since: Option<Timestamp>,
}
