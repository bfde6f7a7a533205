//! Whether a delivery costs more while an unrelated transaction holds an old snapshot, so that no dead row goes away.

use super::{Bench, CliError, Report};
use crate::cli::bench::{
    figures::ratio,
    load_run::{LoadRun, Loaded},
    report::Row,
};

/// Messages a second of the single lane.
const PER_SECOND: u64 = 100;

/// How many publishers the busy run has.
const CLIENTS: usize = 8;

pub(super) async fn run(bench: &Bench) -> Result<Report, CliError> {
    let held = LoadRun { held_snapshot: true, ..LoadRun::new(CLIENTS, bench.scale.held) };
    let one_lane = LoadRun { clients: 1, keys: 1, per_second: Some(PER_SECOND), ..held };
    let (mut rows, mut violations) = (Vec::new(), 0);
    for (name, run) in [("one lane at 100/s", one_lane), ("8 publishers, 1,000 keys", held)] {
        let loaded = run.run(bench).await?;
        violations += loaded.violations;
        rows.push(row(name, bench.scale.held.as_secs(), &loaded));
    }
    Ok(Report {
        title: "held-snapshot: a REPEATABLE READ transaction stays open all the while",
        rows,
        violations,
        notes: vec!["First and last: the first and the last quarter of the time."],
    })
}

fn row(name: &str, seconds: u64, loaded: &Loaded) -> Row {
    let [first, last] = loaded.quarters;
    Row::default()
        .text("load", "load", name)
        .count("held_seconds", "snapshot held, s", seconds)
        .number("first_per_second", "first quarter, delivered/s", first.delivered_per_second, 0)
        .number("last_per_second", "last quarter, delivered/s", last.delivered_per_second, 0)
        .number(
            "last_to_first",
            "last/first",
            ratio(last.delivered_per_second, first.delivered_per_second),
            2,
        )
        .number("first_p50_ms", "first quarter, p50 ms", first.latency.p50, 2)
        .number("last_p50_ms", "last quarter, p50 ms", last.latency.p50, 2)
        .number("first_p99_ms", "first quarter, p99 ms", first.latency.p99, 2)
        .number("last_p99_ms", "last quarter, p99 ms", last.latency.p99, 2)
        .count("lag_messages", "lag, messages", loaded.lag)
        .cost(&loaded.cost)
}
