//! What an endpoint that never answers costs a healthy endpoint of the same worker.

use super::{Bench, CliError, Report};
use crate::{
    drain_run::{Drain, in_turns, rates},
    figures::{median, median_ratio},
    load_run::LoadRun,
    report::Row,
    scale::KEYS,
};

/// Messages a second to the healthy webhook while latency is measured.
const PER_SECOND: u64 = 50;

pub(super) async fn run(bench: &Bench) -> Result<Report, CliError> {
    let drains =
        [0, bench.scale.hanging].map(|hanging| Drain { hanging, ..Drain::new(bench.scale.messages, KEYS) });
    let drained = in_turns(bench, &drains).await?;
    let mut violations = drained.iter().flatten().map(|drained| drained.violations).sum();
    let alone = rates(&drained[0]);
    let mut rows = Vec::new();
    for (Drain { hanging, .. }, drained) in drains.into_iter().zip(&drained) {
        let paced = LoadRun { per_second: Some(PER_SECOND), hanging, ..LoadRun::new(1, bench.scale.length) };
        let loaded = paced.run(bench).await?;
        violations += loaded.violations;
        let rates = rates(drained);
        let row = Row::default()
            .count("owed_to_the_dead", "owed to the dead one", hanging)
            .number("healthy_per_second", "healthy one, delivered/s", median(&rates), 0)
            .number("ratio", "ratio", median_ratio(&rates, &alone), 3)
            .number("healthy_p50_ms", "p50 ms at 50/s", loaded.latency.p50, 2)
            .number("healthy_p99_ms", "p99 ms at 50/s", loaded.latency.p99, 2)
            .number("healthy_max_ms", "max ms", loaded.latency.max, 2);
        rows.push(row.cost_if_known(drained.last().map(|drained| &drained.cost)));
    }
    Ok(Report {
        title: "dead-endpoint: one webhook hangs, with messages waiting for it, beside a healthy one",
        rows,
        violations,
        notes: vec!["Requests to the dead one last until their timeout (10 s)."],
    })
}
