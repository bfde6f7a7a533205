//! `pgtopic deliveries`: what webhooks were and are owed.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{
    CliError,
    bulk::BulkFlags,
    flags::CommonFlags,
    operate::{Operator, OperatorFlags, PageFlags, topic_argument, webhook_argument},
    range::RangeFlags,
    table::{Fields, Table, or_dash},
    words::word,
};
use crate::{
    api::schema,
    broker::{BrokerError, Conflict},
    domain::{
        delivery::{AttemptRecord, Delivery, DeliveryFilter, DeliveryStatus},
        topic::TopicRef,
        webhook_ref::WebhookRef,
    },
};

/// How often `cancel --wait` tries again.
const CANCEL_EVERY: Duration = Duration::from_millis(200);

/// List deliveries, show one with its attempts, cancel and replay
#[derive(Args)]
pub(super) struct Deliveries {
    #[command(flatten)]
    operator: OperatorFlags,
    #[command(subcommand)]
    command: DeliveriesCommand,
}

#[derive(Subcommand)]
enum DeliveriesCommand {
    /// List deliveries of one webhook or of all, newest first
    List(ListDeliveries),
    /// Show the delivery of one message to one webhook
    Show(DeliveryArguments),
    /// List the attempts of a delivery, oldest first
    Attempts(ListAttempts),
    /// Cancel a delivery that is owed; it is kept as a dead letter
    Cancel(CancelDelivery),
    /// Cancel what a webhook is owed, of a range of messages; they are kept as dead letters
    CancelRange(CancelRange),
    /// Deliver a message once more: one that was delivered, canceled or given up
    Replay(DeliveryArguments),
}

#[derive(Args)]
struct ListDeliveries {
    /// Only deliveries of this webhook: its id, or topic:name
    #[arg(long, value_parser = webhook_argument)]
    webhook: Option<WebhookRef>,
    /// Only deliveries of this topic, by id or name
    #[arg(long, value_parser = topic_argument)]
    topic: Option<TopicRef>,
    /// Only deliveries with this status
    #[arg(long, value_parser = word(DeliveryStatus::ALL, DeliveryStatus::as_str, DeliveryStatus::parse))]
    status: Option<DeliveryStatus>,
    /// Only deliveries of this partition
    #[arg(long, value_name = "KEY")]
    partition_key: Option<String>,
    /// Only deliveries of messages of this type
    #[arg(long = "type", value_name = "TYPE")]
    message_type: Option<String>,
    #[command(flatten)]
    page: PageFlags,
}

#[derive(Args)]
struct DeliveryArguments {
    /// The webhook's id, or topic:name
    #[arg(value_parser = webhook_argument)]
    webhook: WebhookRef,
    /// The message's id
    message_id: i64,
}

#[derive(Args)]
struct ListAttempts {
    #[command(flatten)]
    delivery: DeliveryArguments,
    #[command(flatten)]
    page: PageFlags,
}

#[derive(Args)]
struct CancelDelivery {
    #[command(flatten)]
    delivery: DeliveryArguments,
    /// While the message may be on its way, try again until it is not
    #[arg(long)]
    wait: bool,
}

#[derive(Args)]
struct CancelRange {
    #[command(flatten)]
    range: RangeFlags,
    #[command(flatten)]
    bulk: BulkFlags,
}

impl Deliveries {
    pub(super) async fn run(self, common: &CommonFlags) -> Result<(), CliError> {
        self.operator.run(common, async |operator| self.command.run(operator).await).await
    }
}

impl DeliveriesCommand {
    async fn run(self, operator: &Operator) -> Result<(), CliError> {
        let broker = &operator.broker;
        match self {
            Self::List(ListDeliveries { webhook, topic, status, partition_key, message_type, page }) => {
                let filter = DeliveryFilter { status, partition_key, message_type, topic };
                let found = match webhook {
                    Some(webhook) => broker.list_deliveries(&webhook, &filter, page.into()).await?,
                    None => broker.list_all_deliveries(&filter, page.into()).await?,
                };
                operator.print_page::<_, schema::Delivery>(found, table)
            }
            Self::Show(DeliveryArguments { webhook, message_id }) => {
                show(operator, broker.get_delivery(&webhook, message_id).await?)
            }
            Self::Attempts(ListAttempts { delivery: DeliveryArguments { webhook, message_id }, page }) => {
                let attempts = broker.list_attempts(&webhook, message_id, page.into()).await?;
                operator.print_page::<_, schema::AttemptRecord>(attempts, attempts_table)
            }
            Self::Cancel(CancelDelivery { delivery: DeliveryArguments { webhook, message_id }, wait }) => {
                loop {
                    match broker.cancel_delivery(&webhook, message_id).await {
                        Err(BrokerError::Conflict { kind: Conflict::InFlight { .. }, .. }) if wait => {
                            tokio::time::sleep(CANCEL_EVERY).await;
                        }
                        canceled => return show(operator, canceled?),
                    }
                }
            }
            Self::CancelRange(CancelRange { range, bulk }) => {
                let (webhook, range) = (&range.webhook, range.range(false));
                let question = format!("Cancel {{}} messages that {webhook} is owed?");
                let request = async |options| broker.cancel_webhook(webhook, &range, options).await;
                bulk.run(operator, &question, request).await
            }
            Self::Replay(DeliveryArguments { webhook, message_id }) => {
                show(operator, broker.replay_delivery(&webhook, message_id).await?)
            }
        }
    }
}

/// Shows a delivery.
pub(super) fn show(operator: &Operator, delivery: Delivery) -> Result<(), CliError> {
    let text = Fields::default()
        .with("webhook", format!("{}:{}", delivery.topic, delivery.webhook))
        .with("message id", delivery.message_id.to_string())
        .with("partition key", delivery.partition_key.clone())
        .with("type", delivery.message_type.clone())
        .with("status", delivery.status.as_str().to_owned())
        .with("attempts", delivery.attempts.to_string())
        .with("last status code", delivery.last_status_code.map(|code| code.to_string()))
        .with("last error", delivery.last_error.clone())
        .with("next attempt at", delivery.next_attempt_at.map(|at| at.to_string()))
        .with("created at", delivery.created_at.to_string())
        .with("settled at", delivery.settled_at.map(|at| at.to_string()))
        .with("replayed at", delivery.replayed_at.map(|at| at.to_string()))
        .to_string();
    operator.print(&schema::Delivery::from(delivery), text)
}

fn table(deliveries: &[Delivery]) -> Table {
    let mut table =
        Table::new(["webhook", "message id", "partition key", "type", "status", "attempts", "last error"]);
    for delivery in deliveries {
        table.row([
            format!("{}:{}", delivery.topic, delivery.webhook),
            delivery.message_id.to_string(),
            delivery.partition_key.clone(),
            or_dash(delivery.message_type.as_ref()),
            delivery.status.as_str().to_owned(),
            delivery.attempts.to_string(),
            or_dash(delivery.last_error.as_ref()),
        ]);
    }
    table
}

fn attempts_table(attempts: &[AttemptRecord]) -> Table {
    let mut table = Table::new(["attempt", "at", "outcome", "status", "milliseconds", "error"]);
    for attempt in attempts {
        table.row([
            attempt.attempt.to_string(),
            attempt.attempted_at.to_string(),
            attempt.outcome.as_str().to_owned(),
            or_dash(attempt.status_code),
            attempt.duration_ms.to_string(),
            or_dash(attempt.error.as_ref()),
        ]);
    }
    table
}
