//! Stripes: the advisory locks of publishers, their numbers in `lanes`, and advisory locks of other
//! programs. Also triggers of others on `messages`.

use pgtopic::store::OwedMessage;
use pgtopic_testkit::{Broker, Puppet, Received, Scene, TestCluster, reach_schema};
use tokio_postgres::{Client, error::SqlState};

/// SQL: the advisory locks of this transaction in the class of the stripes.
const HELD: &str = "SELECT coalesce(array_agg(objid::bigint ORDER BY objid), '{}') FROM pg_locks
                     WHERE pid = pg_backend_pid() AND locktype = 'advisory' AND classid = stripe_class()::oid
                       AND objsubid = 2 AND mode = 'ExclusiveLock' AND granted";

async fn numbers(client: &Client, sql: &str) -> Vec<i64> {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Fifteen more ordered topics and then an unordered one, each with a webhook.
const TOPICS: &str = "INSERT INTO topics (name, ordering)
     SELECT 'topic-' || n, CASE n WHEN 16 THEN 'none' ELSE 'partition' END FROM generate_series(1, 16) AS n;
     INSERT INTO webhooks (topic_id, url, secrets) SELECT id, 'http://127.0.0.1:1/', '{}' FROM topics";

#[tokio::test]
async fn lanes_say_which_stripes_their_publishers_hold() {
    let scene = Scene::new().await;
    scene.sql(TOPICS).await;
    scene
        .sql(
            "BEGIN;
             INSERT INTO messages (topic_id, partition_key, payload)
             SELECT topic, 'key-' || key, '{}' FROM generate_series(1, 5) AS topic, generate_series(1, 20) AS key",
        )
        .await;
    let held = numbers(&scene.client, HELD).await;
    let in_lanes = "SELECT array_agg(DISTINCT stripe::bigint ORDER BY stripe::bigint) FROM lanes";
    assert_eq!(held, numbers(&scene.client, in_lanes).await);
    assert!(held.iter().all(|stripe| (0..1 << 29).contains(stripe)));
    assert!(held.len() > 50, "topics share no stripes, and partitions share few");
    let wrong = "SELECT count(*) FROM lanes l JOIN webhooks w ON w.id = l.webhook_id
                  WHERE stripe IS DISTINCT FROM stripe(w.topic_id, l.partition_key)
                     OR lane <> hashtextextended(l.partition_key, w.topic_id)";
    assert_eq!(scene.number(wrong).await, 0);
    scene.sql("COMMIT").await;
    assert!(numbers(&scene.client, HELD).await.is_empty());
    assert_eq!(scene.number("SELECT count(*) FROM lanes").await, 100);
}

/// Topics up to 2,097,151 have stripes of their own. Later topics share stripes with them.
#[tokio::test]
async fn two_topics_share_no_stripe() {
    let scene = Scene::new().await;
    let topics = "(SELECT n AS id FROM generate_series(1, 2000) AS n
                   UNION SELECT (1 << n) + d FROM generate_series(8, 20) AS n, generate_series(-2, 2) AS d
                   UNION SELECT 2097151 - n FROM generate_series(0, 2000) AS n)";
    let apart = format!(
        "SELECT count(*) - count(DISTINCT topic) FROM
           (SELECT t.id, array_agg(DISTINCT stripe(t.id, key) >> 8) AS topic
              FROM {topics} t, unnest(ARRAY['a', 'b', 'c', '', 'default']) AS key GROUP BY t.id) x"
    );
    assert_eq!(scene.number(&apart).await, 0);
    let single = format!(
        "SELECT count(*) FROM {topics} t, unnest(ARRAY['a', 'b', 'default']) AS key
          WHERE stripe(t.id, key) >> 8 <> t.id OR stripe(t.id, key) < 0"
    );
    assert_eq!(
        scene.number(&single).await,
        0,
        "a stripe is the id of the topic, followed by eight bits of the partition"
    );
    assert_eq!(scene.number("SELECT (stripe(2097152 + 5, 'a') >> 8)::bigint").await, 5);
}

#[tokio::test]
async fn unordered_topics_take_no_lock() {
    let scene = Scene::new().await;
    scene.sql(TOPICS).await;
    for level in ["READ COMMITTED", "REPEATABLE READ"] {
        let insert = format!(
            "BEGIN ISOLATION LEVEL {level};
             INSERT INTO messages (topic_id, partition_key, payload) SELECT 17, 'key', '{{}}' FROM generate_series(1, 10)"
        );
        scene.sql(&insert).await;
        assert!(numbers(&scene.client, HELD).await.is_empty(), "{level}");
        scene.sql("COMMIT").await;
    }
    let right = "SELECT count(*) FROM lanes l JOIN messages m ON m.id = l.lane AND m.lane = l.lane
                  WHERE l.stripe IS NULL AND l.position = l.lane - 1";
    assert_eq!(scene.number(right).await, 20);
}

#[tokio::test]
async fn workers_hold_keys_that_are_no_stripes() {
    let scene = Scene::with_webhook(&[]).await;
    let workers = [Puppet::new(&scene).await, Puppet::new(&scene).await, Puppet::new(&scene).await];
    assert_eq!(scene.number("SELECT count(DISTINCT lock_key) FROM workers WHERE lock_key < 0").await, 3);
    assert_eq!(
        scene
            .number(
                "SELECT count(*) FROM workers w JOIN pg_locks p ON p.locktype = 'advisory'
         AND p.database = (SELECT oid FROM pg_database WHERE datname = current_database())
         AND p.classid = stripe_class()::oid AND p.objid = (w.lock_key::bigint & 4294967295)::oid"
            )
            .await,
        3
    );

    // A session holds many keys of workers. It delays no publisher.
    let other = scene.another_client().await;
    other
        .batch_execute(
            "SELECT pg_advisory_lock(stripe_class(), -1000 - n) FROM generate_series(1, 998) AS n;
             SELECT pg_advisory_lock(stripe_class(), -2147483648), pg_advisory_lock(stripe_class(), -2147483647)",
        )
        .await
        .unwrap();
    assert_eq!(numbers(&other, HELD).await.len(), 1000);
    scene.sql("SET lock_timeout = '1s'").await;
    scene
        .sql(
            "INSERT INTO messages (topic_id, partition_key, payload)
             SELECT 1, 'key-' || n, '{}' FROM generate_series(1, 5000) AS n",
        )
        .await;
    assert_eq!(
        scene.number("SELECT count(DISTINCT stripe) FROM lanes").await,
        256,
        "all stripes of the topic"
    );
    drop(workers);
}

#[tokio::test]
async fn bulk_loads_of_many_keys_do_not_exhaust_the_lock_table() {
    let cluster = TestCluster::private_with(&[("max_connections", "100")]).await;
    let client = reach_schema(&cluster.url()).await;
    client.batch_execute(TOPICS).await.unwrap();
    let locks = numbers(
        &client,
        "SELECT ARRAY[current_setting('max_connections')::bigint, current_setting('max_locks_per_transaction')::bigint]",
    );
    assert_eq!(locks.await, [100, 64], "the server has the defaults of PostgreSQL");
    client
        .batch_execute(
            "BEGIN;
             INSERT INTO messages (topic_id, partition_key, payload)
             SELECT topic, 'key-' || key, '{}' FROM generate_series(1, 15) AS topic, generate_series(1, 1000) AS key",
        )
        .await
        .unwrap();
    let held = numbers(&client, HELD).await.len();
    assert!((3000..=15 * 256).contains(&held), "{held}");
    client.batch_execute("COMMIT").await.unwrap();
}

/// SQL: a trigger on `messages` that is not of pgtopic.
fn trigger(name: &str, change: &str) -> String {
    format!(
        "CREATE OR REPLACE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN {change}; RETURN NEW; END';
         DROP TRIGGER IF EXISTS {name} ON messages;
         CREATE TRIGGER {name} BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION change()"
    )
}

#[tokio::test]
async fn a_trigger_that_runs_later_cannot_move_a_message_to_another_lane() {
    let scene = Scene::new().await;
    scene.sql(TOPICS).await;
    for (topic, change) in [
        (1, "NEW.partition_key := ''b''"),
        (1, "NEW.topic_id := 2"),
        (1, "NEW.topic_id := 17"),
        (1, "NEW.lane := NEW.lane + 1"),
        (17, "NEW.id := NEW.id + 1000"),
    ] {
        scene.sql(&trigger("zzz_later", change)).await;
        let insert =
            format!("INSERT INTO messages (topic_id, partition_key, payload) VALUES ({topic}, 'a', '1')");
        let error = scene.client.batch_execute(&insert).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::CHECK_VIOLATION), "{change}: {error:?}");
        assert_eq!(error.as_db_error().unwrap().constraint(), Some("messages_lane_check"), "{change}");
    }
    assert_eq!(scene.number("SELECT count(*) FROM deliveries").await, 0);
}

/// No check of the table knows which id was given. So the change is possible. But nothing is sent
/// out of order, and the delivery does not vanish.
#[tokio::test]
async fn a_message_whose_id_is_changed_later_becomes_a_dead_letter() {
    let scene = Scene::with_webhook(&[]).await;
    let first = scene.publish(&["a"]).await[0];
    scene.sql(&trigger("zzz_later", "NEW.id := NEW.id + 1000")).await;
    let changed = scene.publish(&["a"]).await[0];
    scene.sql("DROP TRIGGER zzz_later ON messages").await;
    let last = scene.publish(&["a"]).await[0];
    assert!(changed > last);
    let broker = Broker::start(scene.store());
    scene.no_lane_left().await;
    let received: Vec<i64> = scene.receiver.received().iter().map(Received::position).collect();
    assert_eq!(received, [first, last]);
    let dead = scene.text("SELECT concat_ws(' ', message_id, reason) FROM dead_letters").await;
    assert_eq!(dead, format!("{} message_missing", changed - 1000));
    broker.stop().await;
}

#[tokio::test]
async fn a_trigger_that_runs_earlier_may_say_where_a_message_goes() {
    let scene = Scene::new().await;
    scene.sql(TOPICS).await;
    let change = "NEW.partition_key := ''b''; NEW.topic_id := 2; NEW.id := 7; NEW.lane := 7";
    scene.sql(&trigger("aa_earlier", change)).await;
    let id = scene.publish(&["a"]).await[0];
    assert_ne!(id, 7, "the id is given later, under the lock");
    let lane =
        "SELECT concat_ws(' ', topic_id, partition_key, lane = hashtextextended('b', 2)) FROM messages";
    assert_eq!(scene.text(lane).await, "2 b t");
    let lane = "SELECT concat_ws(' ', webhook_id, partition_key, stripe = stripe(2, 'b'), lane = hashtextextended('b', 2)) FROM lanes";
    assert_eq!(scene.text(lane).await, "2 b t t");
    let worker = Puppet::new(&scene).await;
    let looked = worker.look(1, &[id], &pgtopic::store::Room { lanes: 10, full_webhooks: Vec::new() }).await;
    let ids: Vec<i64> =
        looked.claimed.iter().flat_map(|lane| lane.owed.items.iter().map(OwedMessage::id)).collect();
    assert_eq!(ids, [id]);
}
