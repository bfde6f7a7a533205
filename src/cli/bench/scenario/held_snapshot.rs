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
    let busy = LoadRun::new(CLIENTS, bench.scale.held);
    let one_lane = LoadRun { clients: 1, keys: 1, per_second: Some(PER_SECOND), ..busy };
    let (mut rows, mut violations) = (Vec::new(), 0);
    for (name, plain) in [("one lane at 100/s", one_lane), ("8 publishers, 1,000 keys", busy)] {
        // The tables grow as long either way.
        let without = plain.run(bench).await?;
        let held = LoadRun { held_snapshot: true, ..plain }.run(bench).await?;
        violations += without.violations + held.violations;
        rows.push(row(name, bench.scale.held.as_secs(), &without, &held));
    }
    Ok(Report {
        title: "held-snapshot: a REPEATABLE READ transaction stays open all the while, beside the same without it",
        rows,
        violations,
        notes: vec![
            "First and last: the first and the last quarter of the time. Plain: without the transaction.",
        ],
    })
}

fn row(name: &str, seconds: u64, plain: &Loaded, held: &Loaded) -> Row {
    let [first, last] = held.quarters;
    let [plain_first, plain_last] = plain.quarters;
    Row::default()
        .text("load", "load", name)
        .count("held_seconds", "snapshot held, s", seconds)
        .number(
            "plain_first_per_second",
            "plain, first quarter, delivered/s",
            plain_first.delivered_per_second,
            0,
        )
        .number(
            "plain_last_per_second",
            "plain, last quarter, delivered/s",
            plain_last.delivered_per_second,
            0,
        )
        .number("first_per_second", "held, first quarter, delivered/s", first.delivered_per_second, 0)
        .number("last_per_second", "held, last quarter, delivered/s", last.delivered_per_second, 0)
        .number(
            "last_to_plain",
            "last quarters, held/plain",
            ratio(last.delivered_per_second, plain_last.delivered_per_second),
            2,
        )
        .number("plain_last_p50_ms", "plain, last quarter, p50 ms", plain_last.latency.p50, 2)
        .number("last_p50_ms", "held, last quarter, p50 ms", last.latency.p50, 2)
        .number("plain_last_p99_ms", "plain, last quarter, p99 ms", plain_last.latency.p99, 2)
        .number("last_p99_ms", "held, last quarter, p99 ms", last.latency.p99, 2)
        .count("lag_messages", "lag, messages", held.lag)
        .cost(&held.cost)
}
