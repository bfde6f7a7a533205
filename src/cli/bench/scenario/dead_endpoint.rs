//! What an endpoint that never answers costs a healthy one that shares the worker.

use super::{Bench, CliError, Report};
use crate::cli::bench::{
    drain_run::Drain,
    figures::{median, ratio},
    load_run::LoadRun,
    report::Row,
    scale::KEYS,
};

/// Messages a second to the healthy webhook while latency is measured.
const PER_SECOND: u64 = 50;

pub(super) async fn run(bench: &Bench) -> Result<Report, CliError> {
    let (mut rows, mut violations, mut first) = (Vec::new(), 0, None);
    for hanging in [0, bench.scale.hanging] {
        let (mut rates, mut cost) = (Vec::new(), None);
        for _ in 0..bench.scale.rounds {
            let drained = Drain { hanging, ..Drain::new(bench.scale.messages, KEYS) }.run(bench).await?;
            violations += drained.violations;
            rates.push(drained.per_second);
            cost = Some(drained.cost);
        }
        let paced = LoadRun { per_second: Some(PER_SECOND), hanging, ..LoadRun::new(1, bench.scale.length) };
        let loaded = paced.run(bench).await?;
        violations += loaded.violations;
        let rate = median(&rates);
        let row = Row::default()
            .count("owed_to_the_dead", "owed to the dead one", hanging)
            .number("healthy_per_second", "healthy one, delivered/s", rate, 0)
            .number("ratio", "ratio", ratio(rate, *first.get_or_insert(rate)), 3)
            .number("healthy_p50_ms", "p50 ms at 50/s", loaded.latency.p50, 2)
            .number("healthy_p99_ms", "p99 ms at 50/s", loaded.latency.p99, 2)
            .number("healthy_max_ms", "max ms", loaded.latency.max, 2);
        rows.push(row.cost_if_known(cost.as_ref()));
    }
    Ok(Report {
        title: "dead-endpoint: one webhook hangs, with messages waiting for it, beside a healthy one",
        rows,
        violations,
        notes: vec!["Requests to the dead one last until their timeout (10 s)."],
    })
}
