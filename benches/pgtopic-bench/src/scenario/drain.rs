//! How fast a worker delivers what is owed, compared with the same client without a database.

use super::{Bench, CliError, Report};
use crate::{
    drain_run::{Drain, Drained, client_only, rates},
    figures::{median, median_ratio},
    report::Row,
    scale::KEYS,
};

/// How many webhooks the topic of the last drain has.
const WEBHOOKS: usize = 3;

pub(super) async fn run(bench: &Bench) -> Result<Report, CliError> {
    let (mut rows, mut violations) = (Vec::new(), 0);
    let mut drains: Vec<Drain> =
        bench.scale.lanes.iter().map(|lanes| Drain::new(bench.scale.messages, *lanes)).collect();
    let messages = (bench.scale.messages / WEBHOOKS as u64).max(1);
    drains.push(Drain { webhooks: WEBHOOKS, ..Drain::new(messages, KEYS.min(messages)) });
    for drain in drains {
        let (row, broken) = compare(bench, drain).await?;
        violations += broken;
        rows.push(row);
    }
    Ok(Report {
        title: "drain: everything is owed already, then one worker delivers it",
        rows,
        violations,
        notes: vec![
            "Client only: the same HTTP client and receiver without a database, as many lanes at once as the worker may.",
            "Medians of the rounds, the two in turn; costs are those of the last round.",
        ],
    })
}

/// Drains, and sends without a database, in turns. Returns the row and the violations of order.
pub(super) async fn compare(bench: &Bench, drain: Drain) -> Result<(Row, u64), CliError> {
    let (mut drained, mut alone): (Vec<Drained>, Vec<f64>) = (Vec::new(), Vec::new());
    for _ in 0..bench.scale.rounds {
        alone.push(client_only(bench, &drain).await?);
        drained.push(drain.run(bench).await?);
    }
    let rates = rates(&drained);
    let row = Row::default()
        .count("lanes", "lanes", drain.lanes)
        .count("webhooks", "webhooks", drain.webhooks as u64)
        .count("messages", "messages", drain.messages)
        .number("delivered_per_second", "delivered/s", median(&rates), 0)
        .number(
            "delivered_per_second_min",
            "slowest round",
            rates.iter().copied().fold(f64::MAX, f64::min),
            0,
        )
        .number("delivered_per_second_max", "fastest round", rates.iter().copied().fold(0.0, f64::max), 0)
        .number("client_only_per_second", "client only/s", median(&alone), 0)
        .number("ratio", "ratio", median_ratio(&rates, &alone), 3);
    let row = row.cost_if_known(drained.last().map(|drained| &drained.cost));
    Ok((row, drained.iter().map(|drained| drained.violations).sum()))
}
