//! What commands that change much at once share: they ask before they begin, and watch their job.

use std::time::{Duration, Instant};

use clap::Args;

use super::{
    CliError,
    confirm::ConfirmFlags,
    operate::Operator,
    progress,
    table::{Fields, capped, or_dash},
};
use crate::{
    api::schema,
    broker::{BrokerError, Bulk},
    domain::job::{BulkOptions, Job, JobState, Matches},
    telemetry::say,
};

/// The pause between two looks at a job.
const LOOK: Duration = Duration::from_millis(300);

/// If nobody begins a job for so long, a worker may be missing.
const NOBODY_BEGINS: Duration = Duration::from_secs(5);

/// Flags of every command that changes much at once.
#[derive(Args)]
pub(super) struct BulkFlags {
    /// Everything is meant, if nothing else says what is
    #[arg(long)]
    all: bool,
    /// Count only; nothing is done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    job: JobFlags,
    #[command(flatten)]
    pub(super) confirm: ConfirmFlags,
}

/// Flags of every command that makes a job.
#[derive(Args)]
pub(super) struct JobFlags {
    /// How many to deal with a second, at most
    #[arg(long, value_name = "NUMBER")]
    pub(super) rate: Option<f64>,
    /// Do not wait for the end of the job: pgtopic jobs wait does that later
    #[arg(long)]
    pub(super) no_wait: bool,
}

impl BulkFlags {
    /// Says what there is, asks, makes the job, and watches it. `request` is the use case;
    /// `question` is what is asked about so many, such as "Discard {} dead letters?".
    pub(super) async fn run(
        &self,
        operator: &Operator,
        question: &str,
        request: impl AsyncFn(BulkOptions) -> Result<Bulk, BrokerError>,
    ) -> Result<(), CliError> {
        let options = BulkOptions { all: self.all, dry_run: self.dry_run, rate_per_second: self.job.rate };
        if self.dry_run {
            return match request(options).await? {
                Bulk::DryRun(matches) => {
                    let text = matches_text(&matches);
                    operator.print(&schema::Matches::from(matches), text)
                }
                Bulk::Job(job) => show(operator, *job),
            };
        }
        self.confirm
            .ask(async || {
                let Bulk::DryRun(matches) = request(BulkOptions { dry_run: true, ..options }).await? else {
                    return Ok(question.to_owned());
                };
                let count = if matches.capped {
                    format!("{} or more", matches.matches)
                } else {
                    matches.matches.to_string()
                };
                Ok(question.replace("{}", &count))
            })
            .await?;
        match request(options).await? {
            Bulk::Job(job) => self.job.watch(operator, *job).await,
            Bulk::DryRun(matches) => operator.print(&schema::Matches::from(matches), ""),
        }
    }
}

impl JobFlags {
    /// Watches a job that was made, unless nobody wants to wait.
    pub(super) async fn watch(&self, operator: &Operator, job: Job) -> Result<(), CliError> {
        if self.no_wait { show(operator, job) } else { watch(operator, job).await }
    }
}

/// Waits until a job has ended, with a progress bar on a terminal. Then prints it.
///
/// # Errors
/// [`CliError::Failed`] if it did not succeed.
pub(super) async fn watch(operator: &Operator, job: Job) -> Result<(), CliError> {
    let (id, begun) = (job.id, Instant::now());
    let template = "{spinner} {msg} {wide_bar} {pos}/{len} {per_sec} {eta}";
    let bar = progress::bar(template, Some(job.total.unwrap_or_default().unsigned_abs()));
    bar.enable_steady_tick(Duration::from_millis(100));
    let mut job = job;
    let mut said = false;
    while !job.state.is_finished() {
        bar.set_message(format!("{} (job {id})", job.kind.as_str()));
        bar.set_length(job.total.unwrap_or_default().max(dealt_with(&job)).unsigned_abs());
        bar.set_position(dealt_with(&job).unsigned_abs());
        if !said && job.state == JobState::Queued && begun.elapsed() > NOBODY_BEGINS {
            said = true;
            bar.suspend(|| say(&format!("Nobody begins job {id}: does a worker run? (pgtopic worker)")));
        }
        tokio::time::sleep(LOOK).await;
        job = operator.broker.get_job(id).await?;
    }
    bar.finish_and_clear();
    let (state, error) = (job.state, job.error.clone());
    show(operator, job)?;
    match state {
        JobState::Succeeded => Ok(()),
        state => {
            let error = error.map(|error| format!(": {error}")).unwrap_or_default();
            Err(CliError::Failed(format!("job {id} has ended: {}{error}", state.as_str())))
        }
    }
}

/// How many a job has dealt with, those that it left out included.
fn dealt_with(job: &Job) -> i64 {
    job.done + job.already_owed + job.gone + job.filtered
}

/// Prints a job.
pub(super) fn show(operator: &Operator, job: Job) -> Result<(), CliError> {
    let fields = Fields::default()
        .with("job", job.id.to_string())
        .with("kind", job.kind.as_str().to_owned())
        .with("state", job.state.as_str().to_owned())
        .with("topic", job.topic.clone())
        .with("webhook id", job.webhook_id.map(|id| id.to_string()))
        .with("filter", job.filter.clone())
        .with("total", job.total.map(|total| capped(total, job.total_capped)))
        .with("done", job.done.to_string())
        .with("already owed", job.already_owed.to_string())
        .with("gone", job.gone.to_string())
        .with("filtered", job.filtered.to_string())
        .with("per second", job.rate_per_second.map(|rate| format!("{rate:.1}")))
        .with("waits for", job.waits_for.clone())
        .with("error", job.error.clone())
        .with("created by", job.created_by.clone())
        .with("created at", job.created_at.to_string())
        .with("finished at", job.finished_at.map(|time| time.to_string()));
    operator.print(&schema::Job::from(job), fields.to_string())
}

fn matches_text(matches: &Matches) -> String {
    let first = matches.sample_ids.iter().map(i64::to_string).collect::<Vec<_>>().join(" ");
    Fields::default()
        .with("matches", capped(matches.matches, matches.capped))
        .with("lanes", matches.lanes.to_string())
        .with("halted lanes", matches.halted_lanes.to_string())
        .with("first ids", or_dash(Some(first).filter(|first| !first.is_empty())))
        .to_string()
}
