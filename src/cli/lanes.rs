//! `pgtopic lanes`: the lanes of a webhook.

use clap::{Args, Subcommand};

use super::{
    CliError, bulk,
    confirm::ConfirmFlags,
    flags::CommonFlags,
    operate::{Operator, OperatorFlags, PageFlags, webhook_argument},
    table::{Table, capped, or_dash},
    words::word,
};
use crate::{
    api::schema,
    broker::RetriedLanes,
    domain::{
        lane::{Lane, LaneFilter, LaneName, LaneRetry, LaneState},
        webhook_ref::WebhookRef,
    },
};

/// List a webhook's lanes, try them again, skip the head of one
#[derive(Args)]
pub(super) struct Lanes {
    #[command(flatten)]
    operator: OperatorFlags,
    #[command(subcommand)]
    command: LanesCommand,
}

#[derive(Subcommand)]
enum LanesCommand {
    /// List a webhook's lanes, the earliest due first
    List(ListLanes),
    /// Try lanes again now: their failures become 0, and halted ones are released
    Retry(RetryLanes),
    /// Skip the head of a lane: it becomes a dead letter, and the lane goes on
    Skip(SkipLane),
}

#[derive(Args)]
struct ListLanes {
    /// The webhook's id, or topic:name
    #[arg(value_parser = webhook_argument)]
    webhook: WebhookRef,
    /// Only lanes in this state
    #[arg(long, value_parser = word(LaneState::ALL, LaneState::as_str, LaneState::parse))]
    state: Option<LaneState>,
    /// Only the lane of this partition
    #[arg(long, value_name = "KEY")]
    partition_key: Option<String>,
    #[command(flatten)]
    page: PageFlags,
}

#[derive(Args)]
struct RetryLanes {
    /// The webhook's id, or topic:name
    #[arg(value_parser = webhook_argument)]
    webhook: WebhookRef,
    /// Only the lane of this partition
    #[arg(long, value_name = "KEY", conflicts_with_all = ["state", "all"])]
    partition_key: Option<String>,
    /// Only the lane of this message, on an unordered topic
    #[arg(long, value_name = "ID", conflicts_with_all = ["state", "all", "partition_key"])]
    message_id: Option<i64>,
    /// Only lanes in this state: waiting or halted
    #[arg(long, value_parser = word(LaneState::ALL, LaneState::as_str, LaneState::parse))]
    state: Option<LaneState>,
    /// All lanes that wait or are halted
    #[arg(long)]
    all: bool,
}

#[derive(Args)]
struct SkipLane {
    /// The webhook's id, or topic:name
    #[arg(value_parser = webhook_argument)]
    webhook: WebhookRef,
    /// The message, which must be the head of its lane
    message_id: i64,
    /// The lane's partition key; left out on an unordered topic
    #[arg(long, value_name = "KEY")]
    partition_key: Option<String>,
    #[command(flatten)]
    confirm: ConfirmFlags,
}

impl Lanes {
    pub(super) async fn run(self, common: &CommonFlags) -> Result<(), CliError> {
        self.operator.run(common, async |operator| self.command.run(operator).await).await
    }
}

impl LanesCommand {
    async fn run(self, operator: &Operator) -> Result<(), CliError> {
        match self {
            Self::List(ListLanes { webhook, state, partition_key, page }) => {
                let filter = LaneFilter { state, partition_key };
                let lanes = operator.broker.list_lanes(&webhook, &filter, page.into()).await?;
                operator.print_page::<_, schema::Lane>(lanes, table)
            }
            Self::Retry(RetryLanes { webhook, partition_key, message_id, state, all }) => {
                let retry = LaneRetry { lane: LaneName { partition_key, message_id }, state, all };
                match operator.broker.retry_lanes(&webhook, &retry).await? {
                    RetriedLanes::Now(lanes) => {
                        let are = if lanes == 1 { "lane is" } else { "lanes are" };
                        let text = format!("{lanes} {are} tried again now.");
                        operator.print(&schema::RetriedLanes { lanes }, text)
                    }
                    RetriedLanes::Job(job) => bulk::watch(operator, *job).await,
                }
            }
            Self::Skip(SkipLane { webhook, message_id, partition_key, confirm }) => {
                confirm.ask(async || Ok(format!("Skip message {message_id} of {webhook}?"))).await?;
                let letter = operator.broker.skip_lane(&webhook, partition_key, message_id).await?;
                let text = format!(
                    "Message {message_id} is skipped. pgtopic dead-letter replay {} puts it back.",
                    letter.id
                );
                operator.print(&schema::DeadLetter::from(letter), text)
            }
        }
    }
}

fn table(lanes: &[Lane]) -> Table {
    let mut table =
        Table::new(["partition key", "state", "head", "owed", "failures", "due at", "last error"]);
    for lane in lanes {
        table.row([
            lane.partition_key.clone(),
            lane.state.as_str().to_owned(),
            or_dash(lane.head.as_ref().map(|head| head.message_id)),
            capped(lane.owed, lane.owed_capped),
            lane.failures.to_string(),
            or_dash(lane.due_at),
            or_dash(lane.last_error.as_ref()),
        ]);
    }
    table
}
