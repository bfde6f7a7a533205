//! What a page of the console costs that is open during a drain.

use super::{Bench, CliError, Report};
use crate::{
    drain_run::{Drain, in_turns, rates},
    figures::{median, median_ratio},
    report::Row,
    scale::KEYS,
};

/// The drain lasts for some looks of the page.
const TIMES: u64 = 4;

pub(super) async fn run(bench: &Bench) -> Result<Report, CliError> {
    let pages = [None, Some("/console/"), Some("/console/webhooks/1")];
    let drains = pages.map(|page| Drain { page, ..Drain::new(bench.scale.messages * TIMES, KEYS) });
    let drained = in_turns(bench, &drains).await?;
    let rates: Vec<Vec<f64>> = drained.iter().map(|drained| rates(drained)).collect();
    let rows = pages.iter().zip(&drained).zip(&rates).map(|((page, drained), each)| {
        Row::default()
            .text("page", "open page", page.unwrap_or("none"))
            .number("delivered_per_second", "delivered/s", median(each), 0)
            .number("ratio", "ratio", median_ratio(each, &rates[0]), 3)
            .count(
                "page_bytes",
                "bytes of its stream",
                drained.iter().map(|drained| drained.page_bytes).sum(),
            )
            .cost_if_known(drained.last().map(|drained| &drained.cost))
    });
    Ok(Report {
        title: "console: a drain while a page of the console is open",
        rows: rows.collect(),
        violations: drained.iter().flatten().map(|drained| drained.violations).sum(),
        notes: vec!["The process that serves the page shares this machine with all others."],
    })
}
