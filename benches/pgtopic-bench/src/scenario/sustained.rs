//! Publishers and one worker at the same time.

use super::{Bench, CliError, Report};
use crate::{
    load_run::{LoadRun, Loaded},
    report::Row,
};

pub(super) async fn run(bench: &Bench) -> Result<Report, CliError> {
    let clients = &bench.scale.clients;
    let mut rounds: Vec<Vec<Loaded>> = clients.iter().map(|_| Vec::new()).collect();
    for round in 0..bench.scale.rounds {
        for turn in 0..clients.len() {
            let which = (round + turn) % clients.len();
            let load = LoadRun::new(clients[which], bench.scale.length);
            let load = LoadRun { per_second: bench.scale.per_second, ..load };
            rounds[which].push(load.run(bench).await?);
        }
    }
    let violations = rounds.iter().flatten().map(|loaded| loaded.violations).sum();
    let rows = clients.iter().zip(&mut rounds).filter_map(|(clients, rounds)| {
        rounds.sort_by(|one, other| one.delivered_per_second.total_cmp(&other.delivered_per_second));
        let named = Row::default().count("clients", "clients", *clients as u64);
        let (slowest, fastest) = (rounds.first()?, rounds.last()?);
        Some(
            row(named, &rounds[rounds.len() / 2])
                .number("slowest_per_second", "slowest round, delivered/s", slowest.delivered_per_second, 0)
                .number("fastest_per_second", "fastest round, delivered/s", fastest.delivered_per_second, 0),
        )
    });
    Ok(Report {
        title: "sustained: publishers, one message a transaction, and one worker side by side",
        rows: rows.collect(),
        violations,
        notes: vec![
            "Latency: from the return of COMMIT to the arrival. Lag: messages not delivered when publishing ended.",
            "Of the rounds, which take turns, the one in the middle by what was delivered.",
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
