//! `pgtopic replay`: messages of a range are delivered to a webhook once more.

use clap::Args;

use super::{CliError, bulk::BulkFlags, flags::CommonFlags, operate::OperatorFlags, range::RangeFlags};

/// Deliver messages of a range to a webhook once more
///
/// The webhook's types and filter apply as they are now. Messages that are still owed are left out.
#[derive(Args)]
pub(super) struct Replay {
    #[command(flatten)]
    operator: OperatorFlags,
    #[command(flatten)]
    range: RangeFlags,
    /// Only messages that are dead letters of the webhook
    #[arg(long)]
    only_failed: bool,
    #[command(flatten)]
    bulk: BulkFlags,
}

impl Replay {
    pub(super) async fn run(self, common: &CommonFlags) -> Result<(), CliError> {
        let Self { operator, range, only_failed, bulk } = self;
        let (webhook, range) = (&range.webhook, range.range(only_failed));
        let question = format!("Deliver {{}} messages to {webhook} once more?");
        operator
            .run(common, async |operator| {
                let request = async |options| operator.broker.replay_webhook(webhook, &range, options).await;
                bulk.run(operator, &question, request).await
            })
            .await
    }
}
