//! Several worker processes on one backlog: as they are started, and on one thread each.

use super::{Bench, CliError, Report};
use crate::cli::bench::{
    drain_run::{Drain, Drained},
    figures::{median, ratio},
    report::Row,
    scale::KEYS,
};

pub(super) async fn run(bench: &Bench) -> Result<Report, CliError> {
    let drains: Vec<Drain> = [None, Some(1)]
        .into_iter()
        .flat_map(|threads| bench.scale.workers.iter().map(move |workers| (*workers, threads)))
        .map(|(workers, threads)| Drain { workers, threads, ..Drain::new(bench.scale.messages, KEYS) })
        .collect();
    let mut drained: Vec<Vec<Drained>> = drains.iter().map(|_| Vec::new()).collect();
    for _ in 0..bench.scale.rounds {
        for (drain, drained) in drains.iter().zip(&mut drained) {
            drained.push(drain.run(bench).await?);
        }
    }
    let mut first = None;
    let rows = drains.iter().zip(&drained).map(|(drain, drained)| {
        let rate = median(&drained.iter().map(|drained| drained.per_second).collect::<Vec<_>>());
        let threads = drain.threads.map_or_else(|| "cores".to_owned(), |threads| threads.to_string());
        Row::default()
            .count("workers", "workers", drain.workers as u64)
            .text("threads", "threads of each", &threads)
            .count("lanes", "lanes", KEYS)
            .number("delivered_per_second", "delivered/s", rate, 0)
            .number("ratio_to_first", "ratio to the first", ratio(rate, *first.get_or_insert(rate)), 2)
            .cost_if_known(drained.last().map(|drained| &drained.cost))
    });
    Ok(Report {
        title: "workers: several worker processes on one backlog",
        rows: rows.collect(),
        violations: drained.iter().flatten().map(|drained| drained.violations).sum(),
        notes: vec![
            "Threads: as many as there are cores, or what TOKIO_WORKER_THREADS says.",
            "All processes, PostgreSQL and the receiver share this machine. Memory is the largest worker's.",
        ],
    })
}
