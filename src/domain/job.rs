//! A job: a long operation that the leader does in bounded steps.

use super::words::stored_words;

stored_words! {
    /// What a job does.
    pub enum JobKind {
        /// Delivers messages of a range once more.
        Replay = "replay",
        /// Delivers dead letters once more.
        DeadLetterReplay = "dead_letter_replay",
        /// Deletes dead letters.
        DeadLetterDiscard = "dead_letter_discard",
        /// Cancels deliveries that are owed.
        Cancel = "cancel",
        /// Makes earlier messages owed to a new webhook.
        Backfill = "backfill",
        /// Deletes what is past its retention.
        Purge = "purge",
        /// Makes lanes due at once.
        LanesRetry = "lanes_retry",
    }
}

stored_words! {
    /// How far a job is.
    pub enum JobState {
        /// It was not begun.
        Queued = "queued",
        /// The leader works on it.
        Running = "running",
        /// It is to end after the step that is under way.
        Canceling = "canceling",
        /// It has done everything.
        Succeeded = "succeeded",
        /// It has ended early; its error says why.
        Failed = "failed",
        /// It was canceled; what was done before stays done.
        Canceled = "canceled",
    }
}
