//! How close lanes come to what a slow receiver lets through. A lane's next request waits for the
//! answer to the one before. There are fewer lanes than slots, and more lanes than slots with one
//! worker and with two. Two workers should be twice as fast.

use std::time::Duration;

use super::{Bench, CliError, Report};
use crate::{
    drain_run::{Drain, client_only},
    figures::{median, rate, ratio, share},
    report::Row,
};

/// How long the receiver takes to answer.
const ANSWER_AFTER: Duration = Duration::from_millis(20);

/// Lanes, workers, and slots of each worker.
const CASES: [(u64, usize, usize); 3] = [(20, 1, 100), (80, 1, 20), (80, 2, 20)];

pub(super) async fn run(bench: &Bench) -> Result<Report, CliError> {
    let (mut rows, mut violations) = (Vec::new(), 0);
    for (lanes, workers, slots) in CASES {
        // A tenth of the usual number takes about ten seconds.
        let messages = (bench.scale.messages / 10).max(lanes * 10);
        let slots_in_all = lanes.min((workers * slots) as u64);
        let drain =
            Drain { answer_after: ANSWER_AFTER, workers, slots: Some(slots), ..Drain::new(messages, lanes) };
        let (mut rates, mut alone, mut cost) = (Vec::new(), Vec::new(), None);
        // The time runs from the first arrival. What arrived at that instant took no time of it.
        let timed = share(messages - slots_in_all, messages);
        for _ in 0..bench.scale.rounds {
            alone.push(client_only(bench, &drain).await? * timed);
            let drained = drain.run(bench).await?;
            violations += drained.violations;
            rates.push(drained.per_second * timed);
            cost = Some(drained.cost);
        }
        let ideal = rate(slots_in_all, ANSWER_AFTER);
        let delivered = median(&rates);
        let row = Row::default()
            .count("lanes", "lanes", lanes)
            .count("workers", "workers", workers as u64)
            .count("slots", "slots of each", slots as u64)
            .number("delivered_per_second", "delivered/s", delivered, 1)
            .number("client_only_per_second", "client only/s", median(&alone), 1)
            .number("ratio", "ratio", ratio(delivered, median(&alone)), 3)
            .number("ideal_per_second", "ideal/s", ideal, 0)
            .number("ratio_to_ideal", "ratio to the ideal", ratio(delivered, ideal), 3);
        rows.push(row.cost_if_known(cost.as_ref()));
    }
    Ok(Report {
        title: "slow-receiver: each answer takes 20 ms",
        rows,
        violations,
        notes: vec![
            "Ideal: each slot's next request starts the moment the last one was answered, after 20 ms to the dot.",
            "With more lanes than slots, one webhook gets four fifths of the slots, so that others find some free.",
            "Client only: the same client and receiver without a database, as many lanes as there are slots.",
        ],
    })
}
