//! Jobs: make, list, read, cancel, count what they would deal with, and their steps.

use tokio_postgres::Row;

use super::{LeaderStore, Store, call::Parameters, error::StoreError, statement::sql, topics::like};
use crate::domain::{
    job::{Job, JobFilter, JobKind, JobState, Matches, NewJob},
    page::Page,
    range::MessageRange,
    scope::TopicScope,
};

/// What a job would deal with is counted up to this number.
pub const MATCHES_MAX: i64 = 100_000;

/// How long jobs are kept after they have ended, in days.
pub const JOBS_KEPT_DAYS: i32 = 30;

/// How long the audit log is kept, in days.
pub const CHANGES_KEPT_DAYS: i32 = 90;

/// Joins a statement whose WITH names jobs `j` and `jobs/show`, which selects what is shown of them.
macro_rules! shown {
    ($name:literal) => {
        sql!($name, "jobs/show")
    };
}

/// A job that has not ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UnfinishedJob {
    /// Its id.
    pub id: i64,
    /// What it does.
    pub kind: JobKind,
    /// How many it may deal with a second; `None` is no limit.
    pub rate_limit_per_second: Option<f64>,
}

/// How long things are kept, in days; 0: for ever.
#[derive(Debug, Clone, Copy)]
pub struct KeptDays {
    /// Messages of topics that do not say.
    pub messages: u32,
    /// Dead letters.
    pub dead_letters: u32,
    /// The attempt log.
    pub attempts: u32,
}

/// What a step of a job did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobStep {
    /// The job's state now; `None` if it had ended before.
    pub state: Option<JobState>,
    /// How many messages or rows it dealt with.
    pub did: u64,
    /// Whether the job can only wait now.
    pub waits: bool,
}

impl Store {
    /// Makes a job.
    pub async fn create_job(&self, new: &NewJob) -> Result<Job, StoreError> {
        let range = &new.range;
        let parameters: Parameters<'_> = &[
            &new.kind.as_str(),
            &new.topic_id,
            &new.webhook_id,
            &new.filter,
            &range.first_id(),
            &range.last_id(),
            &range.since(),
            &range.before(),
            &new.matches.as_ref().map(|matches| matches.matches),
            &new.matches.as_ref().is_some_and(|matches| matches.capped),
            &new.rate_limit_per_second,
            &new.created_by,
        ];
        job(&self.query_one(shown!("jobs/create"), parameters).await?)
    }

    /// A page of the jobs about topics in `scope`, newest first.
    pub async fn list_jobs(
        &self,
        filter: &JobFilter,
        scope: &TopicScope,
        page: Page,
    ) -> Result<Vec<Job>, StoreError> {
        let parameters: Parameters<'_> = &[
            &filter.kind.map(JobKind::as_str),
            &filter.state.map(JobState::as_str),
            &filter.webhook_id,
            &page.falling_from(),
            &page.limit,
            &like(scope),
        ];
        self.query(shown!("jobs/list"), parameters).await?.iter().map(job).collect()
    }

    /// One job; `None` if there is none.
    pub async fn get_job(&self, id: i64) -> Result<Option<Job>, StoreError> {
        self.query_opt(shown!("jobs/get"), &[&id]).await?.as_ref().map(job).transpose()
    }

    /// Asks for the end of a job. Returns it; `None` if it has ended, or there is none.
    pub async fn cancel_job(&self, id: i64) -> Result<Option<Job>, StoreError> {
        self.query_opt(shown!("jobs/cancel"), &[&id]).await?.as_ref().map(job).transpose()
    }

    /// Counts what a replay of a range to a webhook would deal with.
    pub async fn count_replayable(
        &self,
        webhook_id: i64,
        range: &MessageRange,
    ) -> Result<Matches, StoreError> {
        let parameters: Parameters<'_> = &[
            &webhook_id,
            &range.first_id(),
            &range.last_id(),
            &range.since(),
            &range.before(),
            &range.partition_key,
            &range.message_type,
            &range.only_failed,
            &(MATCHES_MAX + 1),
        ];
        matches(&self.query_one(sql!("jobs/count_replayable"), parameters).await?)
    }

    /// Counts what a cancel of a range of what a webhook is owed would deal with.
    pub async fn count_cancelable(
        &self,
        webhook_id: i64,
        range: &MessageRange,
    ) -> Result<Matches, StoreError> {
        let parameters: Parameters<'_> = &[
            &webhook_id,
            &range.first_id(),
            &range.last_id(),
            &range.since(),
            &range.before(),
            &range.partition_key,
            &range.message_type,
            &(MATCHES_MAX + 1),
        ];
        matches(&self.query_one(sql!("jobs/count_cancelable"), parameters).await?)
    }

    /// Counts what a job about dead letters would deal with. The filter is a JSON object.
    pub async fn count_job_dead_letters(
        &self,
        topic_id: Option<i64>,
        webhook_id: Option<i64>,
        filter: &str,
    ) -> Result<Matches, StoreError> {
        let parameters: Parameters<'_> = &[&topic_id, &webhook_id, &filter, &(MATCHES_MAX + 1)];
        matches(&self.query_one(sql!("jobs/count_dead_letters"), parameters).await?)
    }
}

impl LeaderStore {
    /// The oldest jobs that have not ended.
    pub async fn list_unfinished_jobs(&self, at_most: i64) -> Result<Vec<UnfinishedJob>, StoreError> {
        let rows = self.store().query(sql!("jobs/list_unfinished"), &[&at_most]).await?;
        rows.iter()
            .map(|row| {
                Ok(UnfinishedJob {
                    id: row.try_get("id")?,
                    kind: super::word(row, "kind", JobKind::parse)?,
                    rate_limit_per_second: row.try_get("rate_limit_per_second")?,
                })
            })
            .collect()
    }

    /// Does a step of a job. It deals with `at_most` messages or rows.
    pub async fn step_job(&self, job: i64, at_most: i32, kept: KeptDays) -> Result<JobStep, StoreError> {
        let days = |days: u32| i32::try_from(days).unwrap_or(i32::MAX);
        let (messages, dead_letters, attempts) =
            (days(kept.messages), days(kept.dead_letters), days(kept.attempts));
        let parameters: Parameters<'_> =
            &[&job, &at_most, &messages, &dead_letters, &attempts, &JOBS_KEPT_DAYS, &CHANGES_KEPT_DAYS];
        let row = self.query_one(sql!("jobs/step"), parameters).await?;
        let state: Option<&str> = row.try_get("state")?;
        let unknown = |state| StoreError::Unexpected(format!("the state of a job is {state:?}"));
        Ok(JobStep {
            state: state.map(|state| JobState::parse(state).ok_or_else(|| unknown(state))).transpose()?,
            did: row.try_get::<_, i64>("did")?.unsigned_abs(),
            waits: row.try_get("waits")?,
        })
    }

    /// Ends a job whose steps fail.
    pub async fn fail_job(&self, id: i64, error: &str) -> Result<(), StoreError> {
        self.execute(sql!("jobs/fail"), &[&id, &error]).await?;
        Ok(())
    }
}

fn matches(row: &Row) -> Result<Matches, StoreError> {
    let count: i64 = row.try_get("matches")?;
    Ok(Matches {
        matches: count.min(MATCHES_MAX),
        capped: count > MATCHES_MAX,
        lanes: row.try_get("lanes")?,
        halted_lanes: row.try_get("halted_lanes")?,
        sample_ids: row.try_get("sample_ids")?,
    })
}

fn job(row: &Row) -> Result<Job, StoreError> {
    Ok(Job {
        id: row.try_get("id")?,
        kind: super::word(row, "kind", JobKind::parse)?,
        state: super::word(row, "state", JobState::parse)?,
        webhook_id: row.try_get("webhook_id")?,
        topic: row.try_get("topic")?,
        filter: row.try_get("filter")?,
        total: row.try_get("total")?,
        total_capped: row.try_get("total_capped")?,
        done: row.try_get("done")?,
        already_owed: row.try_get("already_owed")?,
        gone: row.try_get("gone")?,
        filtered: row.try_get("filtered")?,
        rate_per_second: row.try_get("rate_per_second")?,
        rate_limit_per_second: row.try_get("rate_limit_per_second")?,
        error: row.try_get("error")?,
        waits_for: row.try_get("waits_for")?,
        created_by: row.try_get("created_by")?,
        created_at: row.try_get("created_at")?,
        started_at: row.try_get("started_at")?,
        updated_at: row.try_get("updated_at")?,
        finished_at: row.try_get("finished_at")?,
    })
}
