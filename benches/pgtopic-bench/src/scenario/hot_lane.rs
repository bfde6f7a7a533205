//! Everything in one partition: one request is in flight at a time, and commits follow one another.

use super::{Bench, CliError, Report, drain, sustained};
use crate::{drain_run::Drain, load_run::LoadRun, report::Row};

/// One lane is slower than many. So fewer messages are enough.
const PART_OF_MESSAGES: u64 = 5;

/// How many publishers share the key.
const CLIENTS: usize = 8;

/// The drain. The load is another report, because it has other figures.
pub(super) async fn run(bench: &Bench) -> Result<Report, CliError> {
    let messages = (bench.scale.messages / PART_OF_MESSAGES).max(1);
    let (row, mut violations) = drain::compare(bench, Drain::new(messages, 1)).await?;
    let load = LoadRun { keys: 1, ..LoadRun::new(CLIENTS, bench.scale.length) };
    let loaded = load.run(bench).await?;
    violations += loaded.violations;
    Ok(Report {
        title: "hot-lane: one partition, drained, then published to by 8 clients",
        rows: vec![row, sustained::row(Row::default().count("clients", "clients", CLIENTS as u64), &loaded)],
        violations,
        notes: vec!["The client alone has one lane too: one request follows the other."],
    })
}
