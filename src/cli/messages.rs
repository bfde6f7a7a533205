//! `pgtopic messages`: the messages of a topic.

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::{
    CliError,
    flags::CommonFlags,
    operate::{Operator, OperatorFlags, PageFlags, topic_argument},
    table::{Fields, Table, escape, or_dash},
};
use crate::{
    api::schema,
    domain::{
        delivery::MessageDelivery,
        message::{MessageFilter, MessageStatus, MessageSummary},
        topic::TopicRef,
    },
};

/// List messages, and show one with its payload and deliveries
#[derive(Args)]
pub(super) struct Messages {
    #[command(flatten)]
    operator: OperatorFlags,
    #[command(subcommand)]
    command: MessagesCommand,
}

#[derive(Subcommand)]
enum MessagesCommand {
    /// List a topic's messages without payloads, newest first
    List(ListMessages),
    /// Show a message: its payload, and the status of its deliveries
    Show {
        /// The message's id
        id: i64,
    },
}

#[derive(Args)]
struct ListMessages {
    /// The topic's id or name
    #[arg(value_parser = topic_argument)]
    topic: TopicRef,
    /// Only messages of this partition
    #[arg(long, value_name = "KEY")]
    partition_key: Option<String>,
    /// Only messages of this type
    #[arg(long = "type", value_name = "TYPE")]
    message_type: Option<String>,
    /// Only messages that were published at this time or later
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only messages that were published before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    #[command(flatten)]
    page: PageFlags,
}

impl Messages {
    pub(super) async fn run(self, common: &CommonFlags) -> Result<(), CliError> {
        self.operator.run(common, async |operator| self.command.run(operator).await).await
    }
}

impl MessagesCommand {
    async fn run(self, operator: &Operator) -> Result<(), CliError> {
        match self {
            Self::List(ListMessages { topic, partition_key, message_type, since, until, page }) => {
                let filter = MessageFilter { partition_key, message_type, since, until };
                let messages = operator.broker.list_messages(&topic, &filter, page.into()).await?;
                operator.print_page::<_, schema::MessageSummary>(messages, table)
            }
            Self::Show { id } => {
                let status = operator.broker.get_message(id).await?;
                let text = status_text(&status);
                operator.print(&schema::MessageStatus::from(status), text)
            }
        }
    }
}

fn table(messages: &[MessageSummary]) -> Table {
    let mut table = Table::new(["id", "partition key", "type", "idempotency key", "created at"]);
    for message in messages {
        table.row([
            message.id.to_string(),
            message.partition_key.clone(),
            or_dash(message.r#type.as_ref()),
            or_dash(message.idempotency_key.as_ref()),
            message.created_at.to_string(),
        ]);
    }
    table
}

fn status_text(message: &MessageStatus) -> String {
    let fields = Fields::default()
        .with("id", message.id.to_string())
        .with("topic", message.topic.clone())
        .with("partition key", message.partition_key.clone())
        .with("type", message.r#type.clone())
        .with("idempotency key", message.idempotency_key.clone())
        .with("created at", message.created_at.to_string())
        .with("headers", message.headers.as_ref().map(|headers| headers.get().to_owned()));
    let payload: Vec<String> = message.payload.get().lines().map(escape).collect();
    format!("{fields}\n{}\n{}\n", deliveries_text(&message.deliveries), payload.join("\n"))
}

fn deliveries_text(deliveries: &[MessageDelivery]) -> String {
    if deliveries.is_empty() {
        return "No webhook is or was owed the message.\n".to_owned();
    }
    let mut table = Table::new(["webhook id", "status", "attempts"]);
    for delivery in deliveries {
        table.row([
            delivery.webhook_id.to_string(),
            delivery.status.as_str().to_owned(),
            delivery.attempts.to_string(),
        ]);
    }
    table.to_string()
}
