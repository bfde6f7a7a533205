//! `pgtopic purge`: what is past its retention is deleted now.

use clap::Args;

use super::{CliError, bulk::JobFlags, confirm::ConfirmFlags, flags::CommonFlags, operate::OperatorFlags};

/// Delete what is past its retention now
///
/// The leader of the workers does so every minute. What is owed stays, and so do messages of dead
/// letters.
#[derive(Args)]
pub(super) struct Purge {
    #[command(flatten)]
    operator: OperatorFlags,
    #[command(flatten)]
    job: JobFlags,
    #[command(flatten)]
    confirm: ConfirmFlags,
}

impl Purge {
    pub(super) async fn run(self, common: &CommonFlags) -> Result<(), CliError> {
        let Self { operator, job, confirm } = self;
        operator
            .run(common, async |operator| {
                confirm.ask(async || Ok("Delete all that is past its retention?".to_owned())).await?;
                let purge = operator.broker.purge(job.rate).await?;
                job.watch(operator, purge).await
            })
            .await
    }
}
