//! Jobs: long operations, done in bounded steps.
//!
//! Jobs run side by side. In each round every job that may go on does one step, the oldest job first
//! (round robin). So a job that waits, or has a rate limit, holds up no other job. A step is one
//! transaction: it writes the job's progress together with what it did. So nothing is lost or done
//! twice if the leader dies. What a step does is in `sql/functions/jobs`.
//!
//! | file | what it is about |
//! |---|---|
//! | `pace` | how much the next step of a job may deal with, and when it may go on |

mod pace;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tracing::{info, warn};

use self::pace::{Failed, Pace};
use super::piece::{Done, Piece};
use crate::{
    config::RetentionConfig,
    domain::job::JobKind,
    store::{KeptDays, LeaderStore, StoreError, UnfinishedJob},
};

/// How many jobs are under way at most; the others wait for one of these to end.
const JOBS_AT_ONCE: i64 = 100;

/// How long rounds are made before the leader looks for new jobs.
const ROUNDS: Duration = Duration::from_millis(500);

/// How many messages or rows one step deals with, so that no step takes long.
fn step_size(kind: JobKind) -> i32 {
    match kind {
        JobKind::Backfill => 5_000,
        JobKind::Purge => 10_000,
        _ => 1_000,
    }
}

/// Does the steps of all jobs.
pub(super) struct Jobs {
    kept: KeptDays,
    paces: HashMap<i64, Pace>,
}

impl Jobs {
    pub(super) fn new(retention: &RetentionConfig) -> Self {
        let kept = KeptDays {
            messages: retention.messages_days,
            dead_letters: retention.dead_letters_days,
            attempts: retention.attempts_days,
        };
        Self { kept, paces: HashMap::new() }
    }

    /// Does a step of a job, if it may go on. Returns how many it dealt with.
    async fn step(&mut self, steps: &LeaderStore, job: UnfinishedJob) -> Result<Option<u64>, StoreError> {
        let pace =
            self.paces.entry(job.id).or_insert_with(|| Pace::new(job.rate_limit_per_second, Instant::now()));
        let Some(at_most) = pace.may(Instant::now(), step_size(job.kind)) else { return Ok(None) };
        match steps.step_job(job.id, at_most, self.kept).await {
            Ok(step) => {
                pace.stepped(Instant::now(), step.did, step.waits);
                if let Some(state) = step.state.filter(|state| state.is_finished()) {
                    self.paces.remove(&job.id);
                    info!(job = job.id, kind = job.kind.as_str(), state = state.as_str(), "a job has ended");
                }
                Ok(Some(step.did))
            }
            Err(error) if error.is_not_leading() => Err(error),
            Err(error) => {
                let failed = pace.failed(Instant::now());
                warn!(job = job.id, kind = job.kind.as_str(), %error, "a step of a job failed");
                if failed == Failed::TooOften && !error.is_unavailable() {
                    steps.fail_job(job.id, &error.to_string()).await?;
                }
                Ok(None)
            }
        }
    }
}

impl Piece for Jobs {
    const NAME: &'static str = "jobs";
    const EVERY: Duration = Duration::from_millis(500);

    async fn run(&mut self, steps: &LeaderStore) -> Result<Done, StoreError> {
        let mut unfinished = steps.list_unfinished_jobs(JOBS_AT_ONCE).await?;
        self.paces.retain(|id, _| unfinished.iter().any(|job| job.id == *id));
        let (begun, mut did) = (Instant::now(), 0);
        while !unfinished.is_empty() && begun.elapsed() < ROUNDS {
            let mut going_on = Vec::new();
            for job in unfinished {
                if let Some(dealt_with) = self.step(steps, job).await? {
                    did += dealt_with;
                    if self.paces.contains_key(&job.id) {
                        going_on.push(job);
                    }
                }
            }
            unfinished = going_on;
        }
        let again = self.paces.values().map(|pace| pace.pause(Instant::now())).min();
        Ok(Done { did, again })
    }
}
