//! What the commands of operators share: they open the database, call the same use cases as the
//! API, and print a table for people or JSON for programs.

use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::{
    CliError,
    flags::{COMMON, CommonFlags, DatabaseFlags, Flags},
    table::Table,
};
use crate::{
    api::schema,
    broker::{Broker, Expectations},
    domain::{page, page::PageRequest, scope::TopicScope, topic::TopicRef, webhook_ref::WebhookRef},
    store::Store,
    telemetry::{print_line, say},
};

/// Flags of every command of operators. They stand before or after its verb.
#[derive(Args)]
pub(super) struct OperatorFlags {
    #[command(flatten)]
    database: DatabaseFlags,
    /// Print JSON, as the API would answer; errors are problems (RFC 9457) on standard error
    #[arg(long, global = true, help_heading = COMMON)]
    json: bool,
}

/// The use cases, and how their results are printed.
pub(super) struct Operator {
    pub(super) broker: Broker,
    json: bool,
}

impl OperatorFlags {
    /// Opens the database, and runs a command on it. With `--json` an error is a problem.
    pub(super) async fn run(
        &self,
        common: &CommonFlags,
        command: impl AsyncFnOnce(&Operator) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        self.run_with(common, &[], command).await
    }

    /// The same for a command that has further flags for settings.
    pub(super) async fn run_with(
        &self,
        common: &CommonFlags,
        flags: &[&dyn Flags],
        command: impl AsyncFnOnce(&Operator) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        // On the heap: what commands keep while they wait is large.
        let outcome = match Box::pin(self.open(common, flags)).await {
            Ok(operator) => Box::pin(command(&operator)).await,
            Err(error) => Err(error),
        };
        outcome.map_err(|error| if self.json { CliError::Problem(error.into()) } else { error })
    }

    /// Opens the database and checks its schema. Nothing is brought up to date.
    async fn open(&self, common: &CommonFlags, flags: &[&dyn Flags]) -> Result<Operator, CliError> {
        let (operator, store) = self.prepare(common, flags)?;
        store.check_schema().await?;
        Ok(operator)
    }

    /// Reads the settings. Nothing is asked of the database yet.
    pub(super) fn prepare(
        &self,
        common: &CommonFlags,
        flags: &[&dyn Flags],
    ) -> Result<(Operator, Store), CliError> {
        let flags = [&[&self.database as &dyn Flags], flags].concat();
        let config = common.read(&flags).with_database().accept()?.quiet().start_logging()?;
        let store = Store::new(&config.database)?;
        let defaults = config.delivery.policy();
        let expectations = Expectations {
            // The settings of a command count for nothing that is sent.
            settings: None,
            messages_days: config.retention.messages_days,
            attempts_days: config.retention.attempts_days,
        };
        let broker = Broker::new(store.clone(), config.delivery.allow_networks)
            .with_delivery(config.delivery.ca_file, defaults)
            .starting_paused(config.worker.start_paused)
            .expecting(expectations);
        let actor = format!("command line ({})", user());
        let broker = broker.within(Arc::new(TopicScope::All), actor);
        Ok((Operator { broker, json: self.json }, store))
    }
}

/// The user of the operating system, for the audit log.
fn user() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten();
    user.map_or_else(|| "unknown".to_owned(), |user| user.name)
}

impl Operator {
    /// Prints a result: `value` as JSON, or `text` for people.
    pub(super) fn print(&self, value: &impl Serialize, text: impl AsRef<str>) -> Result<(), CliError> {
        if self.json {
            print_line(&serde_json::to_string_pretty(value).map_err(|error| no_json(&error))?);
        } else {
            print_line(text.as_ref().trim_end());
        }
        Ok(())
    }

    /// Prints a page of a list: as JSON, or as a table. How to see the rest goes to standard error.
    pub(super) fn print_page<T, U: From<T> + Serialize>(
        &self,
        page: page::Items<T>,
        table: impl FnOnce(&[T]) -> Table,
    ) -> Result<(), CliError> {
        let text = if self.json { String::new() } else { table(&page.items).to_string() };
        let page = schema::Items::<U>::from(page);
        self.print(&page, text)?;
        if let (false, Some(next)) = (self.json, page.next()) {
            say(&format!("There is more: --after {next}"));
        }
        Ok(())
    }

    /// With `--json`: prints a part of the result in one line.
    pub(super) fn print_part(&self, value: &impl Serialize) -> Result<(), CliError> {
        if self.json {
            print_line(&serde_json::to_string(value).map_err(|error| no_json(&error))?);
        }
        Ok(())
    }

    /// Whether programs read what is printed.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }
}

fn no_json(error: &serde_json::Error) -> CliError {
    CliError::Failed(format!("cannot write JSON: {error}"))
}

/// Which page of a list is shown.
#[derive(Args)]
pub(super) struct PageFlags {
    /// How many rows are shown at most, 1 to 1000
    #[arg(long, value_name = "NUMBER")]
    limit: Option<i64>,
    /// Begin where an earlier page ended: its `next`
    #[arg(long, value_name = "NEXT")]
    after: Option<String>,
}

impl From<PageFlags> for PageRequest {
    fn from(PageFlags { limit, after }: PageFlags) -> Self {
        Self { limit, after }
    }
}

/// A command that changes something was not told what.
pub(super) fn nothing_to_change() -> CliError {
    CliError::Usage("say what to change: --help lists the settings".to_owned())
}

/// Reads the id or the name of a topic, as an argument.
pub(super) fn topic_argument(text: &str) -> Result<TopicRef, String> {
    TopicRef::parse(text).ok_or_else(|| "must be a topic's id or name".to_owned())
}

/// Reads the id of a webhook, or its topic and name, as an argument.
pub(super) fn webhook_argument(text: &str) -> Result<WebhookRef, String> {
    WebhookRef::parse(text).ok_or_else(|| "must be a webhook's id, or topic:name".to_owned())
}
