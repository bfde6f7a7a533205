//! Publishers that keep their transaction open: whom they delay, and how soon their message is sent
//! after the commit.
//!
//! What is promised: only later publishers of the same stripe wait for an open transaction. Its
//! message is sent within a second after its commit, however the workers learn of it. This is not
//! easy: `due_at` is as old as the transaction, but most looks skip lanes that were due long ago
//! (docs/decisions/0007).
//!
//! The transactions stay open for [`OPEN`]. With `--ignored` they stay open for a minute.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use pgtopic_testkit::{Answer, Broker, Scene, keep_silent, publish};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

/// Most looks skip lanes that have been due for longer than a few seconds. This time is longer.
const OPEN: Duration = Duration::from_millis(6500);

/// The time that the design asks for.
const OPEN_LONG: Duration = Duration::from_mins(1);

/// How soon a message must be sent. This time is promised. The machine may stand still for a
/// moment, so the median of several messages counts.
const SOON: Duration = Duration::from_secs(1);

/// The median. For an even number, the longer one of the two in the middle.
fn middle(mut waits: Vec<Duration>) -> Duration {
    waits.sort();
    waits[waits.len() / 2]
}

const LEVELS: [&str; 3] = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"];

/// How workers learn of the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wakeup {
    /// The commit notifies them.
    Notified,
    /// Notifications are suppressed, and workers poll.
    Polling,
    /// The notification is lost. Only a sweep finds the message.
    Lost,
    /// There is no worker yet.
    StartedLater,
}

/// An open transaction that has published one message.
struct Open {
    client: Client,
    what: String,
    key: String,
    id: i64,
}

impl Open {
    /// Publishes one message. The snapshot is older than everything that the test does later.
    async fn begin(scene: &Scene, level: &str, key: &str, what: &str) -> Self {
        let client = scene.another_client().await;
        client.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}; SELECT 1")).await.unwrap();
        let id = publish(&client, key).await.unwrap();
        Self { client, what: format!("{level}, {what}"), key: key.to_owned(), id }
    }

    /// The same on an idle lane that a worker holds, because messages have kept arriving. From now
    /// on the stripe is locked, so the lane cannot be removed.
    async fn begin_on_held(scene: &Scene, level: &str, key: &str) -> Self {
        for _ in 0..20 {
            let id = publish(&scene.client, key).await.unwrap();
            scene.arrival(id).await;
            scene.until(&format!("NOT EXISTS (SELECT FROM deliveries WHERE message_id = {id})")).await;
            let open = Self::begin(scene, level, key, "a lane with a row").await;
            let held = format!(
                "SELECT count(*) FROM lanes WHERE partition_key = '{key}' AND claimed_by IS NOT NULL"
            );
            if scene.number(&held).await == 1 {
                return open;
            }
            // The lane was removed: the earlier messages came too slowly.
            open.client.batch_execute("ROLLBACK").await.unwrap();
        }
        panic!("{key}: the idle lane is never held");
    }

    async fn commit(&self) -> Instant {
        let asked = Instant::now();
        self.client.batch_execute("COMMIT").await.unwrap_or_else(|error| panic!("{}: {error:?}", self.what));
        asked
    }
}

/// Keys whose partitions share no stripe with each other.
async fn keys(scene: &Scene, count: i64) -> Vec<String> {
    let sql = "SELECT min('key-' || n) FROM generate_series(1, 5000) AS n
                GROUP BY stripe(1, 'key-' || n) ORDER BY 1 LIMIT $1";
    let keys: Vec<String> =
        scene.client.query(sql, &[&count]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(i64::try_from(keys.len()).unwrap(), count);
    keys
}

/// Another key of the same stripe.
async fn same_stripe(scene: &Scene, key: &str) -> String {
    scene
        .text(&format!(
            "SELECT 'other-' || n FROM generate_series(1, 100000) AS n
              WHERE stripe(1, 'other-' || n) = stripe(1, '{key}') LIMIT 1"
        ))
        .await
}

/// Publishes in a task of its own. The task waits if the stripe is taken.
fn publish_later(scene: &Arc<Scene>, key: &str) -> JoinHandle<i64> {
    let (scene, key) = (Arc::clone(scene), key.to_owned());
    tokio::spawn(async move { publish(&scene.another_client().await, &key).await.unwrap() })
}

/// Checks that messages of other partitions arrive at once until `until`. Some of their webhooks
/// and lanes are younger than the open transactions.
async fn others_go_on(scene: &Scene, keys: &[String], until: Instant, what: &str) {
    let mut waits = Vec::new();
    while Instant::now() < until {
        let begun = Instant::now();
        let id = publish(&scene.client, &keys[waits.len() % keys.len()]).await.unwrap();
        waits.push(scene.arrival(id).await.duration_since(begun));
        // This is the rate of the publisher.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (count, middle) = (waits.len(), middle(waits));
    println!("{what}: beside open transactions the middle one of {count} messages took {middle:?}");
    assert!(middle < SOON, "{what}: other messages waited {middle:?}");
}

/// The whole test. Transactions of every level stay open: on a lane without a row, and on an idle
/// lane that a worker holds. Other publishers go on. Later publishers of the same stripe wait. Then
/// the transactions commit, one by one.
async fn story(wakeup: Wakeup, open_for: Duration) {
    let scene = Arc::new(Scene::with_webhook(&[]).await);
    let keys = keys(&scene, 10).await;
    let (open_keys, other_keys) = keys.split_at(6);
    let mut broker = None;
    let mut silence = None;
    if wakeup != Wakeup::StartedLater {
        if wakeup == Wakeup::Lost {
            scene.lose_notifications().await;
        }
        broker = Some(Broker::start(scene.store()));
        scene.until("last_value > 0 FROM notify_until").await;
        if wakeup == Wakeup::Polling {
            silence = Some(tokio::spawn(keep_silent(scene.another_client().await)));
        }
    }

    let mut open = Vec::new();
    for (level, key) in LEVELS.iter().zip(&open_keys[..3]) {
        open.push(Open::begin(&scene, level, key, "a lane without a row").await);
    }
    for (level, key) in LEVELS.iter().zip(&open_keys[3..]) {
        open.push(if wakeup == Wakeup::StartedLater {
            publish(&scene.client, key).await.unwrap();
            Open::begin(&scene, level, key, "a lane with a row").await
        } else {
            Open::begin_on_held(&scene, level, key).await
        });
    }

    let begun = Instant::now();
    let later: Vec<_> = [open_keys[0].clone(), same_stripe(&scene, &open_keys[4]).await]
        .iter()
        .map(|key| publish_later(&scene, key))
        .collect();
    if wakeup == Wakeup::StartedLater {
        tokio::time::sleep_until((begun + open_for).into()).await;
    } else {
        others_go_on(&scene, other_keys, begun + open_for, &format!("{wakeup:?}")).await;
        let held = format!(
            "count(*) = 3 FROM lanes WHERE claimed_by IS NOT NULL AND partition_key IN ('{}')",
            open_keys[3..].join("', '")
        );
        scene.until(&held).await;
    }
    // Only in this database: other tests share the cluster.
    let waiting = "count(*) = 2 FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                    WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.objid < 1024 AND NOT l.granted";
    scene.until(waiting).await;
    assert!(later.iter().all(|task| !task.is_finished()), "publishers of the same stripe wait");
    assert!(begun.elapsed() >= open_for);

    let mut waits = Vec::new();
    if wakeup == Wakeup::StartedLater {
        for one in &open {
            one.commit().await;
        }
        broker = Some(Broker::start(scene.store()));
        scene.until("count(*) = 1 FROM workers").await;
        let ready = Instant::now();
        for one in &open {
            waits.push(scene.arrival(one.id).await.saturating_duration_since(ready));
        }
    } else {
        for one in &open {
            let committed = one.commit().await;
            waits.push(scene.arrival(one.id).await.saturating_duration_since(committed));
        }
    }
    for (one, took) in open.iter().zip(&waits) {
        println!("{wakeup:?}: {} ({}): {took:?}", one.what, one.key);
    }
    let held = waits.split_off(LEVELS.len());
    for (what, waits) in [("lanes without a row", waits), ("lanes with a row", held)] {
        let middle = middle(waits);
        assert!(middle < SOON, "{wakeup:?}: {what} were sent {middle:?} after their commit");
    }
    for id in join_all(later).await {
        scene.arrival(id.unwrap()).await;
    }
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    if let Some(silence) = silence {
        assert!(!silence.is_finished(), "notifications were suppressed the whole time");
        silence.abort();
    }
    broker.unwrap().stop().await;
}

#[tokio::test]
async fn a_long_transaction_delays_nobody_else_while_workers_are_notified() {
    story(Wakeup::Notified, OPEN).await;
}

#[tokio::test]
async fn a_long_transaction_delays_nobody_else_while_workers_poll() {
    story(Wakeup::Polling, OPEN).await;
}

#[tokio::test]
async fn a_long_transaction_delays_nobody_else_where_its_notification_is_lost() {
    story(Wakeup::Lost, OPEN).await;
}

#[tokio::test]
async fn a_long_transaction_delays_nobody_else_where_the_worker_starts_later() {
    story(Wakeup::StartedLater, OPEN).await;
}

#[tokio::test]
#[ignore = "takes more than a minute"]
async fn a_transaction_of_a_minute_delays_nobody_else() {
    let stories = [Wakeup::Notified, Wakeup::Polling, Wakeup::Lost, Wakeup::StartedLater];
    join_all(stories.map(|wakeup| story(wakeup, OPEN_LONG))).await;
}

/// More lanes than a worker holds while they are idle. It must find the other lanes soon, too.
#[tokio::test]
async fn a_long_transaction_over_more_lanes_than_a_worker_holds_leaves_soon() {
    const LANES: usize = 700;
    let scene = Scene::with_webhook(&[]).await;
    scene.receiver.set_script(|_| Answer::After(Duration::from_millis(1), Box::new(Answer::Status(204))));
    let _broker = Broker::start(scene.store());
    scene.until("last_value > 0 FROM notify_until").await;
    let insert = format!(
        "INSERT INTO messages (topic_id, partition_key, payload)
         SELECT 1, 'key-' || n, '{{}}' FROM generate_series(1, {LANES}) AS n ORDER BY stripe(1, 'key-' || n)"
    );
    // The rows exist when the transaction begins. Their messages are delivered while it is open.
    let publisher = scene.another_client().await;
    let published = Instant::now();
    publisher.batch_execute(&insert).await.unwrap();
    publisher.batch_execute(&format!("BEGIN; {insert}")).await.unwrap();
    let begun = Instant::now();
    scene.receiver.wait_for_ended(LANES).await;
    let first_time = published.elapsed();
    others_go_on(&scene, &free_keys(&scene, LANES).await, begun + OPEN, "many lanes").await;
    let before = scene.receiver.received().len();
    let committed = Instant::now();
    publisher.batch_execute("COMMIT").await.unwrap();
    let all = scene.receiver.wait_for_ended(before + LANES).await;
    let first = all[before].arrived.saturating_duration_since(committed);
    let last =
        all[before..].iter().map(|one| one.arrived).max().unwrap().saturating_duration_since(committed);
    println!(
        "{LANES} lanes left {first:?} to {last:?} after the commit, and the first time within {first_time:?}"
    );
    // This machine needed `first_time` for the same number of messages.
    assert!(last < SOON * 2 + first_time, "{last:?}");
    scene.all_delivered(&["/"]).await;
}

/// Keys that share no stripe with `key-1` to `key-n`.
async fn free_keys(scene: &Scene, taken: usize) -> Vec<String> {
    let sql = format!(
        "SELECT 'free-' || n FROM generate_series(1, 1000) AS n
          WHERE stripe(1, 'free-' || n) NOT IN (SELECT stripe(1, 'key-' || k) FROM generate_series(1, {taken}) AS k)
          LIMIT 4"
    );
    scene.client.query(&sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}
