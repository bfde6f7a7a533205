//! The server: its settings, its lock table, its queue, its clock, and who holds locks.

use pgtopic::{
    domain::doctor::{Check, Status},
    embedded::ShutdownMode,
    store::Store,
};
use pgtopic_testkit::{Scene, TestClock, TestCluster, eventually, reach_schema};
use tokio_postgres::Client;

use super::{apply_sql, becomes, broker, check, is};

/// One server of its own: what is found here would disturb other tests.
#[tokio::test]
async fn what_concerns_the_whole_server_is_found_and_cured() {
    let mut cluster = TestCluster::durable_with(&[("max_connections", "40")]).await;
    let client = reach_schema(&cluster.url()).await;
    let doctor = broker(cluster.store());

    is(check(&doctor, Check::Settings).await, Status::Ok);
    for (harm, says) in [
        ("ALTER SYSTEM SET autovacuum = off", "autovacuum is off for the server"),
        ("ALTER DATABASE postgres SET session_replication_role = replica", "for DATABASE postgres"),
        (
            "ALTER ROLE postgres IN DATABASE postgres SET synchronous_commit = off",
            "for ROLE postgres IN DATABASE",
        ),
    ] {
        client.batch_execute(harm).await.unwrap();
        client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        let found = eventually(harm, async || {
            Some(check(&doctor, Check::Settings).await).filter(|found| found.status > Status::Skipped)
        })
        .await;
        assert!(found.seen.contains(says), "{found:?}");
        apply_sql(&client, &found).await;
        becomes(&doctor, Check::Settings, Status::Ok).await;
    }

    is(check(&doctor, Check::Connection).await, Status::Ok);
    let mut open = Vec::new();
    while check(&doctor, Check::Connection).await.status == Status::Ok {
        open.push(reach_schema(&cluster.url()).await);
    }
    let found = is(check(&doctor, Check::Connection).await, Status::Warn);
    assert!(super::sql(&found).contains("max_connections = 80"), "{found:?}");
    drop(open);
    becomes(&doctor, Check::Connection, Status::Ok).await;

    check_disk(&doctor, &client).await;
    check_queue(&doctor, &client, &cluster).await;

    is(check(&doctor, Check::LockTable).await, Status::Ok);
    client
        .batch_execute("INSERT INTO topics (name) SELECT 't' || n FROM generate_series(1, 11) n")
        .await
        .unwrap();
    let found = is(check(&doctor, Check::LockTable).await, Status::Warn);
    apply_sql(&client, &found).await;
    cluster.postgres.stop(ShutdownMode::Fast).await.unwrap();
    cluster.postgres.start_again().await.unwrap();
    becomes(&doctor, Check::LockTable, Status::Ok).await;
}

/// A slot without a reader keeps WAL.
async fn check_disk(doctor: &pgtopic::broker::Broker, client: &Client) {
    is(check(doctor, Check::Disk).await, Status::Ok);
    client.batch_execute("SELECT pg_create_physical_replication_slot('forgotten', true)").await.unwrap();
    for _ in 0..17 {
        // Each switch leaves the rest of a segment of 16 MiB.
        client.batch_execute("SELECT pg_logical_emit_message(false, 'x', 'x')").await.unwrap();
        client.batch_execute("SELECT pg_switch_wal()").await.unwrap();
    }
    let found = is(check(doctor, Check::Disk).await, Status::Warn);
    assert!(found.seen.contains("replication slot forgotten"), "{found:?}");
    apply_sql(client, &found).await;
    is(check(doctor, Check::Disk).await, Status::Ok);
}

/// A session that listens and does not read holds the queue back.
async fn check_queue(doctor: &pgtopic::broker::Broker, client: &Client, cluster: &TestCluster) {
    let listener = reach_schema(&cluster.url()).await;
    listener.batch_execute("LISTEN something").await.unwrap();
    listener.batch_execute("BEGIN").await.unwrap();
    is(check(doctor, Check::NotificationQueue).await, Status::Ok);
    // A notification takes a page. The queue has a million of them.
    let notify =
        "SELECT count(pg_notify('something', repeat('x', 7000) || n)) FROM generate_series(1, 11000) n";
    client.batch_execute(notify).await.unwrap();
    let found = is(check(doctor, Check::NotificationQueue).await, Status::Warn);
    assert!(found.items[0].text.contains("idle in transaction"), "{found:?}");
    apply_sql(client, &found).await;
    // The queue is emptied by the next who uses it.
    eventually("the queue is empty", async || {
        client.batch_execute("LISTEN something; NOTIFY something; UNLISTEN something").await.unwrap();
        (check(doctor, Check::NotificationQueue).await.status == Status::Ok).then_some(())
    })
    .await;
}

/// Time passes on the server's clock alone.
#[tokio::test]
async fn who_holds_something_for_long_is_named_and_ended() {
    let Some(clock) = TestClock::new().await else { return };
    let cluster = TestCluster::with_clock(&clock).await;
    let client = reach_schema(&cluster.url()).await;
    client.batch_execute("INSERT INTO topics (name) VALUES ('orders')").await.unwrap();
    let doctor = broker(cluster.store());
    for of in [Check::Clock, Check::Publishers, Check::Snapshots] {
        is(check(&doctor, of).await, Status::Ok);
    }
    let publisher = reach_schema(&cluster.url()).await;
    publisher
        .batch_execute("BEGIN; INSERT INTO messages (topic_id, partition_key, payload) VALUES (1, 'a', '{}'), (1, 'b', '{}')")
        .await
        .unwrap();
    is(check(&doctor, Check::Publishers).await, Status::Ok);
    clock.step("+30s");
    let found = is(check(&doctor, Check::Publishers).await, Status::Warn);
    assert!(found.seen.contains("holds 2 partitions"), "{found:?}");
    is(check(&doctor, Check::Clock).await, Status::Warn);
    clock.step("+10m");
    for (of, status) in
        [(Check::Publishers, Status::Fail), (Check::Clock, Status::Fail), (Check::Snapshots, Status::Warn)]
    {
        is(check(&doctor, of).await, status);
    }
    clock.step("+2h");
    let found = is(check(&doctor, Check::Snapshots).await, Status::Fail);
    assert!(found.seen.contains("(role postgres, idle in transaction), for 2 h"), "{found:?}");
    apply_sql(&client, &found).await;
    for of in [Check::Publishers, Check::Snapshots] {
        becomes(&doctor, of, Status::Ok).await;
    }
    clock.step("+0s");
    is(check(&doctor, Check::Clock).await, Status::Ok);
}

/// Also a transaction that was prepared, over a restart of the server.
#[tokio::test]
async fn a_prepared_transaction_that_holds_a_partition_is_rolled_back() {
    let Some(clock) = TestClock::new().await else { return };
    let binaries = Some(clock.binaries());
    let parameters = vec![("max_prepared_transactions".to_owned(), "2".to_owned())];
    let settings = pgtopic::embedded::Settings { pg_bin: binaries, parameters, ..Default::default() };
    let mut postgres = pgtopic::embedded::EmbeddedPostgres::start(settings).await.unwrap();
    let url = postgres.url("postgres");
    let config = pgtopic::config::DatabaseConfig {
        url: Some(url.clone().into()),
        ..pgtopic::config::Config::default().database
    };
    let store = Store::new(&config).unwrap();
    store.migrate().await.unwrap();
    let client = reach_schema(&url).await;
    client
        .batch_execute(
            "INSERT INTO topics (name) VALUES ('orders');
             BEGIN; INSERT INTO messages (topic_id, payload) VALUES (1, '{}'); PREPARE TRANSACTION 'it''s two'",
        )
        .await
        .unwrap();
    postgres.stop(ShutdownMode::Fast).await.unwrap();
    postgres.start_again().await.unwrap();
    clock.step("+2h");
    let client = reach_schema(&url).await;
    let doctor = broker(store);
    let found = is(check(&doctor, Check::Publishers).await, Status::Fail);
    assert!(found.seen.contains("prepared transaction 'it''s two'"), "{found:?}");
    assert_eq!(super::sql(&found), "ROLLBACK PREPARED 'it''s two'");
    is(check(&doctor, Check::Snapshots).await, Status::Fail);
    apply_sql(&client, &found).await;
    for of in [Check::Publishers, Check::Snapshots] {
        is(check(&doctor, of).await, Status::Ok);
    }
}

#[tokio::test]
async fn a_stranger_that_holds_our_locks_is_named_and_ended() {
    let scene = Scene::new().await;
    let doctor = broker(scene.store());
    for (lock, wait) in [("stripe(1, 'a')", false), ("-77", true)] {
        let stranger = scene.another_client().await;
        stranger.batch_execute(&format!("SELECT pg_advisory_lock(stripe_class(), {lock})")).await.unwrap();
        // A key of a worker may be one that is about to be registered.
        let found = if wait {
            becomes(&doctor, Check::ForeignLocks, Status::Fail).await
        } else {
            is(check(&doctor, Check::ForeignLocks).await, Status::Fail)
        };
        apply_sql(&scene.client, &found).await;
        becomes(&doctor, Check::ForeignLocks, Status::Ok).await;
    }
}
