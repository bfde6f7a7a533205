//! `pgtopic topics`: the topics.

use clap::{Args, Subcommand};

use super::{
    CliError,
    flags::CommonFlags,
    operate::{Operator, OperatorFlags, PageFlags},
    table::{Table, or_dash},
};
use crate::{
    api::schema::{Items, Topic},
    domain,
};

/// List topics
#[derive(Args)]
pub(super) struct Topics {
    #[command(subcommand)]
    command: TopicsCommand,
}

#[derive(Subcommand)]
enum TopicsCommand {
    /// List topics, by rising id
    List {
        #[command(flatten)]
        operator: OperatorFlags,
        #[command(flatten)]
        page: PageFlags,
    },
}

impl Topics {
    pub(super) async fn run(self, common: &CommonFlags) -> Result<(), CliError> {
        match self.command {
            TopicsCommand::List { operator, page } => {
                operator.run(common, async |operator| list_topics(operator, page).await).await
            }
        }
    }
}

async fn list_topics(operator: &Operator, page: PageFlags) -> Result<(), CliError> {
    let topics = operator.broker.list_topics(page.into()).await?;
    let text = table(&topics.items);
    operator.print(&Items::<Topic>::from(topics), text)
}

fn table(topics: &[domain::topic::Topic]) -> String {
    let mut table = Table::new(["id", "topic", "ordering", "retention", "paused"]);
    for topic in topics {
        table.row([
            topic.id.to_string(),
            topic.name.clone(),
            topic.ordering.as_str().to_owned(),
            or_dash(topic.retention_seconds.map(|seconds| format!("{seconds} s"))),
            or_dash(topic.paused.map(|paused| paused.as_str().to_owned())),
        ]);
    }
    table.to_string()
}
