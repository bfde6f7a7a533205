//! The runs of conformity.

use std::time::{Duration, Instant};

use pgtopic_testkit::{TestCluster, TestDatabase};
use tokio_postgres::Client;

use super::{
    action::Mode,
    functions::{Changed, set_lock_timeouts},
    guards::{self, KNOWN, Shown},
    real::Real,
    scenarios::{SCENARIOS, Scenario},
    script::{self, Difference, PLAIN},
};
use crate::functions::guards::{Guard, Guards};

/// Two sessions stop at break points.
pub(crate) const STOPPING: Mode = Mode { stops: [false, true, true], ..PLAIN };
/// The functions' waits end at their own limit.
const LIMITED: Mode = Mode { lock_timeouts: true, ..PLAIN };
/// Breakers open.
const BREAKING: Mode = Mode { breakers: true, ..PLAIN };
/// Transactions are prepared.
const PREPARING: Mode = Mode { prepares: true, notifies: false, ..PLAIN };

/// From which script on a guard that was removed must be missed, at most.
const TRIES: u64 = 30;

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

/// A server that can prepare transactions.
async fn preparing_cluster() -> TestCluster {
    let cluster = TestCluster::private_with(&[("max_prepared_transactions", "20")]).await;
    change(&cluster.client().await, PREPARING, None).await;
    cluster
}

/// Runs scripts of some seeds until one shows a difference.
async fn find(
    real: &mut Real,
    mode: Mode,
    guards: Guards,
    seeds: impl IntoIterator<Item = u64>,
) -> Option<(u64, Difference)> {
    for seed in seeds {
        if let Some(found) = script::run(real, seed, mode, guards).await {
            return Some((seed, found));
        }
    }
    None
}

/// Runs scripts of some seeds, which must show no difference.
async fn conform(real: &mut Real, mode: Mode, seeds: &[u64]) {
    let (began, all) = (Instant::now(), Guards::all());
    if let Some((seed, found)) = find(real, mode, all, seeds.iter().copied()).await {
        println!("SIMULATION_SEED={seed} SIMULATION_SCRIPTS=1 {mode:?}\n{}", found.report());
        let found = script::shrink(real, found, mode, all).await;
        panic!("seed {seed}; these steps are needed:\n{}", found.report());
    }
    println!("{} scripts in {:?}: {}", seeds.len(), began.elapsed(), real.coverage.text());
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The seeds of a run: fixed ones, then new ones; or those that the environment asks for.
fn seeds(fixed: u64, new: u64) -> Vec<u64> {
    let scripts = number("SIMULATION_SCRIPTS");
    if let Some(first) = number("SIMULATION_SEED") {
        return (first..first + scripts.unwrap_or(fixed)).collect();
    }
    let first = rand::random_range(1_000..1_000_000_000);
    println!("new seeds: SIMULATION_SEED={first}");
    (1..=scripts.unwrap_or(fixed)).chain(first..first + new).collect()
}

#[tokio::test]
async fn whole_calls_conform() {
    let database = database(PLAIN, None).await;
    let mut real = Real::open(database.url(), PLAIN).await;
    conform(&mut real, PLAIN, &seeds(9, 3)).await;
    if number("SIMULATION_SEED").is_some() {
        return;
    }
    // Scripts in which nobody meets say nothing.
    for met in ["Publish waits", "Claim some", "Settle lost", "Cancel removed", "notified"] {
        assert!(real.coverage.of(met) > 0, "{met}");
    }
}

#[tokio::test]
async fn calls_that_stop_between_statements_conform() {
    let database = database(STOPPING, None).await;
    let mut real = Real::open(database.url(), STOPPING).await;
    conform(&mut real, STOPPING, &seeds(5, 2)).await;
}

#[tokio::test]
async fn calls_of_breakers_conform() {
    let database = database(BREAKING, None).await;
    let mut real = Real::open(database.url(), BREAKING).await;
    conform(&mut real, BREAKING, &seeds(9, 3)).await;
    if number("SIMULATION_SEED").is_some() {
        return;
    }
    let times = |what: &str| real.coverage.of(what);
    let probes = times("TakeProbes only") + times("TakeProbes more");
    for met in [times("OpenBreaker opened"), probes, times("Cancel removed")] {
        assert!(met > 0, "{}", real.coverage.text());
    }
}

#[tokio::test]
async fn waits_that_end_at_their_limit_conform() {
    let database = database(LIMITED, None).await;
    let mut real = Real::open(database.url(), LIMITED).await;
    conform(&mut real, LIMITED, &seeds(6, 2)).await;
}

#[tokio::test]
async fn prepared_transactions_conform() {
    let cluster = preparing_cluster().await;
    for (mode, fixed) in [(PREPARING, 6), (Mode { notifies: true, ..PREPARING }, 3)] {
        let mut real = Real::open(&cluster.url(), mode).await;
        conform(&mut real, mode, &seeds(fixed, 2)).await;
    }
}

#[tokio::test]
async fn scenarios_conform() {
    let (plain, stopping) = (database(PLAIN, None).await, database(STOPPING, None).await);
    for (name, mode, scenario) in SCENARIOS {
        let database = if mode == PLAIN { &plain } else { &stopping };
        let found = follow(database, mode, scenario, Guards::all()).await;
        assert!(found.is_none(), "{name}:\n{}", found.map(|found| found.report()).unwrap_or_default());
    }
}

async fn follow(
    database: &TestDatabase,
    mode: Mode,
    scenario: Scenario,
    guards: Guards,
) -> Option<Difference> {
    let mut real = Real::open(database.url(), mode).await;
    let lane = real.lanes(1).await[0].1;
    script::replay(&mut real, &scenario(lane), mode, guards).await
}

/// Conformity notices each guard that is taken out of our SQL functions.
#[tokio::test]
async fn a_guard_that_is_removed_is_missed() {
    for (guard, shown) in KNOWN {
        let (Shown::Script(mode, _) | Shown::Scenario(mode, _)) = shown;
        let database = database(mode, Some(guard)).await;
        let found = match shown {
            Shown::Script(_, seed) => {
                let mut real = Real::open(database.url(), mode).await;
                find(&mut real, mode, Guards::all(), seed..seed + TRIES).await.map(|(_, found)| found)
            }
            Shown::Scenario(_, scenario) => follow(&database, mode, scenario, Guards::all()).await,
        };
        assert!(found.is_some(), "{guard:?} is removed, and nothing shows it");
    }
}

/// The same scenarios show that guards were removed from the model.
#[tokio::test]
async fn a_guard_that_is_removed_from_the_model_is_missed() {
    let (plain, stopping) = (database(PLAIN, None).await, database(STOPPING, None).await);
    for (guard, shown) in KNOWN {
        if let Shown::Scenario(mode, scenario) = shown {
            let database = if mode == PLAIN { &plain } else { &stopping };
            let found = follow(database, mode, scenario, Guards::all().without(guard)).await;
            assert!(found.is_some(), "{guard:?} is removed, and nothing shows it");
        }
    }
}

/// All kinds of scripts, with new seeds, for `SIMULATION_MINUTES`.
#[tokio::test]
#[ignore = "takes SIMULATION_MINUTES, 10 by default"]
async fn long_run_conforms() {
    let time = Duration::from_secs(60 * number("SIMULATION_MINUTES").unwrap_or(10));
    let mut seed = number("SIMULATION_SEED").unwrap_or_else(|| rand::random_range(1_000..1_000_000_000));
    println!("SIMULATION_SEED={seed}");
    let cluster = preparing_cluster().await;
    let began = Instant::now();
    while began.elapsed() < time {
        for mode in [PLAIN, STOPPING, LIMITED, PREPARING, BREAKING] {
            let own = database(mode, None).await;
            let url = if mode.prepares { cluster.url() } else { own.url().to_owned() };
            let mut real = Real::open(&url, mode).await;
            conform(&mut real, mode, &(seed..seed + 25).collect::<Vec<_>>()).await;
        }
        seed += 25;
    }
}

/// How fast each guard is missed, in SQL and in the model: the table of `GUARDS.md`. Random scripts
/// begin at the first seed.
#[tokio::test]
#[ignore = "measures"]
async fn measure_guards() {
    let limit = number("SIMULATION_SCRIPTS").unwrap_or(100);
    println!("| guard | shown by | removed from SQL | removed from the model |\n|---|---|---|---|");
    for (guard, shown) in KNOWN {
        let mut cells = Vec::new();
        for in_sql in [true, false] {
            let (Shown::Script(mode, _) | Shown::Scenario(mode, _)) = shown;
            let database = database(mode, in_sql.then_some(guard)).await;
            let guards = if in_sql { Guards::all() } else { Guards::all().without(guard) };
            let began = Instant::now();
            let seed = match shown {
                Shown::Script(..) => {
                    let mut real = Real::open(database.url(), mode).await;
                    find(&mut real, mode, guards, 1..=limit).await.map(|(seed, _)| seed)
                }
                Shown::Scenario(_, scenario) => follow(&database, mode, scenario, guards).await.map(|_| 1),
            };
            let time = began.elapsed().as_secs_f32();
            cells.push(seed.map_or("not found".to_owned(), |seed| format!("{seed} in {time:.1} s")));
        }
        let kind = if matches!(shown, Shown::Script(..)) { "random scripts" } else { "a scenario" };
        println!("| `{guard:?}` | {kind} | {} |", cells.join(" | "));
    }
}
