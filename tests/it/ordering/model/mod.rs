//! Random operations on the broker, compared with a model of it. Whatever is done, in any order:
//! every webhook gets what the model says, in order. A case that fails is shrunk to a small one.
//!
//! | file | what it holds |
//! |---|---|
//! | `operation` | what can be done, and how likely it is |
//! | `expectation` | the model: what each webhook must get, and the check of what it got |
//! | `world` | the real broker, on which the operations are done |
//! | `late` | settles that come when another worker holds the lane |
//!
//! `expectation::Model::check` says what is promised.
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `PGTOPIC_MODEL_CASES` | how many cases are tried | 16 |
//! | `PGTOPIC_MODEL_OPERATIONS` | how many operations a case has, at most | 25 |
//! | `PGTOPIC_MODEL_TRIES` | how often each case is tried; with more tries, a race shrinks further | 1 |
//!
//! A failure prints its minimal input as Rust. Put it into [`a_case_once_found`] to run it again.

mod expectation;
mod late;
mod operation;
mod world;

use std::time::Instant;

use proptest::{
    prelude::*,
    test_runner::{TestCaseError, TestRunner},
};

use self::{
    operation::{Failure::*, Level::*, Operation, Operation::*, Patience::*, operation},
    world::World,
};

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Does all operations. Then repairs everything, and compares with the model.
async fn run(operations: &[Operation]) -> Result<(), String> {
    let mut world = World::new().await;
    for operation in operations {
        world.perform(operation).await;
    }
    world.finish().await
}

/// Tries a quarter of the cases. The quarters run at the same time, because a case mostly waits.
fn quarter() {
    let cases = setting("PGTOPIC_MODEL_CASES", 16).div_ceil(4);
    let operations = setting("PGTOPIC_MODEL_OPERATIONS", 25);
    let tries = setting("PGTOPIC_MODEL_TRIES", 1);
    let config = ProptestConfig {
        cases: u32::try_from(cases).unwrap(),
        failure_persistence: None,
        max_shrink_iters: 400,
        max_shrink_time: 120_000,
        ..ProptestConfig::default()
    };
    let (runtime, begun) = (runtime(), Instant::now());
    let strategy = prop::collection::vec(operation(), 1..=operations);
    let checked = TestRunner::new(config).run(&strategy, |operations| {
        (0..tries).try_for_each(|_| runtime.block_on(run(&operations)).map_err(TestCaseError::fail))
    });
    println!("{cases} cases in {:?}", begun.elapsed());
    if let Err(error) = checked {
        panic!("{error}");
    }
}

#[test]
fn any_operations_in_any_order_deliver_what_the_model_says_1() {
    quarter();
}

#[test]
fn any_operations_in_any_order_deliver_what_the_model_says_2() {
    quarter();
}

#[test]
fn any_operations_in_any_order_deliver_what_the_model_says_3() {
    quarter();
}

#[test]
fn any_operations_in_any_order_deliver_what_the_model_says_4() {
    quarter();
}

/// Cases that have failed once, and one case with every operation.
#[test]
fn a_case_once_found() {
    let everything = [
        StartWorker { slot: 0 },
        CreateWebhook { patience: OneAttempt },
        Publish { key: 0 },
        Poison { key: 0 },
        PublishBatch { keys: vec![1, 0, 1] },
        Fail { which: 0, how: Refuse },
        Open { key: 0, level: Serializable },
        RollBackSavepoint { level: RepeatableRead, before: vec![0], undone: vec![0, 2], after: vec![2] },
        Wait { milliseconds: 30 },
        KillWorker { slot: 0 },
        StartWorker { slot: 1 },
        Fail { which: 1, how: Slow },
        CrashWorker { slot: 1, key: 3, settles_late: true },
        Recover { which: 1 },
        CrashWorker { slot: 1, key: 1, settles_late: false },
        RollBack { level: ReadCommitted, keys: vec![0, 3] },
        Pause { which: 1 },
        Publish { key: 3 },
        CreateWebhook { patience: Endless },
        Close { commit: true },
        DeleteWebhook { which: 0 },
        Fail { which: 1, how: Drop },
        Publish { key: 0 },
        Resume { which: 0 },
        CutConnections,
        StopWorker { slot: 1 },
        Recover { which: 1 },
        Open { key: 1, level: ReadCommitted },
        Close { commit: false },
    ];
    runtime().block_on(run(&everything)).unwrap();
}
