//! Statements that hang, and answers that never come, while the worker has much to do.
//!
//! If PostgreSQL's time limit ends a statement, the statement has done nothing, and the worker goes
//! on. If no answer comes, nobody knows what was done, and the worker starts over under a new id.
//! In both cases no message is lost, and a lane never has two requests at once.

use std::time::Duration;

use futures_util::future::join_all;
use pgtopic::{config::DatabaseConfig, store::Store};
use pgtopic_testkit::{
    Answer, Broker, LIVING, Link, Scene, TestCluster, TestDatabase, TestProxy, TestReceiver, Upstream,
    create_topic, create_webhook, eventually, nothing_owed, publish, reach_schema,
};
use rstest::rstest;
use tokio_postgres::Client;
use uuid::Uuid;

/// Twenty lanes with more messages than a claim reads, and a slow receiver.
async fn busy_scene() -> Scene {
    let scene = Scene::with_webhook(&[]).await;
    scene.receiver.set_script(|_| Answer::After(Duration::from_millis(20), Box::new(Answer::Status(204))));
    publish_much(&scene).await;
    scene
}

async fn publish_much(scene: &Scene) {
    let sql = "INSERT INTO messages (topic_id, partition_key, payload)
               SELECT 1, 'key-' || n % 20, '{}' FROM generate_series(1, 1000) AS n";
    scene.sql(sql).await;
}

/// The id of the worker's incarnation.
async fn incarnation(scene: &Scene) -> String {
    scene.text(&format!("SELECT string_agg(w.id::text, ' ') FROM {LIVING}")).await
}

#[rstest]
#[case::lanes("lanes")]
#[case::deliveries("deliveries")]
#[case::messages("messages")]
#[tokio::test]
async fn a_locked_table_delays_messages_only_while_it_is_locked(#[case] table: &str) {
    let scene = busy_scene().await;
    let broker = Broker::start(scene.store());
    scene.receiver.wait_for(100).await;
    let before = incarnation(&scene).await;
    let locker = scene.another_client().await;
    let lock = format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(12); COMMIT");
    locker.batch_execute(&lock).await.unwrap();
    assert_eq!(scene.all_delivered(&["/"]).await, 0, "nothing is sent again");
    assert_eq!(incarnation(&scene).await, before, "the worker went on");
    broker.stop().await;
}

/// Makes a function of the engine hang for this many seconds while there is a row in `hanging`.
async fn make_hang(scene: &Scene, function: &str, seconds: u32) {
    scene
        .sql(&format!(
            "CREATE TABLE hanging ();
             CREATE FUNCTION hang() RETURNS void LANGUAGE plpgsql AS
             'BEGIN IF EXISTS (SELECT FROM pgtopic.hanging) THEN PERFORM pg_sleep({seconds}); END IF; END';
             DO $$ BEGIN EXECUTE regexp_replace(pg_get_functiondef('{function}'::regproc), E'\\nBEGIN\\n',
                                                E'\\nBEGIN\\n PERFORM pgtopic.hang();\\n'); END $$;
             INSERT INTO hanging DEFAULT VALUES"
        ))
        .await;
}

#[rstest]
#[case::claim("claim_lanes")]
#[case::look("claim_messages")]
#[case::read("read_lanes")]
#[case::settle("settle")]
#[case::removal("remove_idle_lanes")]
#[tokio::test]
async fn a_call_that_hangs_is_ended_by_postgresql_and_tried_again(#[case] function: &str) {
    let scene = busy_scene().await;
    let broker = Broker::start(scene.store());
    scene.receiver.wait_for(100).await;
    let before = incarnation(&scene).await;
    make_hang(&scene, function, 60).await;
    scene.publish(&["new-1", "new-2", "key-1"]).await;
    let hangs = format!(
        "FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep' AND query LIKE '%{function}%'"
    );
    scene.until(&format!("EXISTS (SELECT {hangs})")).await;
    let first = scene.text(&format!("SELECT max(query_start)::text {hangs}")).await;
    scene.publish(&["new-1", "new-2", "new-3"]).await;
    scene.until(&format!("EXISTS (SELECT {hangs} AND query_start > '{first}')")).await;
    scene.sql("DELETE FROM hanging").await;
    assert_eq!(scene.all_delivered(&["/"]).await, 0, "nothing is sent again");
    assert_eq!(incarnation(&scene).await, before, "the worker went on");
    broker.stop().await;
}

/// A store whose statements go through a proxy. The worker's own session does not.
async fn behind_a_proxy(scene: &Scene) -> (TestProxy, Store) {
    let socket = TestDatabase::socket_dir().await.join(".s.PGSQL.5432");
    let proxy = TestProxy::start(Upstream::Unix(socket)).await;
    let name = scene.text("SELECT current_database()").await;
    let config = DatabaseConfig {
        url: Some(format!("postgresql://postgres@{}/{name}", proxy.address()).into()),
        listen_url: Some(scene.database.url().to_owned().into()),
        ..scene.database.config()
    };
    (proxy, Store::new(&config).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_never_come_make_the_worker_start_over() {
    let scene = busy_scene().await;
    let (proxy, store) = behind_a_proxy(&scene).await;
    let broker = Broker::start(store.clone());
    scene.receiver.wait_for(100).await;
    let before = incarnation(&scene).await;
    // No connection through the proxy brings an answer, whatever it is used for.
    let looks = join_all((0..8).map(|_| store.watch_workers(Uuid::nil()))).await;
    assert!(looks.iter().all(Result::is_ok));
    proxy.swallow();
    scene.until(&format!("count(*) = 1 AND min(w.id::text) <> '{before}' FROM {LIVING}")).await;
    publish_much(&scene).await;
    // Messages whose outcomes were not written are sent again.
    scene.all_delivered(&["/"]).await;
    scene.until("count(*) = 1 FROM workers").await;
    assert!(broker.is_running());
    broker.stop().await;
}

/// A claim of many lanes is refused because of one row. Then the worker claims lanes one by one.
/// The answer of that call is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_whose_single_claim_got_no_answer_is_not_lost() {
    let scene = Scene::with_webhook(&[]).await;
    scene.lose_notifications().await;
    scene
        .sql(
            "DO $$ BEGIN EXECUTE regexp_replace(pg_get_functiondef('claim_lanes'::regproc), E'\\nBEGIN\\n',
                                                E'\\nBEGIN\\n RAISE data_corrupted;\\n'); END $$",
        )
        .await;
    make_hang(&scene, "claim_lanes_singly", 2).await;
    let (proxy, store) = behind_a_proxy(&scene).await;
    let broker = Broker::start(store);
    let id = scene.publish(&["a"]).await[0];
    let hangs =
        "EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep')";
    scene.until(hangs).await;
    let before = incarnation(&scene).await;
    proxy.swallow();
    scene.sql("DELETE FROM hanging").await;
    scene.until("EXISTS (SELECT FROM lanes WHERE claimed_by IS NOT NULL)").await;
    assert_eq!(scene.receiver.wait_for(1).await[0].position(), id);
    assert_ne!(incarnation(&scene).await, before, "the worker has started over");
    scene.nothing_owed().await;
    broker.stop().await;
}

/// A worker that is stopped, or cut off, while PostgreSQL sends it what it has claimed. That call's
/// transaction stays open, and publishers wait for the rows that it has changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_takes_no_answer_does_not_hold_up_publishers_for_long() {
    let cluster = TestCluster::private_tcp().await;
    let receiver = TestReceiver::accepting().await;
    let client = reach_schema(&cluster.url()).await;
    create_topic(&client).await;
    create_webhook(&client, &receiver.url("/"), &[]).await;
    let claims_much = "
        CREATE FUNCTION much() RETURNS json LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_sleep(1); RETURN to_json(repeat(''x'', 12000000)); END';
        DO $$ BEGIN EXECUTE replace(pg_get_functiondef('read_claimed'::regproc), 'm.payload', 'much()'); END $$";
    client.batch_execute(claims_much).await.unwrap();
    let database = cluster.postgres.tcp_url("postgres").unwrap();
    let (credentials, address) = database.rsplit_once('@').unwrap();
    let (address, name) = address.split_once('/').unwrap();
    let proxy = TestProxy::start(Upstream::Tcp(address.parse().unwrap())).await;
    let config = DatabaseConfig {
        url: Some(format!("{credentials}@{}/{name}", proxy.address()).into()),
        listen_url: Some(cluster.url().into()),
        ..cluster.config()
    };
    let broker = Broker::start(Store::new(&config).unwrap());
    publish(&client, "a").await.unwrap();
    let waits = |event: &str| format!("EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = '{event}')");
    let ended = "NOT EXISTS (SELECT FROM pg_stat_activity
                              WHERE state = 'active' AND query LIKE '%claim_%' AND pid <> pg_backend_pid())";
    loop {
        until(&client, &waits("PgSleep")).await;
        proxy.set(Link::Dead);
        until(&client, &format!("{} OR {ended}", waits("ClientWrite"))).await;
        if client.query_one(&format!("SELECT {}", waits("ClientWrite")), &[]).await.unwrap().get(0) {
            break;
        }
        // On a busy machine the call may take too long, and be canceled.
        proxy.set(Link::Good);
    }
    // Without a limit it would wait for as long as the worker hangs.
    client.batch_execute("SET lock_timeout = '60s'").await.unwrap();
    publish(&client, "a").await.unwrap();
    let repair = "DO $$ BEGIN EXECUTE replace(pg_get_functiondef('read_claimed'::regproc), 'much()', 'm.payload'); END $$";
    client.batch_execute(repair).await.unwrap();
    proxy.set(Link::Good);
    nothing_owed(&client).await;
    broker.stop().await;
}

async fn until(client: &Client, condition: &str) {
    eventually(condition, async || {
        let row = client.query_one(&format!("SELECT {condition}"), &[]).await.unwrap();
        row.get::<_, bool>(0).then_some(())
    })
    .await;
}
