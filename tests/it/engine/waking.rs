//! How soon workers look, with and without notifications.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use pgtopic::store::WorkerInfo;
use pgtopic_testkit::{
    Answer, Broker, Gate, LIMIT, Scene, TestCluster, TestReceiver, blind_claims, check_order, create_topic,
    create_webhook, eventually, expected, found_by_polls, hide_webhooks, nothing_owed, one_arrives, publish,
};
use tokio::{task::JoinSet, time::MissedTickBehavior};
use uuid::Uuid;

#[tokio::test]
async fn a_notification_brings_a_message_to_its_receiver_at_once() {
    let scene = Scene::with_webhook(&[]).await;
    let _broker = Broker::start(scene.store());
    scene.somebody_listens().await;
    // Claims find nothing. So only notifications lead to a message.
    blind_claims(&scene.client, "true").await;
    for count in 1..=10 {
        one_arrives(&scene.client, &scene.receiver, &format!("key-{count}")).await;
    }
}

#[tokio::test]
async fn a_lost_notification_costs_half_a_second() {
    let scene = Scene::with_webhook(&[]).await;
    scene.lose_notifications().await;
    let _broker = Broker::start(scene.store());
    found_by_polls(&scene.client, &scene.receiver, "key").await;
}

/// The first look finds every lane, however long it is due.
#[tokio::test]
async fn messages_published_before_a_worker_started_are_found_by_its_first_look() {
    let scene = Scene::with_webhook(&[]).await;
    scene.publish(&["a", "b", "a"]).await;
    scene.sql("UPDATE lanes SET due_at = due_at - interval '1 hour' WHERE partition_key = 'b'").await;
    let gate = Gate::closed();
    let held = Answer::Held(gate.clone(), Box::new(Answer::Status(204)));
    scene.receiver.set_script(move |_| held.clone());
    let _broker = Broker::start(scene.store());
    scene.receiver.wait_for(2).await;
    // A token is the number of the look that claimed the lane.
    assert_eq!(scene.text("SELECT string_agg(token::text, ' ') FROM lanes").await, "1 1");
    gate.open();
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_load_notifications_are_suppressed_and_everything_arrives() {
    let scene = Scene::with_webhook(&[]).await;
    let brokers = [Broker::start(scene.store()), Broker::start(scene.store())];
    scene.somebody_listens().await;
    assert_eq!(scene.number("SELECT last_value FROM notify_suppressed_until").await, 0);
    let silent = "SELECT last_value FROM notify_suppressed_until";
    let publishing = (0..8).map(|publisher| {
        let scene = &scene;
        async move {
            let client = scene.another_client().await;
            let sql = format!(
                "INSERT INTO messages (topic_id, partition_key, payload)
                 SELECT 1, 'key-{publisher}-' || n, '{{}}' FROM generate_series(1, 10) n"
            );
            let begun = Instant::now();
            while scene.number(silent).await == 0 && begun.elapsed() < LIMIT {
                client.batch_execute(&sql).await.unwrap();
            }
        }
    });
    join_all(publishing).await;
    let quiet = scene.number(silent).await;
    assert!(quiet > 0, "notifications are suppressed");
    let now = scene.number("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").await;
    assert!(quiet < now + 10_000_000, "notifications are suppressed for less than ten seconds");
    assert_eq!(scene.all_delivered(&["/"]).await, 0);

    // The suppression ends. A message is found soon at each moment of that.
    hide_webhooks(&scene.client).await;
    for step in 0..20_usize {
        let seen = scene.receiver.count();
        scene.publish(&[&format!("after-{step}")]).await;
        scene.receiver.wait_for(seen + 1).await;
        // The messages come at different moments.
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    drop(brokers);
}

/// 300 messages, one each 6 ms. At this rate publishers do not wait for each other. The test has a
/// server of its own: publishers of other databases would disturb it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_that_do_not_wait_for_each_other_go_on_notifying() {
    let (cluster, receiver) = (TestCluster::private().await, TestReceiver::accepting().await);
    let client = cluster.client().await;
    client.batch_execute("SET search_path TO pgtopic").await.unwrap();
    create_topic(&client).await;
    create_webhook(&client, &receiver.url("/"), &[]).await;
    let _broker = Broker::start(cluster.store());
    let number = async |sql: &str| client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
    let listens = async || (number("SELECT last_value FROM notify_until").await > 0).then_some(());
    eventually("a worker", listens).await;
    let mut beat = tokio::time::interval(Duration::from_millis(6));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for n in 0..300 {
        beat.tick().await;
        publish(&client, &format!("key-{}", n % 10)).await.unwrap();
    }
    assert_eq!(number("SELECT last_value FROM notify_suppressed_until").await, 0);
    nothing_owed(&client).await;
    assert_eq!(check_order(&receiver.received(), &expected(&client, &["/"]).await), 0);
}

/// PostgreSQL commits transactions with a NOTIFY one after another. A lock does that. Here the
/// first commit waits for a standby that does not exist, and the two others wait for the lock.
#[tokio::test]
async fn publishers_that_wait_for_each_other_are_counted() {
    let cluster = TestCluster::private_with(&[
        ("synchronous_standby_names", "nobody"),
        // The publishers below set it to `on`.
        ("synchronous_commit", "local"),
    ])
    .await;
    let info = WorkerInfo {
        id: Uuid::now_v7(),
        name: "observer".to_owned(),
        capacity: 1,
        lease: Duration::from_secs(20),
        topics: None,
        settings: std::collections::BTreeMap::default(),
    };
    let (session, _notices) = cluster.store().open_worker_session(&info).await.unwrap();
    assert_eq!(session.count_waiting_publishers().await.unwrap(), 0);
    let admin = cluster.client().await;
    admin.batch_execute("CREATE TABLE published (n integer)").await.unwrap();
    let mut publishers = JoinSet::new();
    for _ in 0..3 {
        let client = cluster.client().await;
        publishers.spawn(async move {
            let sql = "SET synchronous_commit = on; BEGIN; INSERT INTO published VALUES (1); NOTIFY published; COMMIT";
            client.batch_execute(sql).await.unwrap();
        });
    }
    let two_wait = async || (session.count_waiting_publishers().await.unwrap() == 2).then_some(());
    eventually("two publishers wait for the first", two_wait).await;
    let end_waits = async || {
        let sql = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        admin.query(sql, &[]).await.unwrap();
        (session.count_waiting_publishers().await.unwrap() == 0).then_some(())
    };
    eventually("no publisher waits", end_waits).await;
    end_waits().await;
    drop(publishers);
}

#[tokio::test]
async fn a_suppression_that_ends_far_in_the_future_is_ignored() {
    let scene = Scene::with_webhook(&[]).await;
    let _broker = Broker::start(scene.store());
    // A step of the clock back leaves these values.
    let far = "(extract(epoch FROM clock_timestamp() + interval '1 hour') * 1000000)::bigint";
    scene
        .sql(&format!("SELECT setval('notify_suppressed_until', {far}), setval('notify_until', {far})"))
        .await;
    scene.until(&format!("last_value < {far} - 3000000000 FROM notify_until")).await;
    blind_claims(&scene.client, "true").await;
    for count in 1..=5 {
        one_arrives(&scene.client, &scene.receiver, &format!("key-{count}")).await;
    }
}
