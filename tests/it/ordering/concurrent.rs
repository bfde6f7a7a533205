//! Order, and one request at a time in each lane, with many publishers and several workers.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use pgtopic_testkit::{Answer, Broker, Scene, TestReceiver, publish, quick_delivery};
use rand::Rng as _;
use tokio_postgres::Client;

/// What a publisher's transaction does.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Commit,
    RollBack,
    /// Some of its messages are rolled back to a savepoint.
    Savepoint,
}

/// One transaction that publishes to some partitions, in the order of their stripes.
async fn transaction(client: &Client, fate: Fate, keys: &[String]) {
    let insert = async |fate: &str, keys: &[String]| {
        let sql = "INSERT INTO messages (topic_id, partition_key, payload)
                   SELECT 1, key, json_build_object('fate', $2::text)
                     FROM unnest($1::text[]) AS key ORDER BY stripe(1, key)";
        client.execute(sql, &[&keys, &fate]).await.unwrap();
    };
    client.batch_execute("BEGIN").await.unwrap();
    match fate {
        Fate::Commit => insert("committed", keys).await,
        Fate::RollBack => insert("rolled back", keys).await,
        Fate::Savepoint => {
            // Both halves use one key. With more keys, the second half could ask for stripes in the
            // wrong order.
            insert("committed", &keys[..1]).await;
            client.batch_execute("SAVEPOINT here").await.unwrap();
            insert("rolled back", &keys[..1]).await;
            client.batch_execute("ROLLBACK TO here").await.unwrap();
            insert("committed", &keys[..1]).await;
        }
    }
    client.batch_execute("SELECT pg_sleep(0.001)").await.unwrap();
    client.batch_execute(if fate == Fate::RollBack { "ROLLBACK" } else { "COMMIT" }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_publishers_and_three_workers_keep_every_partition_in_order() {
    let scene = Scene::with_webhook(&[]).await;
    let brokers: Vec<_> = (0..3).map(|_| Broker::start(scene.store())).collect();
    let publishing = (0..16).map(|_| async {
        let client = scene.another_client().await;
        for _ in 0..20 {
            let (fate, keys) = {
                let mut random = rand::rng();
                let fate = [Fate::Commit, Fate::Commit, Fate::RollBack, Fate::Savepoint];
                let keys: Vec<_> = (0..random.random_range(1..4))
                    .map(|_| format!("key-{}", random.random_range(0..8)))
                    .collect();
                (fate[random.random_range(0..fate.len())], keys)
            };
            transaction(&client, fate, &keys).await;
        }
    });
    join_all(publishing).await;

    assert_eq!(scene.all_delivered(&["/"]).await, 0, "no request failed, so no message is sent twice");
    let received = scene.receiver.received();
    assert!(received.len() > 150, "{}", received.len());
    assert!(received.iter().all(|one| one.body == r#"{"fate" : "committed"}"#));
    for broker in brokers {
        broker.stop().await;
    }
    assert_eq!(scene.number("SELECT count(*) FROM workers").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_workers_never_send_from_one_lane_at_once() {
    let scene = Scene::with_webhook(&[]).await;
    scene.receiver.set_script(|received| match received.number % 7 {
        0 => Answer::After(Duration::from_millis(10), Box::new(Answer::Status(500))),
        _ => Answer::After(Duration::from_millis(10), Box::new(Answer::Status(204))),
    });
    let brokers: Vec<_> = (0..4).map(|_| Broker::start(scene.store())).collect();
    // Messages come one after another. So lanes become idle and are claimed again all the time.
    // Failures release lanes, too. Four workers share twelve keys.
    for step in 0..30 {
        let keys = [0, 1, 2].map(|key| format!("key-{}", (3 * step + key) % 12));
        scene.publish(&keys.each_ref().map(String::as_str)).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Refused messages are sent again. Accepted messages are not. The check finds requests that
    // overlap.
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    // Several workers took part.
    scene.until("(SELECT count(DISTINCT worker_id) FROM attempts) > 1").await;
    drop(brokers);
}

/// An open transaction has found the row of a lane. Workers must not delete this row: that is the
/// rule "going idle".
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_lane_is_forgotten_while_publishers_hold_their_transactions_open() {
    let scene = Scene::new().await;
    for path in ["/1", "/2", "/3"] {
        scene.webhook(path, &[]).await;
    }
    let brokers: Vec<_> = (0..4).map(|_| Broker::start(scene.store())).collect();
    let publishing = (0..12).map(|publisher| {
        let scene = &scene;
        async move {
            let client = scene.another_client().await;
            for step in 0..80 {
                let key = format!("key-{}", (publisher * 7 + step * 11) % 40);
                client.batch_execute("BEGIN").await.unwrap();
                publish(&client, &key).await.unwrap();
                client.batch_execute("SELECT pg_sleep(0.004)").await.unwrap();
                client.batch_execute("COMMIT").await.unwrap();
            }
        }
    });
    join_all(publishing).await;
    scene.no_lane_left().await;
    assert_eq!(scene.all_delivered(&["/1", "/2", "/3"]).await, 0);
    drop(brokers);
}

/// A lane where messages keep arriving keeps its row. If the row were deleted and made again for
/// each message, dead versions would stay in the table. While an old snapshot is held, every look
/// would read them.
#[tokio::test]
async fn busy_lanes_are_not_deleted_and_made_anew_for_each_message() {
    let scene = Scene::with_webhook(&[]).await;
    let broker = Broker::start(scene.store());
    let begun = Instant::now();
    let publish = "INSERT INTO messages (topic_id, partition_key, payload)
                   SELECT 1, 'hot-' || key, '{}' FROM generate_series(1, 40) AS key ORDER BY stripe(1, 'hot-' || key)";
    for step in 1..=20 {
        scene.sql(publish).await;
        scene.receiver.wait_for_ended(40 * step).await;
        scene.nothing_owed().await;
    }
    scene.no_lane_left().await;
    // The statistics of the worker's sessions arrive when the sessions end.
    broker.stop().await;
    let sessions = "pg_stat_activity WHERE datname = current_database() AND application_name = 'pgtopic'";
    scene.until(&format!("NOT EXISTS (SELECT FROM {sessions})")).await;
    let deleted = scene.number("SELECT pg_stat_get_tuples_deleted('lanes'::regclass)").await;
    // A lane's row may be deleted after its first message, after its last one, and every few
    // seconds in between.
    let times = 3 + begun.elapsed().as_secs() / 3;
    println!("800 messages deleted 40 rows {deleted} times");
    assert!((40..=40 * i64::try_from(times).unwrap()).contains(&deleted), "{deleted} times");
}

#[tokio::test]
async fn one_slot_serves_many_lanes_of_two_webhooks() {
    let scene = Scene::new().await;
    let other = TestReceiver::accepting().await;
    scene.webhook("/", &[]).await;
    pgtopic_testkit::create_webhook(&scene.client, &other.url("/other"), &[]).await;
    let _broker = Broker::with(scene.store(), 1, quick_delivery());
    for key in 0..50 {
        scene.publish(&[&format!("key-{key}"), "shared"]).await;
    }
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    assert_eq!(other.received().len(), 100);
    let mut all = [scene.receiver.received(), other.received()].concat();
    all.sort_by_key(|one| one.arrived);
    assert!(all.windows(2).all(|pair| !pair[0].overlaps(&pair[1])), "one slot allows one request at a time");
}
