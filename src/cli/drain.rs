//! `pgtopic drain`: waits until nothing is owed.

use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;

use super::{
    CliError,
    flags::CommonFlags,
    operate::{Operator, OperatorFlags, topic_argument, webhook_argument},
    progress,
    table::{Table, or_dash},
};
use crate::{
    domain::{
        drain::{DrainScope, Remaining},
        topic::TopicRef,
        webhook_ref::WebhookRef,
    },
    telemetry::say,
};

/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// How long nothing that is left may be able to move before this gives up. A worker may just be
/// starting, or taking over.
const STUCK_FOR: Duration = Duration::from_secs(3);

/// Wait until nothing is owed
///
/// Ends with exit code 1, and says what is left, when nothing of it can move until somebody acts, or
/// when the time is over.
#[derive(Args)]
pub(super) struct Drain {
    #[command(flatten)]
    operator: OperatorFlags,
    /// Only what is owed to the webhooks of this topic: its id or name
    #[arg(long, value_parser = topic_argument, conflicts_with = "webhook")]
    topic: Option<TopicRef>,
    /// Only what is owed to this webhook: its id, or topic:name
    #[arg(long, value_parser = webhook_argument)]
    webhook: Option<WebhookRef>,
    /// First pause the topics that are drained: they refuse messages until `pgtopic topics resume`.
    /// What a transaction has published before may still be committed
    #[arg(long)]
    refuse: bool,
    /// How long to wait at most [default: without end]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

impl Drain {
    pub(super) async fn run(self, common: &CommonFlags) -> Result<(), CliError> {
        let Self { operator, topic, webhook, refuse, timeout } = self;
        let scope = match (topic, webhook) {
            (Some(topic), _) => DrainScope::Topic(topic),
            (None, Some(webhook)) => DrainScope::Webhook(webhook),
            (None, None) => DrainScope::All,
        };
        let timeout = timeout.map(Duration::from_secs);
        operator
            .run(common, async |operator| {
                if refuse {
                    let paused = operator.broker.refuse_messages(&scope).await?;
                    say(&format!(
                        "Paused, and refusing messages: {}",
                        or_dash(Some(paused.join(", ")).filter(|names| !names.is_empty()))
                    ));
                }
                drain(operator, &scope, timeout).await
            })
            .await
    }
}

async fn drain(operator: &Operator, scope: &DrainScope, timeout: Option<Duration>) -> Result<(), CliError> {
    let bar = Bar::new();
    let begun = Instant::now();
    let mut stuck_since = None;
    loop {
        let remaining = operator.broker.list_remaining(scope).await?;
        if remaining.webhooks.is_empty() {
            bar.clear();
            return operator.print(&Left::of(&remaining), "Nothing is owed.");
        }
        bar.show(&remaining);
        let now = Instant::now();
        stuck_since = remaining.is_stuck().then(|| stuck_since.unwrap_or(now));
        let reason = if stuck_since.is_some_and(|since| now.duration_since(since) >= STUCK_FOR) {
            "none of it can move until somebody acts".to_owned()
        } else if let Some(timeout) = timeout.filter(|timeout| begun.elapsed() >= *timeout) {
            format!("{} s are over", timeout.as_secs())
        } else {
            tokio::time::sleep(LOOK).await;
            continue;
        };
        bar.clear();
        operator.print(&Left::of(&remaining), table(&remaining).to_string())?;
        return Err(CliError::Failed(format!("messages are still owed: {reason}")));
    }
}

/// What is left, for programs.
#[derive(Serialize)]
struct Left {
    owed: i64,
    owed_capped: bool,
    webhooks: Vec<LeftWebhook>,
}

#[derive(Serialize)]
struct LeftWebhook {
    webhook_id: i64,
    webhook: String,
    topic: String,
    owed: i64,
    owed_capped: bool,
    halted_lanes: i64,
    /// Why nothing of it can move; null if it can.
    stuck: Option<&'static str>,
}

impl Left {
    fn of(remaining: &Remaining) -> Self {
        let (owed, owed_capped) = remaining.owed();
        let webhooks = remaining.webhooks.iter().map(|webhook| LeftWebhook {
            webhook_id: webhook.id,
            webhook: webhook.name.clone(),
            topic: webhook.topic.clone(),
            owed: webhook.owed,
            owed_capped: webhook.owed_capped,
            halted_lanes: webhook.halted_lanes,
            stuck: remaining.stuck(webhook).map(crate::domain::drain::Stuck::as_str),
        });
        Self { owed, owed_capped, webhooks: webhooks.collect() }
    }
}

fn table(remaining: &Remaining) -> Table {
    let mut table = Table::new(["webhook", "owed", "halted lanes", "cannot move"]);
    for webhook in &remaining.webhooks {
        table.row([
            format!("{}:{}", webhook.topic, webhook.name),
            number(webhook.owed, webhook.owed_capped),
            webhook.halted_lanes.to_string(),
            remaining.stuck(webhook).map_or_else(String::new, |stuck| stuck.as_str().replace('_', " ")),
        ]);
    }
    table
}

fn number(number: i64, capped: bool) -> String {
    if capped { format!("{number}+") } else { number.to_string() }
}

/// A bar on a terminal. It shows nothing elsewhere.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        Self(progress::bar("{wide_bar} {msg}", Some(0)))
    }

    /// What is left now, of the most that ever was.
    fn show(&self, remaining: &Remaining) {
        let (owed, capped) = remaining.owed();
        let owed_now = u64::try_from(owed).unwrap_or_default();
        let most = self.0.length().unwrap_or_default().max(owed_now);
        self.0.set_length(most);
        self.0.set_position(most - owed_now);
        self.0.set_message(format!("{} owed", number(owed, capped)));
        self.0.tick();
    }

    fn clear(&self) {
        self.0.finish_and_clear();
    }
}
