//! `pgtopic jobs`: long operations, which the leader of the workers does.

use clap::{Args, Subcommand};

use super::{
    CliError, bulk,
    flags::CommonFlags,
    operate::{Operator, OperatorFlags, PageFlags},
    table::{Table, capped, or_dash},
    words::word,
};
use crate::{
    api::schema,
    domain::job::{Job, JobFilter, JobKind, JobState},
};

/// List, show, cancel and wait for jobs
#[derive(Args)]
pub(super) struct Jobs {
    #[command(flatten)]
    operator: OperatorFlags,
    #[command(subcommand)]
    command: JobsCommand,
}

#[derive(Subcommand)]
enum JobsCommand {
    /// List jobs, newest first
    List(ListJobs),
    /// Show a job
    Show(JobArgument),
    /// Cancel a job; what it has done stays done
    Cancel(JobArgument),
    /// Wait until a job has ended; fails unless it has succeeded
    Wait(JobArgument),
}

#[derive(Args)]
struct ListJobs {
    /// Only jobs of this kind
    #[arg(long, value_parser = word(JobKind::ALL, JobKind::as_str, JobKind::parse))]
    kind: Option<JobKind>,
    /// Only jobs in this state
    #[arg(long, value_parser = word(JobState::ALL, JobState::as_str, JobState::parse))]
    state: Option<JobState>,
    /// Only jobs about this webhook
    #[arg(long, value_name = "ID")]
    webhook_id: Option<i64>,
    #[command(flatten)]
    page: PageFlags,
}

#[derive(Args)]
struct JobArgument {
    /// The job's id
    id: i64,
}

impl Jobs {
    pub(super) async fn run(self, common: &CommonFlags) -> Result<(), CliError> {
        self.operator.run(common, async |operator| self.command.run(operator).await).await
    }
}

impl JobsCommand {
    async fn run(self, operator: &Operator) -> Result<(), CliError> {
        let broker = &operator.broker;
        match self {
            Self::List(ListJobs { kind, state, webhook_id, page }) => {
                let jobs = broker.list_jobs(&JobFilter { kind, state, webhook_id }, page.into()).await?;
                operator.print_page::<_, schema::Job>(jobs, table)
            }
            Self::Show(JobArgument { id }) => bulk::show(operator, broker.get_job(id).await?),
            Self::Cancel(JobArgument { id }) => bulk::show(operator, broker.cancel_job(id).await?),
            Self::Wait(JobArgument { id }) => bulk::watch(operator, broker.get_job(id).await?).await,
        }
    }
}

fn table(jobs: &[Job]) -> Table {
    let mut table =
        Table::new(["job", "kind", "state", "topic", "webhook id", "done", "total", "waits for", "error"]);
    for job in jobs {
        table.row([
            job.id.to_string(),
            job.kind.as_str().to_owned(),
            job.state.as_str().to_owned(),
            or_dash(job.topic.as_ref()),
            or_dash(job.webhook_id),
            job.done.to_string(),
            or_dash(job.total.map(|total| capped(total, job.total_capped))),
            or_dash(job.waits_for.as_ref()),
            or_dash(job.error.as_ref()),
        ]);
    }
    table
}
