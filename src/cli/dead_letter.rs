//! `pgtopic dead-letter`: deliveries that were given up.

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::{
    CliError,
    bulk::BulkFlags,
    deliveries,
    flags::CommonFlags,
    operate::{Operator, OperatorFlags, PageFlags, topic_argument},
    table::{Fields, Table, escape, or_dash},
    words::word,
};
use crate::{
    api::schema,
    broker::DeadLetterAction::{Discard, Replay},
    domain::{
        attempt::ErrorClass,
        dead_letter::{DeadLetter, DeadLetterDetail, DeadLetterFilter, DeadLetterGroup, Reason},
        page,
        topic::TopicRef,
    },
};

/// List, count, group, replay and discard dead letters
#[derive(Args)]
pub(super) struct DeadLetters {
    #[command(flatten)]
    operator: OperatorFlags,
    #[command(subcommand)]
    command: DeadLettersCommand,
}

#[derive(Subcommand)]
enum DeadLettersCommand {
    /// List dead letters, newest first
    List {
        #[command(flatten)]
        filter: FilterFlags,
        #[command(flatten)]
        page: PageFlags,
    },
    /// Count dead letters
    Count {
        #[command(flatten)]
        filter: FilterFlags,
    },
    /// Group the newest 10,000 dead letters of each webhook by reason, failure and hour
    Groups {
        #[command(flatten)]
        filter: FilterFlags,
    },
    /// Show a dead letter with its message's payload
    Show {
        /// The dead letter's id
        id: i64,
    },
    /// Deliver a dead letter once more, or all that a filter means
    Replay(OneOrMany),
    /// Discard a dead letter, or all that a filter means; their messages are never delivered
    Discard(OneOrMany),
}

/// One dead letter, or those that a filter means.
#[derive(Args)]
struct OneOrMany {
    /// The dead letter's id; without it, the filter says which are meant
    id: Option<i64>,
    #[command(flatten)]
    filter: FilterFlags,
    #[command(flatten)]
    bulk: BulkFlags,
}

impl OneOrMany {
    /// The one that is meant; `None` if the filter says which are.
    fn one(&self) -> Result<Option<i64>, CliError> {
        let filter = DeadLetterFilter::from(self.filter.clone());
        if self.id.is_some() && !filter.is_empty() {
            return Err(CliError::Usage("give the id of one dead letter, or a filter, not both".to_owned()));
        }
        Ok(self.id)
    }
}

/// Which dead letters are meant.
#[derive(Args, Clone)]
pub(super) struct FilterFlags {
    /// Only dead letters of this topic, by id or name
    #[arg(long, value_parser = topic_argument)]
    topic: Option<TopicRef>,
    /// Only dead letters of this webhook
    #[arg(long, value_name = "ID")]
    webhook_id: Option<i64>,
    /// Only dead letters of this partition
    #[arg(long, value_name = "KEY")]
    partition_key: Option<String>,
    /// Only dead letters of messages of this type
    #[arg(long = "type", value_name = "TYPE")]
    message_type: Option<String>,
    /// Only dead letters with this reason; those that were canceled or superseded are left out
    /// without it
    #[arg(long, value_parser = word(Reason::ALL, Reason::as_str, Reason::parse))]
    reason: Option<Reason>,
    /// Only dead letters whose last attempt failed in this way
    #[arg(long, value_parser = word(ErrorClass::ALL, ErrorClass::as_str, ErrorClass::parse))]
    error_class: Option<ErrorClass>,
    /// Only dead letters whose last attempt was answered with this HTTP status
    #[arg(long, value_name = "STATUS")]
    status_code: Option<i64>,
    /// Only dead letters that were given up at this time or later
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only dead letters that were given up before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
}

impl From<FilterFlags> for DeadLetterFilter {
    fn from(flags: FilterFlags) -> Self {
        let FilterFlags {
            topic,
            webhook_id,
            partition_key,
            message_type,
            reason,
            error_class,
            status_code,
            since,
            until,
        } = flags;
        Self {
            topic,
            webhook_id,
            partition_key,
            message_type,
            reason,
            error_class,
            status_code,
            since,
            until,
        }
    }
}

impl DeadLetters {
    pub(super) async fn run(self, common: &CommonFlags) -> Result<(), CliError> {
        self.operator.run(common, async |operator| self.command.run(operator).await).await
    }
}

impl DeadLettersCommand {
    async fn run(self, operator: &Operator) -> Result<(), CliError> {
        let broker = &operator.broker;
        match self {
            Self::List { filter, page } => {
                let letters = broker.list_dead_letters(&filter.into(), page.into()).await?;
                operator.print_page::<_, schema::DeadLetter>(letters, table)
            }
            Self::Count { filter } => {
                let count = broker.count_dead_letters(&filter.into()).await?;
                operator.print(&schema::DeadLetterCount { count }, count.to_string())
            }
            Self::Groups { filter } => {
                let items = broker.list_dead_letter_groups(&filter.into()).await?;
                let groups = page::Items { items, next: None };
                operator.print_page::<_, schema::DeadLetterGroup>(groups, groups_table)
            }
            Self::Show { id } => {
                let detail = broker.get_dead_letter(id).await?;
                let text = detail_text(&detail);
                operator.print(&schema::DeadLetterDetail::from(detail), text)
            }
            Self::Replay(meant) => {
                if let Some(id) = meant.one()? {
                    return deliveries::show(operator, broker.replay_dead_letter(id).await?);
                }
                let filter = meant.filter.into();
                let request = async |options| broker.bulk_dead_letters(Replay, &filter, options).await;
                meant.bulk.run(operator, "Deliver {} dead letters once more?", request).await
            }
            Self::Discard(meant) => {
                if let Some(id) = meant.one()? {
                    meant
                        .bulk
                        .confirm
                        .ask(async || Ok(format!("Discard dead letter {id} for good?")))
                        .await?;
                    broker.discard_dead_letter(id).await?;
                    return operator.print(&serde_json::json!({}), format!("Dead letter {id} is gone."));
                }
                let filter = meant.filter.into();
                let request = async |options| broker.bulk_dead_letters(Discard, &filter, options).await;
                meant.bulk.run(operator, "Discard {} dead letters for good?", request).await
            }
        }
    }
}

fn table(letters: &[DeadLetter]) -> Table {
    let mut table =
        Table::new(["id", "webhook", "message id", "partition key", "reason", "attempts", "last error"]);
    for letter in letters {
        table.row([
            letter.id.to_string(),
            format!("{}:{}", letter.topic, letter.webhook),
            letter.message_id.to_string(),
            letter.partition_key.clone(),
            letter.reason.as_str().to_owned(),
            letter.attempts.to_string(),
            or_dash(letter.last_error.as_ref()),
        ]);
    }
    table
}

fn groups_table(groups: &[DeadLetterGroup]) -> Table {
    let mut table = Table::new([
        "hour",
        "webhook",
        "reason",
        "error class",
        "status",
        "count",
        "sample id",
        "sample error",
    ]);
    for group in groups {
        table.row([
            group.hour.to_string(),
            format!("{}:{}", group.topic, group.webhook),
            group.reason.as_str().to_owned(),
            or_dash(group.error_class.map(ErrorClass::as_str)),
            or_dash(group.status_code),
            group.count.to_string(),
            group.sample_id.to_string(),
            or_dash(group.sample_error.as_ref()),
        ]);
    }
    table
}

fn detail_text(detail: &DeadLetterDetail) -> String {
    let letter = &detail.dead_letter;
    let fields = Fields::default()
        .with("id", letter.id.to_string())
        .with("webhook", format!("{}:{}", letter.topic, letter.webhook))
        .with("message id", letter.message_id.to_string())
        .with("partition key", letter.partition_key.clone())
        .with("type", letter.message_type.clone())
        .with("reason", letter.reason.as_str().to_owned())
        .with("attempts", letter.attempts.to_string())
        .with("status code", letter.status_code.map(|code| code.to_string()))
        .with("last error", letter.last_error.clone())
        .with("created at", letter.created_at.to_string())
        .with("headers", detail.headers.as_ref().map(|headers| headers.get().to_owned()));
    let payload = detail.payload.as_ref().map_or("the message was deleted", |payload| payload.get());
    let payload: Vec<String> = payload.lines().map(escape).collect();
    format!("{fields}\n{}", payload.join("\n"))
}
