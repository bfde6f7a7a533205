//! Publishers and one worker at the same time.

use super::{Bench, CliError, Report};
use crate::cli::bench::{
    load_run::{LoadRun, Loaded},
    report::Row,
};

pub(super) async fn run(bench: &Bench) -> Result<Report, CliError> {
    let (mut rows, mut violations) = (Vec::new(), 0);
    for &clients in &bench.scale.clients {
        let loaded = LoadRun::new(clients, bench.scale.length).run(bench).await?;
        violations += loaded.violations;
        rows.push(row(Row::default().count("clients", "clients", clients as u64), &loaded));
    }
    Ok(Report {
        title: "sustained: publishers, one message a transaction, and one worker side by side",
        rows,
        violations,
        notes: vec![
            "Latency: from the return of COMMIT to the arrival. Lag: messages not delivered when publishing ended.",
        ],
    })
}

/// The figures of a run under load.
pub(super) fn row(row: Row, loaded: &Loaded) -> Row {
    row.number("published_per_second", "published/s", loaded.published_per_second, 0)
        .number("delivered_per_second", "delivered/s", loaded.delivered_per_second, 0)
        .number("p50_ms", "p50 ms", loaded.latency.p50, 2)
        .number("p99_ms", "p99 ms", loaded.latency.p99, 2)
        .count("lag_messages", "lag, messages", loaded.lag)
        .number("caught_up_seconds", "caught up in s", loaded.caught_up.as_secs_f64(), 2)
        .cost(&loaded.cost)
}
