//! `pgtopic-bench` measures this machine.
//!
//! Figures are of whole processes. PostgreSQL, each worker and what they are compared with are
//! processes of their own. Publishers and the receiver are this process. Every measurement has a
//! fresh database. What is compared takes turns. Every wait has a limit, and only loopback is used.
//!
//! | file | what it does |
//! |---|---|
//! | `scenario/` | what is measured, one file each |
//! | `drain_run`, `load_run` | what scenarios have in common: a drain, a run under load |
//! | `server`, `sql` | the PostgreSQL, the databases, and what is asked of them |
//! | `process`, `child` | workers and clients, which are this program in another role |
//! | `client` | the role of the client that sends without a broker |
//! | `load` | publishers |
//! | `console_page` | somebody who looks at a page of the console |
//! | `receiver`, `tally` | what arrives: how much, when, in order or not |
//! | `meter`, `system` | what it cost |
//! | `figures`, `report`, `progress` | arithmetic, tables and JSON, the line that moves |
//! | `scale` | how much is measured |

#![expect(clippy::doc_markdown, reason = "the words of a flag are shown as they stand")]

mod child;
mod client;
mod console_page;
mod drain_run;
mod figures;
mod load;
mod load_run;
mod meter;
mod process;
mod progress;
mod receiver;
mod report;
mod scale;
mod scenario;
mod server;
mod sql;
mod system;
mod tally;

use std::{
    io::{Write as _, stdout},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use pgtopic::{
    cli::{CliError, run_to_end},
    config::{Config, Environment, Flag, Sources},
    telemetry,
};
use tokio_util::sync::CancellationToken;

use self::{
    progress::Progress, report::Setting, scale::Scale, scenario::Scenario, server::Server, system::Machine,
};

/// What is measured if nothing is named.
const USUAL: [Scenario; 4] = [Scenario::Publish, Scenario::Drain, Scenario::Sustained, Scenario::Latency];

/// Measure how fast this machine publishes and delivers
///
/// Starts a temporary PostgreSQL, or uses the server of --database-url, where it makes databases
/// named pgtopic_bench_... and drops them again; nothing else is touched. Exit code 1 if anything
/// arrived out of order.
#[derive(Parser)]
#[command(name = "pgtopic-bench", version, max_term_width = 100)]
struct Command {
    /// What to measure [default: publish drain sustained latency]
    #[arg(value_enum, value_name = "SCENARIO")]
    scenarios: Vec<Scenario>,
    /// Only show that everything works, in seconds; the figures mean nothing
    #[arg(long)]
    quick: bool,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Use this server; the role must be allowed to create databases
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Directory of PostgreSQL's programs [default: found]
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "database_url")]
    pg_bin: Option<PathBuf>,
    /// Messages of a drain [default: 100000]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    messages: Option<u64>,
    /// Over how many lanes a drain is spread [default: 20,1000,100000]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    lanes: Vec<u64>,
    /// How many publishers there are [default: 1,8,32]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=128))]
    clients: Vec<u64>,
    /// How often each measurement is made; medians are shown [default: 3]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=100))]
    rounds: Option<u64>,
    /// How long publishers publish [default: 5]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: Option<u64>,
    /// How many messages a second are published in sustained [default: as many as can be]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    per_second: Option<u64>,
    /// How long each run of held-snapshot takes, of which there are four a round [default: 2]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=600))]
    minutes: Option<u64>,
    /// Messages owed in the scenario backlog [default: 1000000]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(10..=50_000_000))]
    backlog: Option<u64>,
    /// Lanes in flight in one worker [default: 100]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    concurrency: Option<u64>,
    /// Read settings from this file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The schema where everything lives [setting: database.schema]
    #[arg(long, value_name = "NAME")]
    schema: Option<String>,
    /// How log lines look: text or json [setting: log.format]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

/// What scenarios work with.
struct Bench {
    scale: Scale,
    server: Server,
    progress: Progress,
}

fn main() -> ExitCode {
    // It is dropped last, when everything is printed.
    let _log = telemetry::flush_at_end();
    let measure = || {
        let command = Command::parse();
        run_to_end(|shutdown| Box::pin(command.run(shutdown)))
    };
    match child::run().unwrap_or_else(measure) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            for line in error.to_string().lines() {
                telemetry::say(&format!("pgtopic-bench: {line}"));
            }
            error.exit_code()
        }
    }
}

/// Settings as pgtopic's own commands read them.
fn settings(file: Option<PathBuf>, flags: Vec<Flag>) -> Result<Config, CliError> {
    let environment = Environment::of_process();
    Ok(Config::load(&Sources { file, environment, flags })?)
}

/// Prints a line on standard output. If the reader went away, that is no failure.
fn print_line(line: &str) {
    let _ = writeln!(stdout(), "{line}");
}

impl Command {
    async fn run(self, shutdown: CancellationToken) -> Result<(), CliError> {
        let mut config = self.settings()?;
        if config.log.level == Config::default().log.level {
            // The results are printed. The log would only disturb.
            "warn".clone_into(&mut config.log.level);
        }
        telemetry::start(&config.log, std::env::var("RUST_LOG").ok().as_deref())?;
        let starting = Server::start(config.database, self.database_url.clone(), self.pg_bin.clone());
        let Some(server) = shutdown.run_until_cancelled(starting).await else { return Ok(()) };
        let bench = Bench { scale: self.scale(), server: server?, progress: Progress::start() };
        let outcome = shutdown.run_until_cancelled(self.measure(&bench)).await;
        let Bench { server, progress, .. } = bench;
        drop(progress);
        let stopped = server.stop().await;
        outcome.unwrap_or_else(|| Err(failed("interrupted".to_owned()))).and(stopped)
    }

    fn settings(&self) -> Result<Config, CliError> {
        let flags =
            [("--schema", "database.schema", &self.schema), ("--log-format", "log.format", &self.log_format)];
        let flags = flags.into_iter().filter_map(|(name, key, value)| {
            value.clone().map(|value| Flag { name, key, values: vec![value] })
        });
        settings(self.config.clone(), flags.collect())
    }

    async fn measure(&self, bench: &Bench) -> Result<(), CliError> {
        let setting = Setting {
            machine: Machine::look(),
            server: bench.server.settings().await?,
            embedded: bench.server.is_embedded(),
            concurrency: bench.scale.concurrency,
        };
        self.print(bench, || setting.text());
        let (mut reports, mut violations) = (Vec::new(), 0);
        let scenarios = if self.scenarios.is_empty() { &USUAL[..] } else { &self.scenarios };
        for scenario in scenarios {
            bench.progress.scenario(&scenario.name());
            let report = scenario.run(bench).await?;
            violations += report.violations;
            self.print(bench, || report.table());
            reports.push(report.json(&scenario.name()));
        }
        if self.json {
            bench.progress.aside(|| print_line(&setting.json(&reports).to_string()));
        }
        if violations > 0 {
            return Err(failed(format!("the order was broken {violations} times")));
        }
        Ok(())
    }

    /// Prints for people.
    fn print(&self, bench: &Bench, text: impl FnOnce() -> String) {
        if !self.json {
            bench.progress.aside(|| print_line(&text()));
        }
    }

    fn scale(&self) -> Scale {
        let mut scale = if self.quick { Scale::quick() } else { Scale::full() };
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let set = |place: &mut u64, given: Option<u64>| *place = given.unwrap_or(*place);
        set(&mut scale.messages, self.messages);
        set(&mut scale.backlog, self.backlog);
        scale.rounds = self.rounds.map_or(scale.rounds, size);
        scale.concurrency = self.concurrency.map_or(scale.concurrency, size);
        scale.length = self.seconds.map_or(scale.length, Duration::from_secs);
        scale.per_second = self.per_second.or(scale.per_second);
        scale.held = self.minutes.map_or(scale.held, Duration::from_mins);
        if !self.lanes.is_empty() {
            scale.lanes.clone_from(&self.lanes);
        }
        if !self.clients.is_empty() {
            scale.clients = self.clients.iter().map(|clients| size(*clients)).collect();
        }
        scale
    }
}

fn failed(text: String) -> CliError {
    CliError::Failed(text)
}
