//! The runs of conformity.

use std::time::Instant;

use pgtopic_testkit::{TestCluster, TestDatabase};
use tokio_postgres::Client;

use super::{
    action::Mode,
    functions::{Changed, set_lock_timeouts},
    guards,
    real::Real,
    script::{self, Difference, PLAIN},
};
use crate::functions::guards::{Guard, Guards};

/// Two sessions stop at break points.
const STOPPING: Mode = Mode { stops: [false, true, true], ..PLAIN };

/// A database with the functions as a mode needs them, and perhaps without a guard.
async fn database(mode: Mode, removed: Option<Guard>) -> TestDatabase {
    let database = TestDatabase::new().await;
    change(&database.client().await, mode, removed).await;
    database
}

async fn change(client: &Client, mode: Mode, removed: Option<Guard>) {
    let mut changed = Changed::default();
    if mode.stops.contains(&true) {
        changed.stop();
    }
    if let Some(guard) = removed {
        guards::remove(&mut changed, guard);
    }
    changed.apply(client).await;
    set_lock_timeouts(client, mode.lock_timeouts).await;
}

/// Runs scripts of some seeds until one shows a difference.
async fn find(
    real: &mut Real,
    mode: Mode,
    guards: Guards,
    seeds: impl Iterator<Item = u64>,
) -> Option<(u64, Difference)> {
    for seed in seeds {
        if let Some(found) = script::run(real, seed, mode, guards).await {
            return Some((seed, found));
        }
    }
    None
}

/// Runs scripts of some seeds, which must show no difference.
async fn conform(mode: Mode, seeds: impl Iterator<Item = u64>) {
    let database = database(mode, None).await;
    conform_on(database.url(), mode, seeds).await;
}

async fn conform_on(url: &str, mode: Mode, seeds: impl Iterator<Item = u64>) {
    let mut real = Real::open(url, mode).await;
    let began = Instant::now();
    if let Some((seed, found)) = find(&mut real, mode, Guards::all(), seeds).await {
        println!("seed {seed}:\n{}", found.report());
        let steps = found.steps.len();
        let found = script::shrink(&mut real, found, mode, Guards::all()).await;
        panic!("seed {seed}, {steps} steps, of which these are needed:\n{}", found.report());
    }
    println!("{:?}: {}", began.elapsed(), real.coverage.text());
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The seeds of a run: fixed ones, or those that the environment asks for.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let first = number("CONFORMITY_SEED").unwrap_or(1);
    first..first + number("CONFORMITY_SCRIPTS").unwrap_or(count)
}

#[tokio::test]
async fn whole_calls_conform() {
    conform(PLAIN, seeds(20)).await;
}

#[tokio::test]
async fn calls_that_stop_between_statements_conform() {
    conform(STOPPING, seeds(20)).await;
}

#[tokio::test]
async fn waits_that_end_at_their_limit_conform() {
    conform(Mode { lock_timeouts: true, ..PLAIN }, seeds(10)).await;
}

#[tokio::test]
async fn prepared_transactions_conform() {
    let cluster = TestCluster::private_with(&[("max_prepared_transactions", "20")]).await;
    let mode = Mode { prepares: true, notifies: false, ..PLAIN };
    change(&cluster.client().await, mode, None).await;
    conform_on(&cluster.url(), mode, seeds(20)).await;
    // Who has notified cannot prepare.
    conform_on(&cluster.url(), Mode { notifies: true, ..mode }, seeds(5)).await;
}

/// How fast each guard is missed, in SQL and in the model: the table of `GUARDS.md`.
#[tokio::test]
#[ignore = "measures, and takes minutes"]
async fn measure_guards() {
    let limit = number("GUARD_SCRIPTS").unwrap_or(300);
    let only = std::env::var("GUARDS").ok();
    for guard in Guard::ALL {
        if only.as_ref().is_some_and(|only| !only.split(',').any(|name| *name == format!("{guard:?}"))) {
            continue;
        }
        let mut line = format!("| {guard:?} |");
        for mode in [PLAIN, STOPPING] {
            for in_sql in [true, false] {
                if std::env::var("GUARDS_IN").is_ok_and(|only| (only == "sql") != in_sql) {
                    continue;
                }
                let database = database(mode, in_sql.then_some(guard)).await;
                let mut real = Real::open(database.url(), mode).await;
                let guards = if in_sql { Guards::all() } else { Guards::all().without(guard) };
                let began = Instant::now();
                let found = find(&mut real, mode, guards, 1..=limit).await;
                let cell = found.map(|(seed, _)| format!(" {seed} ({:.1} s) |", began.elapsed().as_secs_f32()));
                line += &cell.unwrap_or_else(|| " - |".to_owned());
            }
        }
        println!("{line}");
    }
}
