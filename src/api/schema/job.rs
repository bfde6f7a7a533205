//! The bodies and queries of jobs.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{PageQuery, number::query_integer};
use crate::domain::job;

words! {
    /// What a job does.
    #[serde(rename_all = "snake_case")]
    JobKind of job::JobKind {
        /// Delivers messages of a range once more.
        Replay,
        /// Delivers dead letters once more.
        DeadLetterReplay,
        /// Deletes dead letters.
        DeadLetterDiscard,
        /// Cancels deliveries that are owed.
        Cancel,
        /// Makes earlier messages owed to a new webhook.
        Backfill,
        /// Deletes what is past its retention.
        Purge,
        /// Makes lanes due at once.
        LanesRetry,
    }
}

words! {
    /// How far a job is.
    #[serde(rename_all = "snake_case")]
    JobState of job::JobState {
        /// It was not begun.
        Queued,
        /// The leader works on it.
        Running,
        /// It is to end after the step that is under way.
        Canceling,
        /// It has done everything.
        Succeeded,
        /// It has ended early; its error says why.
        Failed,
        /// It was canceled; what was done before stays done.
        Canceled,
    }
}

/// Which jobs to list, and which page.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobsQuery {
    /// Only jobs of this kind.
    kind: Option<JobKind>,
    /// Only jobs in this state.
    state: Option<JobState>,
    /// Only jobs about this webhook.
    #[serde(default, deserialize_with = "query_integer")]
    webhook_id: Option<i64>,
    /// The most items on the page, 1 to 1000; 100 unless given.
    #[serde(default, deserialize_with = "query_integer")]
    limit: Option<i64>,
    /// `next` of the previous page.
    #[serde(default)]
    after: Option<String>,
}

impl JobsQuery {
    /// The filter, and the page.
    pub(crate) fn into_parts(self) -> (job::JobFilter, PageQuery) {
        let Self { kind, state, webhook_id, limit, after } = self;
        let filter = job::JobFilter { kind: kind.map(Into::into), state: state.map(Into::into), webhook_id };
        (filter, PageQuery { limit, after })
    }
}

/// What a job has left out.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Skipped {
    /// How many were still owed.
    already_owed: i64,
    /// How many were gone.
    gone: i64,
    /// How many the types and the filter of the webhook keep out.
    filtered: i64,
}

/// A long operation, which the leader does in steps.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Job {
    /// Its id.
    id: i64,
    /// What it does.
    kind: JobKind,
    /// How far it is.
    state: JobState,
    /// The webhook that it is about; null if it is about none, or about several.
    webhook_id: Option<i64>,
    /// The name of the topic that it is about; null if it is about none, or about several.
    topic: Option<String>,
    /// What it was asked to do, as in the request.
    #[schema(value_type = Object)]
    filter: Box<RawValue>,
    /// How many messages or rows it was to deal with, counted when it was made; null if unknown.
    total: Option<i64>,
    /// Whether there may be more than `total` says.
    total_capped: bool,
    /// How many it has dealt with.
    done: i64,
    /// How many it has left out.
    skipped: Skipped,
    /// How many it dealt with a second, since it began; null before that.
    rate_per_second: Option<f64>,
    /// How many it may deal with a second; null is no limit.
    rate_limit_per_second: Option<f64>,
    /// Why it has failed.
    error: Option<String>,
    /// What its next step waits for; null if it waits for nothing.
    waits_for: Option<String>,
    /// Who asked for it.
    created_by: String,
    /// When it was made.
    created_at: Timestamp,
    /// When it began.
    started_at: Option<Timestamp>,
    /// When its last step was written.
    updated_at: Option<Timestamp>,
    /// When it ended.
    finished_at: Option<Timestamp>,
}

impl From<job::Job> for Job {
    fn from(job: job::Job) -> Self {
        let job::Job {
            id,
            kind,
            state,
            webhook_id,
            topic,
            filter,
            total,
            total_capped,
            done,
            already_owed,
            gone,
            filtered,
            rate_per_second,
            rate_limit_per_second,
            error,
            waits_for,
            created_by,
            created_at,
            started_at,
            updated_at,
            finished_at,
        } = job;
        Self {
            id,
            kind: kind.into(),
            state: state.into(),
            webhook_id,
            topic,
            filter: RawValue::from_string(filter).unwrap_or_default(),
            total,
            total_capped,
            done,
            skipped: Skipped { already_owed, gone, filtered },
            rate_per_second,
            rate_limit_per_second,
            error,
            waits_for,
            created_by,
            created_at,
            started_at,
            updated_at,
            finished_at,
        }
    }
}

/// What a bulk request would deal with. Nothing was done.
#[derive(Serialize, utoipa::ToSchema)]
#[expect(clippy::struct_field_names, reason = "clients know it by this name")]
pub(crate) struct Matches {
    /// How many messages or dead letters, up to 100,000.
    matches: i64,
    /// Whether there are more than `matches` says.
    capped: bool,
    /// In how many lanes.
    lanes: i64,
    /// How many of these lanes are halted.
    halted_lanes: i64,
    /// Some of their ids.
    sample_ids: Vec<i64>,
}

impl From<job::Matches> for Matches {
    fn from(matches: job::Matches) -> Self {
        let job::Matches { matches, capped, lanes, halted_lanes, sample_ids } = matches;
        Self { matches, capped, lanes, halted_lanes, sample_ids }
    }
}
