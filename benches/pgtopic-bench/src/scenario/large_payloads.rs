//! How much memory a worker needs for large payloads, if receivers are slow.
//!
//! There are as many lanes as slots. A receiver takes some hundred milliseconds to read a body, and
//! then as long to answer.

use std::time::Duration;

use super::{Bench, CliError, Report};
use crate::{
    drain_run::{Drain, in_turns, rates},
    figures::{median, share},
    report::Row,
};

/// The limit of a payload is 1 MiB. What stands around the filler needs less than this of it.
const AROUND: usize = 128;

/// The length of the text in each payload.
const FILLER: usize = (1 << 20) - AROUND;

/// The pause after each piece of a body. A body has about sixteen of them.
const READ_PAUSE: Duration = Duration::from_millis(20);

/// From the last piece of the body to the answer.
const ANSWER_AFTER: Duration = Duration::from_millis(300);

pub(super) async fn run(bench: &Bench) -> Result<Report, CliError> {
    let scale = &bench.scale;
    let drain = Drain {
        answer_after: ANSWER_AFTER,
        read_pause: READ_PAUSE,
        filler: Some(FILLER),
        ..Drain::new(scale.large_payloads, scale.large_lanes)
    };
    let drained = in_turns(bench, &[drain]).await?.remove(0);
    let memory = |of: fn(&crate::meter::Cost) -> Option<f64>| {
        let rounds: Option<Vec<f64>> = drained.iter().map(|drained| of(&drained.cost)).collect();
        rounds.map(|rounds| median(&rounds))
    };
    // The time runs from the first arrival. What arrived at that instant took no time of it.
    let at_once = scale.large_lanes.min(scale.concurrency as u64);
    let timed = share(scale.large_payloads - at_once, scale.large_payloads);
    let row = Row::default()
        .count("messages", "messages of 1 MiB", scale.large_payloads)
        .count("lanes", "lanes", scale.large_lanes)
        .count("slots", "slots", scale.concurrency as u64)
        .number("delivered_per_second", "delivered/s (MiB/s)", median(&rates(&drained)) * timed, 1)
        .number_if_known(
            "worker_grew_mib",
            "worker, peak above its start, MiB",
            memory(|cost| cost.worker_grew_mib),
            1,
        )
        .number_if_known("worker_peak_mib", "worker, peak MiB", memory(|cost| cost.worker_peak_mib), 1);
    Ok(Report {
        title: "large-payloads: a drain of payloads of 1 MiB to a receiver that reads and answers slowly",
        rows: vec![row],
        violations: drained.iter().map(|drained| drained.violations).sum(),
        notes: vec!["Reading a body takes about 320 ms, and the answer 300 ms more. Medians of the rounds."],
    })
}
