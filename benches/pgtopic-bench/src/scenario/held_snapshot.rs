//! Whether a delivery costs more while another transaction holds an old snapshot. No dead row goes
//! away meanwhile.

use super::{Bench, CliError, Report};
use crate::{
    figures::{median, quantile, ratio},
    load_run::{LoadRun, Loaded},
    report::Row,
};

/// Messages a second of the single lane.
const PER_SECOND: u64 = 100;

/// How many publishers the busy run has.
const CLIENTS: usize = 8;

pub(super) async fn run(bench: &Bench) -> Result<Report, CliError> {
    let busy = LoadRun::new(CLIENTS, bench.scale.held);
    let one_lane = LoadRun { clients: 1, keys: 1, per_second: Some(PER_SECOND), ..busy };
    let (mut rows, mut violations) = (Vec::new(), 0);
    for (name, plain) in [("one lane at 100/s", one_lane), ("8 publishers, 1,000 keys", busy)] {
        let mut rounds = Vec::new();
        for round in 0..bench.scale.rounds {
            // The tables grow for the same time in both. The order changes, because the first run
            // leaves something behind on the disk.
            let run = async |held_snapshot| LoadRun { held_snapshot, ..plain }.run(bench).await;
            let (without, held) = if round % 2 == 0 {
                (run(false).await?, run(true).await?)
            } else {
                let held = run(true).await?;
                (run(false).await?, held)
            };
            violations += without.violations + held.violations;
            rounds.push([without, held]);
        }
        rows.push(row(name, bench.scale.held.as_secs(), &rounds));
    }
    Ok(Report {
        title: "held-snapshot: a REPEATABLE READ transaction stays open all the while, beside the same without it",
        rows,
        violations,
        notes: vec![
            "First and last: the first and the last quarter of the time. Plain: without the transaction. Medians of the rounds.",
        ],
    })
}

/// The run without and the run with it, for each round.
fn row(name: &str, seconds: u64, rounds: &[[Loaded; 2]]) -> Row {
    let medians = |of: fn(&Loaded) -> f64| {
        [0, 1].map(|which| median(&rounds.iter().map(|round| of(&round[which])).collect::<Vec<f64>>()))
    };
    let [plain_first, first] = medians(|run| run.quarters[0].delivered_per_second);
    let [plain_last, last] = medians(|run| run.quarters[1].delivered_per_second);
    let [plain_p50, p50] = medians(|run| run.quarters[1].latency.p50);
    let [plain_p99, p99] = medians(|run| run.quarters[1].latency.p99);
    let ratios: Vec<f64> = rounds
        .iter()
        .map(|round| round.each_ref().map(|run| run.quarters[1].delivered_per_second))
        .map(|[plain, held]| ratio(held, plain))
        .collect();
    let row = Row::default()
        .text("load", "load", name)
        .count("held_seconds", "snapshot held, s", seconds)
        .number("plain_first_per_second", "plain, first quarter, delivered/s", plain_first, 0)
        .number("plain_last_per_second", "plain, last quarter, delivered/s", plain_last, 0)
        .number("first_per_second", "held, first quarter, delivered/s", first, 0)
        .number("last_per_second", "held, last quarter, delivered/s", last, 0)
        .number("last_to_plain", "last quarters, held/plain", median(&ratios), 2)
        .number("last_to_plain_min", "least", quantile(&ratios, 0.0), 2)
        .number("last_to_plain_max", "most", quantile(&ratios, 1.0), 2)
        .number("plain_last_p50_ms", "plain, last quarter, p50 ms", plain_p50, 2)
        .number("last_p50_ms", "held, last quarter, p50 ms", p50, 2)
        .number("plain_last_p99_ms", "plain, last quarter, p99 ms", plain_p99, 2)
        .number("last_p99_ms", "held, last quarter, p99 ms", p99, 2);
    row.cost_if_known(rounds.last().map(|[_, held]| &held.cost))
}
