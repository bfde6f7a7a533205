//! A job: a long operation that the leader does in bounded steps.

use jiff::Timestamp;

use super::{
    policy::{RATE_LIMIT_PER_SECOND, check_range},
    range::MessageRange,
    violation::Violations,
    words::stored_words,
};

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

impl JobState {
    /// Whether the job has ended.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled)
    }
}

/// A job as operators see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its id.
    pub id: i64,
    /// What it does.
    pub kind: JobKind,
    /// How far it is.
    pub state: JobState,
    /// The webhook that it is about, if it is about one.
    pub webhook_id: Option<i64>,
    /// The name of the topic that it is about, if it is about one that is still there.
    pub topic: Option<String>,
    /// What it was asked to do: a JSON object, as in the request.
    pub filter: String,
    /// How many messages or rows it was to deal with, counted when it was made; `None` if unknown.
    pub total: Option<i64>,
    /// Whether there may be more than `total` says.
    pub total_capped: bool,
    /// How many it has dealt with.
    pub done: i64,
    /// How many were left out because they were still owed.
    pub already_owed: i64,
    /// How many were left out because they were gone.
    pub gone: i64,
    /// How many were left out by the types and the filter of the webhook.
    pub filtered: i64,
    /// How many it has dealt with a second, since it began; `None` before that.
    pub rate_per_second: Option<f64>,
    /// How many it may deal with a second; `None` is no limit.
    pub rate_limit_per_second: Option<f64>,
    /// Why it has failed.
    pub error: Option<String>,
    /// What its next step waits for.
    pub waits_for: Option<String>,
    /// Who asked for it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When its last step was written.
    pub updated_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// A job to be made.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// What it does.
    pub kind: JobKind,
    /// The topic that it is about.
    pub topic_id: Option<i64>,
    /// The webhook that it is about.
    pub webhook_id: Option<i64>,
    /// What it is asked to do: a JSON object, as in the request.
    pub filter: String,
    /// Which messages it is about.
    pub range: MessageRange,
    /// What it will deal with, if that is known.
    pub matches: Option<Matches>,
    /// How many it may deal with a second; `None` is no limit.
    pub rate_limit_per_second: Option<f64>,
    /// Who asks for it.
    pub created_by: String,
}

/// What a job would deal with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matches {
    /// How many messages or dead letters.
    pub matches: i64,
    /// Whether there are more than `matches` says.
    pub capped: bool,
    /// In how many lanes.
    pub lanes: i64,
    /// How many of these lanes are halted.
    pub halted_lanes: i64,
    /// Some of their ids.
    pub sample_ids: Vec<i64>,
}

/// Which jobs to list. A field that is `None` excludes nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only jobs of this kind.
    pub kind: Option<JobKind>,
    /// Only jobs in this state.
    pub state: Option<JobState>,
    /// Only jobs about this webhook.
    pub webhook_id: Option<i64>,
}

/// What a bulk request asks for beside its filter.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BulkOptions {
    /// Whether it means everything, if its filter names nothing.
    pub all: bool,
    /// Whether to count only.
    pub dry_run: bool,
    /// How many to deal with a second; 0.001 to 1000000. `None` is no limit.
    pub rate_per_second: Option<f64>,
}

impl BulkOptions {
    /// Adds a violation for each broken rule.
    pub fn check(&self, violations: &mut Violations) {
        check_range("rate_per_second", self.rate_per_second, &RATE_LIMIT_PER_SECOND, violations);
    }
}
