//! The runs of conformity.

use std::time::{Duration, Instant};

use pgtopic_testkit::TestDatabase;

use super::{
    action::Mode,
    real::Real,
    script::{self, PLAIN},
};
use crate::functions::guards::Guards;

/// Runs scripts of some seeds.
async fn conform(url: &str, mode: Mode, seeds: impl Iterator<Item = u64>, time: Duration) {
    let mut real = Real::open(url, mode).await;
    let (began, mut scripts) = (Instant::now(), 0);
    for seed in seeds {
        if began.elapsed() > time {
            break;
        }
        scripts += 1;
        if let Some(found) = script::run(&mut real, seed, mode, Guards::all()).await {
            let steps = found.steps.len();
            let found = script::shrink(&mut real, found, mode, Guards::all()).await;
            panic!("seed {seed}, {steps} steps, of which these are needed:\n{}", found.report());
        }
    }
    println!("{scripts} scripts in {:?}: {}", began.elapsed(), real.coverage.text());
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[tokio::test]
async fn whole_calls_conform() {
    let database = TestDatabase::new().await;
    let first = number("CONFORMITY_SEED").unwrap_or(1);
    let count = number("CONFORMITY_SCRIPTS").unwrap_or(100);
    conform(database.url(), PLAIN, first..first + count, Duration::from_secs(3600)).await;
}
