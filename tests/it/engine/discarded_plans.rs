//! When a session discards the plans that it keeps.
//!
//! Each test has a server of its own: it counts statements in the server's log.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Instant,
};

use pgtopic_testkit::{Puppet, TestCluster, begin_with, eventually, reach_schema};
use tokio_postgres::Client;

/// A server that logs every statement, a worker on it, and a client in its schema.
async fn logging() -> (TestCluster, Puppet, Client) {
    let cluster = TestCluster::private_with(&[("log_statement", "all")]).await;
    let (puppet, client) = (Puppet::on(cluster.store()).await, reach_schema(&cluster.url()).await);
    (cluster, puppet, client)
}

/// How often plans were discarded so far.
fn discards(cluster: &TestCluster) -> usize {
    let log = std::fs::read(cluster.postgres.data_dir().join("server.log")).unwrap();
    String::from_utf8_lossy(&log).matches("DISCARD PLANS").count()
}

/// Every call is slow, and new plans help nothing.
#[tokio::test]
async fn calls_that_are_always_slow_do_not_bring_new_plans_each_time() {
    let (cluster, puppet, client) = logging().await;
    begin_with(&client, "claim_lanes", "PERFORM pg_sleep(0.06);").await;
    let begun = Instant::now();
    puppet.claim(1).await.unwrap();
    assert_eq!(discards(&cluster), 0, "the caller of a slow call does not wait for that");
    // One call after another, so all are on one connection.
    for token in 2..30 {
        puppet.claim(token).await.unwrap();
    }
    let most = 1 + usize::try_from(begun.elapsed().as_secs() / 10).unwrap();
    let discards = discards(&cluster);
    assert!((1..=most).contains(&discards), "{discards} times, and {most} are allowed");
}

/// A plan that was made for an empty table joins it by reading all of it for each of its rows.
#[tokio::test]
async fn a_bad_plan_is_replaced() {
    let (_cluster, puppet, client) = logging().await;
    let joins = "
        CREATE TABLE many (id integer) WITH (autovacuum_enabled = off);
        ANALYZE many;
        CREATE TABLE reads (count bigint);
        CREATE FUNCTION join_many() RETURNS void LANGUAGE plpgsql
            SET search_path = pgtopic SET plan_cache_mode = force_generic_plan SET enable_material = off
            SET enable_hashjoin = on SET enable_seqscan = on AS
        $$BEGIN
            PERFORM count(*) FROM many a JOIN many b USING (id);
            INSERT INTO reads SELECT seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'many';
        END$$";
    client.batch_execute(joins).await.unwrap();
    begin_with(&client, "claim_lanes", "PERFORM pgtopic.join_many();").await;
    puppet.claim(1).await.unwrap();
    client.batch_execute("INSERT INTO many SELECT generate_series(1, 2000)").await.unwrap();
    let token = AtomicI64::new(2);
    eventually("a plan that reads each row a few times", async || {
        puppet.claim(token.fetch_add(1, Ordering::Relaxed)).await.unwrap();
        let read: i64 =
            client.query_one("DELETE FROM reads WHERE count > 0 RETURNING count", &[]).await.unwrap().get(0);
        println!("{read} rows were read");
        (read < 10_000).then_some(())
    })
    .await;
}
