//! How close a few lanes come to what a slow receiver lets through: while one answer is awaited, the lane's next request
//! may not start.

use std::time::Duration;

use super::{Bench, CliError, Report};
use crate::cli::bench::{
    drain_run::{Drain, client_only},
    figures::{median, rate, ratio, share},
    report::Row,
};

/// How long the receiver takes to answer.
const ANSWER_AFTER: Duration = Duration::from_millis(20);

/// Lanes; each can have one request in flight.
const LANES: u64 = 20;

pub(super) async fn run(bench: &Bench) -> Result<Report, CliError> {
    // A tenth of the usual number takes some ten seconds.
    let drain =
        Drain { answer_after: ANSWER_AFTER, ..Drain::new((bench.scale.messages / 10).max(LANES), LANES) };
    let (mut rates, mut alone, mut violations, mut cost) = (Vec::new(), Vec::new(), 0, None);
    // The time runs from the first arrival: what arrived in that instant has taken none of it.
    let timed = share(drain.messages - LANES, drain.messages);
    for _ in 0..bench.scale.rounds {
        alone.push(client_only(bench, &drain).await? * timed);
        let drained = drain.run(bench).await?;
        violations += drained.violations;
        rates.push(drained.per_second * timed);
        cost = Some(drained.cost);
    }
    let ideal = rate(LANES, ANSWER_AFTER);
    let delivered = median(&rates);
    let row = Row::default()
        .count("lanes", "lanes", LANES)
        .number("answer_after_ms", "answer after, ms", ANSWER_AFTER.as_secs_f64() * 1e3, 0)
        .number("delivered_per_second", "delivered/s", delivered, 1)
        .number("client_only_per_second", "client only/s", median(&alone), 1)
        .number("ratio", "ratio", ratio(delivered, median(&alone)), 3)
        .number("ideal_per_second", "ideal/s", ideal, 0)
        .number("ratio_to_ideal", "ratio to the ideal", ratio(delivered, ideal), 3);
    Ok(Report {
        title: "slow-receiver: 20 lanes, each answer takes 20 ms",
        rows: vec![row.cost_if_known(cost.as_ref())],
        violations,
        notes: vec![
            "Ideal: each lane's next request starts the moment the last one was answered, after 20 ms to the dot.",
            "Client only: the same client and receiver without a database.",
        ],
    })
}
