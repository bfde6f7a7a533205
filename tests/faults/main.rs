//! Faults that are really injected: the built binary, a real PostgreSQL, and everything that goes
//! wrong between them.
//!
//! A run starts workers, an API, publishers and receivers. It works through a schedule of faults,
//! which follows from a seed. Some faults come at once. Then the run heals everything, waits until
//! nothing is owed, and checks the history. `docs/testing.md` says more.
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `FAULTS_SEED` | the schedule, and what publishers do | a new one each run; printed |
//! | `FAULTS_MINUTES` | how long the long run injects faults | 10 |
//! | `FAULTS_ONLY` | only these faults, in this order; names joined by `+` come at once | all |
//!
//! ```sh
//! cargo test --test faults -- --nocapture                # the short run
//! FAULTS_MINUTES=60 FAULTS_SEED=7 cargo test --test faults -- --ignored --nocapture
//! ```

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(clippy::similar_names, reason = "what a receiver received")]

mod incident;
mod inject;
mod kill;
mod kind;
mod living;
mod memory;
mod publishers;
mod report;
mod run;
mod schedule;
mod server;
mod stage;
mod wal_disk;

use std::time::Duration;

use self::schedule::Schedule;

/// Every fault once, and some at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_out_of_order_whatever_fails() {
    run::run(Schedule::short(seed())).await;
}

/// The long run: `cargo test --test faults -- --ignored`. It takes `FAULTS_MINUTES` minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes FAULTS_MINUTES, 10 by default"]
async fn nothing_is_lost_or_out_of_order_for_a_long_time() {
    let minutes = number("FAULTS_MINUTES").unwrap_or(10);
    run::run(Schedule::long(seed(), Duration::from_secs(60 * minutes))).await;
}

fn seed() -> u64 {
    let seed = number("FAULTS_SEED").unwrap_or_else(|| rand::random_range(0..1_000_000));
    println!("FAULTS_SEED={seed}");
    seed
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}
