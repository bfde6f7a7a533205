//! `pgtopic replay`: messages of a range are delivered to a webhook once more.

use clap::Args;

use super::{
    CliError,
    bulk::BulkFlags,
    flags::CommonFlags,
    operate::{OperatorFlags, webhook_argument},
};
use crate::{
    api::schema::parse_point,
    domain::{
        range::{MessageRange, Point},
        webhook_ref::WebhookRef,
    },
};

/// Deliver messages of a range to a webhook once more
///
/// The webhook's types and filter apply as they are now. Messages that are still owed are left out.
/// A place is the id of a message, or a time such as 2026-11-24T00:00:00Z.
#[derive(Args)]
pub(super) struct Replay {
    #[command(flatten)]
    operator: OperatorFlags,
    /// The webhook's id, or topic:name
    #[arg(value_parser = webhook_argument)]
    webhook: WebhookRef,
    /// The first message
    #[arg(long, value_name = "PLACE", value_parser = point_argument)]
    from: Option<Point>,
    /// The last message; a time is not included [default: now]
    #[arg(long, value_name = "PLACE", value_parser = point_argument)]
    to: Option<Point>,
    /// Only messages of this partition
    #[arg(long, value_name = "KEY")]
    partition_key: Option<String>,
    /// Only messages of this type
    #[arg(long = "type", value_name = "TYPE")]
    message_type: Option<String>,
    /// Only messages that are dead letters of the webhook
    #[arg(long)]
    only_failed: bool,
    #[command(flatten)]
    bulk: BulkFlags,
}

impl Replay {
    pub(super) async fn run(self, common: &CommonFlags) -> Result<(), CliError> {
        let Self { operator, webhook, from, to, partition_key, message_type, only_failed, bulk } = self;
        let range = MessageRange { from, to, partition_key, message_type, only_failed };
        let question = format!("Deliver {{}} messages to {webhook} once more?");
        operator
            .run(common, async |operator| {
                let request = async |options| operator.broker.replay_webhook(&webhook, &range, options).await;
                bulk.run(operator, &question, request).await
            })
            .await
    }
}

/// Reads a place in the messages, as an argument.
fn point_argument(text: &str) -> Result<Point, String> {
    parse_point(text)
        .ok_or_else(|| "must be the id of a message, or a time such as 2026-11-24T00:00:00Z".to_owned())
}
