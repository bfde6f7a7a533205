//! The time limits of statements in pgtopic's own sessions.

use std::time::{Duration, Instant};

use pgtopic::store::StoreError;
use pgtopic_testkit::{Puppet, Scene, TestDatabase, TestPooler};
use rstest::rstest;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

/// SQL: replaces a function of pgtopic by one that fails. Its error names the limits in force.
fn tell_tale(signature: &str, returns: &str) -> String {
    format!(
        "CREATE OR REPLACE FUNCTION {signature} RETURNS {returns} LANGUAGE plpgsql AS
         'BEGIN RAISE EXCEPTION ''lock_timeout %, statement_timeout %'',
                current_setting(''lock_timeout''), current_setting(''statement_timeout''); END'"
    )
}

fn check(error: &StoreError, limits: &str) {
    assert!(error.to_string().contains(limits), "{error}");
}

/// Through a pooler, the limits are set in each transaction.
#[rstest]
#[tokio::test]
async fn the_engines_statements_have_shorter_time_limits_than_others(#[values(false, true)] pooled: bool) {
    const ENGINE: &str = "lock_timeout 1s, statement_timeout 5s";
    const GENERAL: &str = "lock_timeout 5s, statement_timeout 25s";
    let mut scene = Scene::with_webhook(&[]).await;
    let pooler = if pooled { TestPooler::start(TestDatabase::socket_dir().await, 3).await } else { None };
    match &pooler {
        Some(pooler) => scene.database.go_through(pooler),
        None if pooled => return,
        None => {}
    }
    let puppet = Puppet::new(&scene).await;
    for (signature, returns) in [
        (
            "list_news(newest bigint, missing bigint[], at_most bigint)",
            "TABLE (message_id bigint, lane bigint, step bigint)",
        ),
        ("require_registered(worker uuid)", "void"),
        ("mark_worker_gone(worker uuid, reason text, changed_by text)", "boolean"),
    ] {
        scene.sql(&tell_tale(signature, returns)).await;
    }
    check(&puppet.store.list_news(None, &[], 1).await.unwrap_err(), ENGINE);
    check(&puppet.claim(1).await.unwrap_err(), ENGINE);
    check(&puppet.store.release_worker(Uuid::now_v7()).await.unwrap_err(), GENERAL);

    // This one runs in the worker's own session.
    scene.sql("DROP FUNCTION worker_heartbeat").await;
    let returns = "TABLE (suppressed_us bigint, notifies boolean, given_ids bigint, changed_at timestamptz, sending boolean,
                          system_identifier bigint, database_oid bigint)";
    let signature =
        "worker_heartbeat(worker uuid, in_flight_now integer, lanes_now integer, stopping_now boolean,
                                      trouble_now text, lease_seconds double precision)";
    scene.sql(&tell_tale(signature, returns)).await;
    check(&puppet.beat().await.unwrap_err(), ENGINE);
}

#[tokio::test]
async fn the_engine_waits_a_second_for_a_lock_and_no_longer() {
    let scene = Scene::with_webhook(&[]).await;
    scene.publish(&["a"]).await;
    let puppet = Puppet::new(&scene).await;
    let other = scene.another_client().await;
    other.batch_execute("BEGIN; LOCK TABLE messages").await.unwrap();
    let begun = Instant::now();
    for error in [puppet.claim(1).await.unwrap_err(), puppet.store.list_news(None, &[], 1).await.unwrap_err()]
    {
        assert_eq!(error.sql_state(), Some(&SqlState::LOCK_NOT_AVAILABLE), "{error}");
    }
    // Two waits of one second each. By the limit of other statements they would take ten seconds.
    let took = begun.elapsed();
    assert!((Duration::from_secs(2)..Duration::from_secs(9)).contains(&took), "{took:?}");
}
