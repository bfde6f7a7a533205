//! Several worker processes on one backlog.

use super::{Bench, CliError, Report};
use crate::cli::bench::{
    drain_run::Drain,
    figures::{median, ratio},
    report::Row,
    scale::KEYS,
};

pub(super) async fn run(bench: &Bench) -> Result<Report, CliError> {
    let (mut rows, mut violations, mut first) = (Vec::new(), 0, None);
    for &workers in &bench.scale.workers {
        let drain = Drain { workers, ..Drain::new(bench.scale.messages, KEYS) };
        let mut rates = Vec::new();
        let mut cost = None;
        for _ in 0..bench.scale.rounds {
            let drained = drain.run(bench).await?;
            violations += drained.violations;
            rates.push(drained.per_second);
            cost = Some(drained.cost);
        }
        let rate = median(&rates);
        let row = Row::default()
            .count("workers", "workers", workers as u64)
            .count("lanes", "lanes", KEYS)
            .number("delivered_per_second", "delivered/s", rate, 0)
            .number("ratio_to_first", "ratio to the first", ratio(rate, *first.get_or_insert(rate)), 2);
        rows.push(row.cost_if_known(cost.as_ref()));
    }
    Ok(Report {
        title: "workers: several worker processes on one backlog",
        rows,
        violations,
        notes: vec![
            "All processes, PostgreSQL and the receiver share this machine. Memory is the largest worker's.",
        ],
    })
}
