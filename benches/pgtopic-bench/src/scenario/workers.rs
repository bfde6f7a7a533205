//! Several worker processes on one backlog: with all cores, and with one thread each.

use super::{Bench, CliError, Report};
use crate::{
    drain_run::{Drain, in_turns, rates},
    figures::{median, median_ratio},
    report::Row,
    scale::KEYS,
};

pub(super) async fn run(bench: &Bench) -> Result<Report, CliError> {
    let drains: Vec<Drain> = [None, Some(1)]
        .into_iter()
        .flat_map(|threads| bench.scale.workers.iter().map(move |workers| (*workers, threads)))
        .map(|(workers, threads)| Drain { workers, threads, ..Drain::new(bench.scale.messages, KEYS) })
        .collect();
    let drained = in_turns(bench, &drains).await?;
    let rates: Vec<Vec<f64>> = drained.iter().map(|drained| rates(drained)).collect();
    let rows = drains.iter().zip(&drained).zip(&rates).map(|((drain, drained), each)| {
        let threads = drain.threads.map_or_else(|| "default".to_owned(), |threads| threads.to_string());
        Row::default()
            .count("workers", "workers", drain.workers as u64)
            .text("threads", "threads of each", &threads)
            .count("lanes", "lanes", KEYS)
            .number("delivered_per_second", "delivered/s", median(each), 0)
            .number("ratio_to_first", "ratio to the first", median_ratio(each, &rates[0]), 2)
            .cost_if_known(drained.last().map(|drained| &drained.cost))
    });
    Ok(Report {
        title: "workers: several worker processes on one backlog",
        rows: rows.collect(),
        violations: drained.iter().flatten().map(|drained| drained.violations).sum(),
        notes: vec![
            "Threads by default: as many as there are cores, or what TOKIO_WORKER_THREADS says.",
            "All processes, PostgreSQL and the receiver share this machine. Memory is the largest worker's.",
        ],
    })
}
