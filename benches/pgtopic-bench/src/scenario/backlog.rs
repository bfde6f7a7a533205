//! Whether a delivery costs more if much is owed: the rate of each tenth while the backlog shrinks.

use super::{Bench, CliError, Report};
use crate::{
    drain_run::Drain,
    figures::{median, ratio},
    report::Row,
    scale::KEYS,
};

/// Dense lanes and sparse ones.
const MESSAGES_PER_LANE: [u64; 2] = [1_000, 10];

pub(super) async fn run(bench: &Bench) -> Result<Report, CliError> {
    let (mut rows, mut violations) = (Vec::new(), 0);
    let small = Drain::new(bench.scale.messages.min(bench.scale.backlog), KEYS).run(bench).await?;
    violations += small.violations;
    for per_lane in MESSAGES_PER_LANE {
        let lanes = (bench.scale.backlog / per_lane).max(1);
        let drained = Drain::new(bench.scale.backlog, lanes).run(bench).await?;
        violations += drained.violations;
        let (first, last) = (drained.tenths[0], drained.tenths[drained.tenths.len() - 1]);
        rows.push(
            Row::default()
                .count("lanes", "lanes", lanes)
                .count("owed", "owed", bench.scale.backlog)
                .number("filled_per_second", "filled/s", drained.filled_per_second, 0)
                .number("delivered_per_second", "delivered/s", drained.per_second, 0)
                .number("first_tenth_per_second", "first tenth/s", first, 0)
                .number("median_tenth_per_second", "median tenth/s", median(&drained.tenths), 0)
                .number("last_tenth_per_second", "last tenth/s", last, 0)
                .number("first_to_last", "first/last", ratio(first, last), 2)
                .number("small_backlog_per_second", "small backlog/s", small.per_second, 0)
                .cost(&drained.cost),
        );
    }
    Ok(Report {
        title: "backlog: one worker, while a large backlog shrinks",
        rows,
        violations,
        notes: vec!["Small backlog: a drain of the usual size over 1,000 lanes."],
    })
}
