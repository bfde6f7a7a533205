//! `pgtopic tail`: what is published to a topic, or sent to a webhook, as it happens.

use clap::Args;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{
    CliError,
    flags::CommonFlags,
    operate::{Operator, OperatorFlags, topic_argument, webhook_argument},
    table::escape,
};
use crate::{
    api::schema::{TailAttempt, TailMessage},
    domain::{
        tail::{self, LeftOut, TailItem},
        topic::TopicRef,
        webhook_ref::WebhookRef,
    },
    telemetry::{say, try_print_line},
};

/// Watch what is published to a topic, or the requests that are made to a webhook
///
/// Ends with SIGINT. Above 100 a second it shows a sample, and says so on standard error. With
/// --json each line is a JSON object.
#[derive(Args)]
pub(super) struct Tail {
    #[command(flatten)]
    operator: OperatorFlags,
    /// The topic's id or name
    #[arg(value_parser = topic_argument, required_unless_present = "webhook", conflicts_with = "webhook")]
    topic: Option<TopicRef>,
    /// Watch the requests that are made to this webhook: its id, or topic:name
    #[arg(long, value_name = "WEBHOOK", value_parser = webhook_argument)]
    webhook: Option<WebhookRef>,
}

impl Tail {
    pub(super) async fn run(self, common: &CommonFlags, shutdown: CancellationToken) -> Result<(), CliError> {
        let Self { operator, topic, webhook } = self;
        let watching = operator.run(common, async |operator| watch(operator, topic, webhook).await);
        shutdown.run_until_cancelled(watching).await.unwrap_or(Ok(()))
    }
}

async fn watch(
    operator: &Operator,
    topic: Option<TopicRef>,
    webhook: Option<WebhookRef>,
) -> Result<(), CliError> {
    let mut tail = match (topic, webhook) {
        (Some(topic), _) => operator.broker.tail_topic(&topic).await?,
        (None, Some(webhook)) => operator.broker.tail_webhook(&webhook).await?,
        (None, None) => return Err(CliError::Usage("name a topic or a webhook".to_owned())),
    };
    while let Some(item) = tail.next().await {
        let line = match &*item {
            TailItem::LeftOut(left_out) => {
                say(&notice(*left_out));
                continue;
            }
            TailItem::Message(message) if operator.is_json() => json(&TailMessage::from(message))?,
            TailItem::Message(message) => message_line(message),
            TailItem::Attempt(attempt) if operator.is_json() => json(&TailAttempt::from(attempt))?,
            TailItem::Attempt(attempt) => attempt_line(attempt),
        };
        // Whoever reads may leave: `pgtopic tail … | head`.
        if try_print_line(&line).is_err() {
            break;
        }
    }
    Ok(())
}

fn notice(LeftOut { shown, of, at_least }: LeftOut) -> String {
    let more = if at_least { " and more" } else { "" };
    format!("{shown} of {of}{more} are shown")
}

fn json(item: &impl Serialize) -> Result<String, CliError> {
    serde_json::to_string(item).map_err(|error| CliError::Failed(format!("cannot write JSON: {error}")))
}

/// A message for people.
fn message_line(message: &tail::TailMessage) -> String {
    let (id, key) = (message.id, escape(&message.partition_key));
    let kind = message.r#type.as_deref().map(|kind| format!("  {}", escape(kind))).unwrap_or_default();
    format!("{:.3}  {id}  {key}{kind}  {} bytes", message.created_at, message.size_bytes)
}

/// A request for people.
fn attempt_line(attempt: &tail::TailAttempt) -> String {
    let status = attempt.status_code.map(|status| format!("  {status}")).unwrap_or_default();
    let error = attempt.error.as_deref().map(|error| format!("  {}", escape(error))).unwrap_or_default();
    let (at, id, number) = (attempt.attempted_at, attempt.message_id, attempt.attempt);
    let (outcome, took) = (attempt.outcome.as_str(), attempt.duration_ms);
    format!("{at:.3}  {id}  attempt {number}  {outcome}{status}  {took:.1} ms{error}")
}
