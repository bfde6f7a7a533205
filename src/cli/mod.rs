//! The command line. There is one file for each command. Several commands share the others:
//!
//! | file | what it holds |
//! |---|---|
//! | `flags`, `settings` | flags of several commands, and the settings that they stand for |
//! | `service`, `server`, `tasks` | the parts of a process that serves, from start to stop |
//! | `operate` | how a command of operators opens the database and prints results |
//! | `confirm`, `input`, `headers`, `words`, `range` | arguments: what needs a yes, files, headers, words |
//! | `bulk` | commands that change much at once: what they ask, and how they watch their job |
//! | `table`, `progress` | tables and fields for people; how far a long command has come |
//! | `error` | why a command failed, and its exit code |
//!
//! A command gets its settings and one cancellation token. The first SIGINT or SIGTERM cancels the
//! token, and the command ends in good order. The second one ends the process at once.

mod api;
mod bulk;
mod completions;
mod confirm;
mod dead_letter;
mod deliveries;
mod dev;
mod doctor;
mod drain;
mod error;
mod flags;
mod headers;
mod health;
mod input;
mod jobs;
mod lanes;
mod messages;
mod migrate;
mod openapi;
mod operate;
mod progress;
mod publish;
mod purge;
mod range;
mod replay;
mod sending;
mod serve;
mod server;
mod service;
mod settings;
mod stats;
mod table;
mod tail;
mod tasks;
mod topics;
mod webhook_flags;
mod webhooks;
mod why;
mod words;
mod worker;
mod workers;

use std::time::Duration;

use clap::{CommandFactory as _, Parser, Subcommand};
use tokio_util::sync::CancellationToken;

pub use self::error::CliError;
use self::{flags::CommonFlags, tasks::Signals};
use crate::telemetry;

/// The text after the list of commands in `--help`.
const AFTER_HELP: &str = "\
Settings come from defaults, the file of --config, the file .env in the working directory, the
environment and flags; a later source wins.
In the environment, section.key is PGTOPIC_SECTION__KEY. DATABASE_URL, WORKER_CONCURRENCY,
MAX_RETRIES and BACKOFF_FACTOR work too.

Exit codes:
  0  done, or stopped by SIGINT or SIGTERM
  1  failed while running
  2  wrong usage or settings
  3  the database cannot be reached
  4  the schema does not fit this version of pgtopic";

/// An ordered topic broker and webhook sender that lives inside PostgreSQL.
#[derive(Parser)]
#[command(name = "pgtopic", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    common: CommonFlags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Dev(dev::Dev),
    Serve(serve::Serve),
    Api(api::Api),
    Worker(worker::Worker),
    Migrate(migrate::Migrate),
    Doctor(doctor::Doctor),
    Health(health::Health),
    Openapi(openapi::Openapi),
    Completions(completions::Completions),
    Topics(topics::Topics),
    Webhooks(webhooks::Webhooks),
    Messages(messages::Messages),
    Publish(publish::Publish),
    Lanes(lanes::Lanes),
    Deliveries(deliveries::Deliveries),
    DeadLetter(dead_letter::DeadLetters),
    Replay(replay::Replay),
    Jobs(jobs::Jobs),
    Purge(purge::Purge),
    Why(why::Why),
    Tail(tail::Tail),
    Drain(drain::Drain),
    Stats(stats::Stats),
    Workers(workers::Workers),
    Sending(sending::Sending),
}

/// Runs a command to its end.
///
/// # Errors
/// [`CliError`] with the reason; [`CliError::exit_code`] gives the exit code.
pub fn run(cli: Cli) -> Result<(), CliError> {
    run_to_end(|shutdown| cli.run(shutdown))
}

/// Runs anything as a command is run: in a runtime of its own, with the token that the first SIGINT
/// or SIGTERM cancels. The second one ends it at once.
pub fn run_to_end<F>(command: impl FnOnce(CancellationToken) -> F) -> Result<(), CliError>
where
    F: Future<Output = Result<(), CliError>>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Failed(format!("cannot start: {error}")))?;
    let result = runtime.block_on(async {
        let signals = Signals::listen()?;
        tokio::select! {
            result = command(signals.shutdown.clone()) => result,
            () = signals.at_once.cancelled() => Err(CliError::Failed("stopped at once by a second signal".to_owned())),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    telemetry::flush_output();
    result
}

impl Cli {
    async fn run(self, shutdown: CancellationToken) -> Result<(), CliError> {
        let common = &self.common;
        match self.command {
            Command::Dev(command) => command.run(common, shutdown).await,
            Command::Serve(command) => command.run(common, shutdown).await,
            Command::Api(command) => command.run(common, shutdown).await,
            Command::Worker(command) => command.run(common, shutdown).await,
            Command::Migrate(command) => command.run(common, shutdown).await,
            Command::Doctor(command) => until(shutdown, command.run(common)).await,
            Command::Health(command) => until(shutdown, command.run(common)).await,
            Command::Openapi(command) => command.run(),
            Command::Replay(command) => until(shutdown, command.run(common)).await,
            Command::Jobs(command) => until(shutdown, command.run(common)).await,
            Command::Purge(command) => until(shutdown, command.run(common)).await,
            Command::Completions(command) => {
                command.run(Self::command());
                Ok(())
            }
            Command::Lanes(command) => until(shutdown, command.run(common)).await,
            Command::Deliveries(command) => until(shutdown, command.run(common)).await,
            Command::DeadLetter(command) => until(shutdown, command.run(common)).await,
            Command::Topics(command) => until(shutdown, command.run(common)).await,
            Command::Webhooks(command) => until(shutdown, command.run(common)).await,
            Command::Messages(command) => until(shutdown, command.run(common)).await,
            Command::Publish(command) => command.run(common, shutdown).await,
            Command::Why(command) => until(shutdown, command.run(common)).await,
            Command::Drain(command) => until(shutdown, command.run(common)).await,
            Command::Tail(command) => command.run(common, shutdown).await,
            Command::Stats(command) => until(shutdown, command.run(common)).await,
            Command::Workers(command) => until(shutdown, command.run(common)).await,
            Command::Sending(command) => until(shutdown, command.run(common)).await,
        }
    }
}

/// Runs a command that ends by itself. The first signal interrupts it.
async fn until(
    shutdown: CancellationToken,
    command: impl Future<Output = Result<(), CliError>>,
) -> Result<(), CliError> {
    let outcome = shutdown.run_until_cancelled(command).await;
    outcome.unwrap_or_else(|| Err(CliError::Failed("interrupted".to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
