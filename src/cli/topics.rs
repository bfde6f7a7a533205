//! `pgtopic topics`: the topics.

#![expect(clippy::doc_markdown, reason = "the words of a flag are shown as they stand")]

use clap::{Args, Subcommand, builder::PossibleValue};

use super::{
    CliError,
    confirm::ConfirmFlags,
    flags::CommonFlags,
    operate::{Operator, OperatorFlags, PageFlags, nothing_to_change, topic_argument},
    table::{Fields, Table, capped},
    words::word,
};
use crate::{
    api::schema,
    domain::topic::{NewTopic, Ordering, Topic, TopicChanges, TopicPause, TopicRef, TopicStatus},
};

/// List, create, change, pause, resume and delete topics
#[derive(Args)]
pub(super) struct Topics {
    #[command(flatten)]
    operator: OperatorFlags,
    #[command(subcommand)]
    command: TopicsCommand,
}

#[derive(Subcommand)]
enum TopicsCommand {
    /// List topics, by rising id
    List(PageFlags),
    /// Show a topic and its backlog
    Show(TopicArgument),
    /// Create a topic
    Create(Create),
    /// Change a topic
    Update(Update),
    /// Pause a topic
    Pause(Pause),
    /// End the pause of a topic
    Resume(TopicArgument),
    /// Delete a topic with its messages
    Delete(Delete),
}

#[derive(Args)]
struct TopicArgument {
    /// The topic's id or name
    #[arg(value_parser = topic_argument)]
    topic: TopicRef,
}

#[derive(Args)]
struct Pause {
    #[command(flatten)]
    topic: TopicArgument,
    /// refuse: it refuses messages; hold: it accepts them, and nothing of it is sent
    #[arg(long, value_name = "WORD", default_value = TopicPause::default().as_str(),
          value_parser = word(TopicPause::ALL, TopicPause::as_str, TopicPause::parse))]
    mode: TopicPause,
}

#[derive(Args)]
struct Create {
    /// Its name: 1 to 255 of [A-Za-z0-9._-], not all digits
    name: String,
    /// Whether partitions are kept in order; it never changes
    #[arg(long, value_name = "WORD", default_value = Ordering::default().as_str(),
          value_parser = word(Ordering::ALL, Ordering::as_str, Ordering::parse))]
    ordering: Ordering,
    /// How long messages are kept; 0 is for ever [default: as retention.messages_days says]
    #[arg(long, value_name = "SECONDS")]
    retention_seconds: Option<i64>,
}

#[derive(Args)]
struct Update {
    #[command(flatten)]
    topic: TopicArgument,
    /// How long messages are kept; 0 is for ever
    #[arg(long, value_name = "SECONDS")]
    retention_seconds: Option<i64>,
    /// Return a setting to its default; may be repeated
    #[arg(long, value_name = "SETTING", conflicts_with = "retention_seconds",
          value_parser = [PossibleValue::new("retention-seconds")])]
    unset: Vec<String>,
}

#[derive(Args)]
struct Delete {
    #[command(flatten)]
    topic: TopicArgument,
    /// Delete its webhooks too, with their backlogs and dead letters
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    confirm: ConfirmFlags,
}

impl Topics {
    pub(super) async fn run(self, common: &CommonFlags) -> Result<(), CliError> {
        self.operator.run(common, async |operator| self.command.run(operator).await).await
    }
}

impl TopicsCommand {
    async fn run(self, operator: &Operator) -> Result<(), CliError> {
        let broker = &operator.broker;
        match self {
            Self::List(page) => {
                operator.print_page::<_, schema::Topic>(broker.list_topics(page.into()).await?, table)
            }
            Self::Show(TopicArgument { topic }) => {
                let status = broker.get_topic(&topic).await?;
                let text = status_text(&status);
                operator.print(&schema::TopicStatus::from(status), text)
            }
            Self::Create(Create { name, ordering, retention_seconds }) => {
                let new = NewTopic { name, ordering, retention_seconds };
                print(operator, broker.create_topic(&new).await?)
            }
            Self::Update(update) => {
                let changes = update.changes()?;
                print(operator, broker.update_topic(&update.topic.topic, &changes).await?)
            }
            Self::Pause(Pause { topic: TopicArgument { topic }, mode }) => {
                print_pause(operator, broker.pause_topic(&topic, mode).await?)
            }
            Self::Resume(TopicArgument { topic }) => {
                print_pause(operator, broker.resume_topic(&topic).await?)
            }
            Self::Delete(delete) => delete.run(operator).await,
        }
    }
}

impl Delete {
    async fn run(self, operator: &Operator) -> Result<(), CliError> {
        let Self { topic: TopicArgument { topic }, force, confirm } = self;
        confirm
            .ask(async || {
                let status = operator.broker.get_topic(&topic).await?;
                let with = if force { "messages and webhooks" } else { "messages" };
                Ok(format!(
                    "Delete topic {} with its {with} ({} deliveries still owed)?",
                    status.topic.name,
                    capped(status.backlog, status.backlog_capped)
                ))
            })
            .await?;
        let deleted = operator.broker.delete_topic(&topic, force).await?;
        let text = format!(
            "The topic was deleted, with {} webhooks and {} owed deliveries.",
            deleted.webhooks, deleted.dropped_deliveries
        );
        operator.print(&schema::DeletedTopic::from(deleted), text)
    }
}

fn print_pause(operator: &Operator, topic: Topic) -> Result<(), CliError> {
    let state = match topic.paused {
        None => "takes messages and sends them",
        Some(TopicPause::Refuse) => "refuses messages",
        Some(TopicPause::Hold) => "is on hold: it takes messages and sends none",
    };
    let text = format!("Topic {} {state}.", topic.name);
    operator.print(&schema::Topic::from(topic), text)
}

impl Update {
    fn changes(&self) -> Result<TopicChanges, CliError> {
        let given = self.retention_seconds.map(Some);
        let retention_seconds = if self.unset.is_empty() { given } else { Some(None) };
        let changes = TopicChanges { retention_seconds, ..TopicChanges::default() };
        if changes == TopicChanges::default() { Err(nothing_to_change()) } else { Ok(changes) }
    }
}

fn print(operator: &Operator, topic: Topic) -> Result<(), CliError> {
    let text = fields(&topic).to_string();
    operator.print(&schema::Topic::from(topic), text)
}

fn table(topics: &[Topic]) -> Table {
    let mut table = Table::new(["id", "topic", "ordering", "retention seconds", "paused"]);
    for topic in topics {
        table.row([
            topic.id.to_string(),
            topic.name.clone(),
            topic.ordering.as_str().to_owned(),
            retention(topic),
            paused(topic),
        ]);
    }
    table
}

fn fields(topic: &Topic) -> Fields {
    Fields::default()
        .with("id", topic.id.to_string())
        .with("topic", topic.name.clone())
        .with("ordering", topic.ordering.as_str().to_owned())
        .with("retention seconds", retention(topic))
        .with("paused", paused(topic))
        .with("created at", topic.created_at.to_string())
}

fn status_text(status: &TopicStatus) -> String {
    fields(&status.topic).with("owed", capped(status.backlog, status.backlog_capped)).to_string()
}

fn retention(topic: &Topic) -> String {
    match topic.retention_seconds {
        None => "default".to_owned(),
        Some(0) => "for ever".to_owned(),
        Some(seconds) => seconds.to_string(),
    }
}

fn paused(topic: &Topic) -> String {
    topic.paused.map_or("no", TopicPause::as_str).to_owned()
}
