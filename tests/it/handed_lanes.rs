//! Lanes that are handed over to workers: delivered, by one worker at a time, whatever becomes of their notifications.

use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::support::{Answer, Broker, Scene, check_order, expected, publish, quick_delivery};

/// Waits until messages are handed over to somebody.
async fn somebody_accepts(scene: &Scene) {
    scene.until("EXISTS (SELECT FROM workers WHERE accepts)").await;
}

#[tokio::test]
async fn messages_that_are_handed_over_are_delivered_in_order_without_being_claimed() {
    let scene = Scene::with_webhook(&[]).await;
    let other = scene.webhook("/other", &[("filter", "'$.nothing == 1'")]).await;
    let brokers = [Broker::start(scene.store()), Broker::start(scene.store())];
    somebody_accepts(&scene).await;
    for round in 0..10 {
        for key in ["a", "b"] {
            scene.sql("BEGIN").await;
            scene.publish(&[key, key, &format!("{key}-{round}")]).await;
            let unclaimed = scene.number("SELECT count(*) FROM lanes WHERE claimed_by IS NULL").await;
            assert_eq!(unclaimed, 0, "round {round}");
            scene.sql("COMMIT").await;
            scene.nothing_owed().await;
        }
    }
    scene.no_lane_left().await;
    assert_eq!(check_order(&scene.receiver.received(), &expected(&scene.client, &["/"]).await), 0, "{other}");
    for broker in brokers {
        broker.stop().await;
    }
}

/// A receiver that never answers holds four of five slots, and keeps nobody else's messages from being handed over.
#[tokio::test]
async fn messages_are_handed_over_beside_a_receiver_that_hangs() {
    let scene = Scene::with_webhook(&[("timeout_seconds", "60")]).await;
    scene.receiver.set_script(|request| match request.path.as_str() {
        "/" => Answer::Hang,
        _ => Answer::Status(204),
    });
    scene
        .sql("INSERT INTO messages (topic_id, partition_key, payload) SELECT 1, 'key-' || n, '{}' FROM generate_series(1, 40) n")
        .await;
    let healthy = scene.webhook("/healthy", &[]).await;
    let _broker = Broker::with(scene.store(), 10, quick_delivery());
    scene.receiver.wait_for(8).await;
    scene.until("EXISTS (SELECT FROM workers WHERE accepts AND in_flight >= 8)").await;
    for key in ["a", "b", "c"] {
        scene.sql("BEGIN").await;
        scene.publish(&[key]).await;
        let claimed =
            format!("SELECT count(*) FROM lanes WHERE webhook_id = {healthy} AND claimed_by IS NOT NULL");
        assert_eq!(scene.number(&claimed).await, 1, "{key}");
        scene.sql("COMMIT").await;
        scene.until(&format!("NOT EXISTS (SELECT FROM lanes WHERE webhook_id = {healthy})")).await;
    }
}

#[tokio::test]
async fn a_publisher_that_outlives_its_messages_worker_is_delivered_by_another() {
    let scene = Scene::with_webhook(&[]).await;
    let first = Broker::start(scene.store());
    somebody_accepts(&scene).await;
    let publisher = scene.another_client().await;
    publisher.batch_execute("BEGIN").await.unwrap();
    publish(&publisher, "a").await.unwrap();
    assert_eq!(
        publisher.query("SELECT FROM lanes WHERE claimed_by IS NOT NULL", &[]).await.unwrap().len(),
        1
    );
    first.stop().await;
    let _second = Broker::start(scene.store());
    somebody_accepts(&scene).await;
    publisher.batch_execute("COMMIT").await.unwrap();
    let begun = Instant::now();
    scene.receiver.wait_for(1).await;
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
}

/// The row of a lane whose request takes long looks like one of which its worker has never heard.
#[tokio::test]
async fn a_request_that_takes_long_is_not_sent_again_beside_itself() {
    let scene = Scene::with_webhook(&[]).await;
    scene.receiver.set_script(|_| Answer::After(Duration::from_millis(2500), Box::new(Answer::Status(204))));
    let _brokers = [Broker::start(scene.store()), Broker::start(scene.store())];
    somebody_accepts(&scene).await;
    scene.publish(&["a"]).await;
    assert_eq!(scene.number("SELECT count(*) FROM lanes WHERE token < 0").await, 1);
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    scene.no_lane_left().await;
    assert_eq!(scene.receiver.count(), 1);
}

/// A message as a publisher has left it whose notification is lost: handed over two seconds ago to the only worker.
const LOST: &str = "
    BEGIN;
    SET LOCAL session_replication_role = replica;
    INSERT INTO messages (id, topic_id, partition_key, lane, payload, payload_bytes)
    VALUES (nextval('message_ids'), 1, 'a', hashtextextended('a', 1), '{}', 2);
    INSERT INTO deliveries SELECT 1, lane, id FROM messages;
    INSERT INTO lanes (webhook_id, lane, partition_key, due_at, position, claimed_by, token)
    SELECT 1, m.lane, 'a', clock_timestamp() - interval '2 s', m.id - 1, w.id, -m.id FROM messages m, workers w;
    COMMIT";

/// The notification of the first message.
const NOTIFY: &str = "
    SELECT pg_notify(w.channel::text, json_build_array(ARRAY[1], '{}'::int[])::text || E'\\n'
                     || json_build_array(m.id, m.lane, 0, 'a')::text || E'\\n{}')::text
      FROM (SELECT * FROM messages ORDER BY id LIMIT 1) m, workers w";

/// A notification that arrives when the lane was claimed again, delivered and retired must not be acted upon: the lane may be
/// another worker's by now.
#[tokio::test]
async fn a_notification_that_arrives_after_all_is_not_acted_upon() {
    let scene = Scene::with_webhook(&[]).await;
    let broker = Broker::start(scene.store());
    somebody_accepts(&scene).await;
    scene.sql(LOST).await;
    let begun = Instant::now();
    scene.receiver.wait_for(1).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    scene.until("NOT EXISTS (SELECT FROM lanes)").await;
    scene.text(NOTIFY).await;
    // Whatever that did was done before this one arrived.
    let next = scene.publish(&["b"]).await[0];
    let received = scene.receiver.wait_for_ended(2).await;
    assert_eq!(received[1].position(), next);
    broker.stop().await;
}

/// A sweep that is asked before a notification arrives, and looks afterwards, finds the lane that it does not know of.
#[tokio::test]
async fn a_notification_that_overtakes_a_sweep_speaks_of_the_same_claim() {
    let scene = Scene::with_webhook(&[]).await;
    scene.receiver.set_script(|_| Answer::After(Duration::from_millis(1500), Box::new(Answer::Status(204))));
    let broker = Broker::start(scene.store());
    somebody_accepts(&scene).await;
    let locker = scene.another_client().await;
    locker.batch_execute("BEGIN; LOCK TABLE webhooks IN ACCESS EXCLUSIVE MODE").await.unwrap();
    scene.until("EXISTS (SELECT FROM pg_locks WHERE relation = 'webhooks'::regclass AND NOT granted)").await;
    scene.sql(LOST).await;
    scene.text(NOTIFY).await;
    scene.receiver.wait_for(1).await;
    locker.batch_execute("COMMIT").await.unwrap();
    assert_eq!(scene.all_delivered(&["/"]).await, 0, "sent once");
    scene.no_lane_left().await;
    broker.stop().await;
}

/// Whatever takes a lane away from its worker while a request is under way: the next request waits for that one's end.
#[tokio::test]
async fn a_lane_that_is_claimed_anew_waits_for_the_request_under_way() {
    let scene = Scene::with_webhook(&[]).await;
    let broker = Broker::start(scene.store());
    somebody_accepts(&scene).await;
    scene.receiver.set_script(|_| Answer::After(Duration::from_millis(1500), Box::new(Answer::Status(204))));
    scene.publish(&["a"]).await;
    scene.receiver.wait_for(1).await;
    scene.sql("UPDATE lanes SET claimed_by = NULL, token = NULL, due_at = clock_timestamp()").await;
    scene.sql("SELECT wake_workers()").await;
    scene.until("EXISTS (SELECT FROM lanes WHERE token > 0)").await;
    let other = Broker::start(scene.store());
    scene.publish(&["a"]).await;
    // The first one's outcome is lost with its claim.
    let received = scene.receiver.wait_for_ended(3).await;
    assert!(received.is_sorted_by(|one, next| !one.overlaps(next)), "{received:?}");
    assert_eq!(scene.all_delivered(&["/"]).await, 1);
    scene.no_lane_left().await;
    broker.stop().await;
    other.stop().await;
}

/// Whoever may notify can say anything: no lane may be lost by that.
#[tokio::test]
async fn a_notification_about_a_lane_that_is_held_changes_nothing() {
    let scene = Scene::with_webhook(&[]).await;
    let broker = Broker::start(scene.store());
    somebody_accepts(&scene).await;
    scene.receiver.set_script(|_| Answer::After(Duration::from_millis(700), Box::new(Answer::Status(204))));
    // Several at once are claimed, with a token of the worker's own.
    let insert =
        "INSERT INTO messages (topic_id, partition_key, payload) VALUES (1, 'a', '{}'), (1, 'a', '{}')";
    scene.sql(insert).await;
    scene.receiver.wait_for(1).await;
    scene.text(NOTIFY).await;
    scene.sql(insert).await;
    assert_eq!(scene.all_delivered(&["/"]).await, 0, "each of them once");
    scene.no_lane_left().await;
    broker.stop().await;
}

/// Any role may LISTEN to a channel whose name it knows.
#[tokio::test]
async fn nobody_but_the_owner_learns_a_workers_channel() {
    let scene = Scene::with_webhook(&[]).await;
    let _broker = Broker::start(scene.store());
    somebody_accepts(&scene).await;
    let role = format!("nosy_{}", Uuid::now_v7().simple());
    scene
        .sql(&format!(
            "CREATE ROLE {role}; GRANT pg_monitor TO {role}; GRANT USAGE ON SCHEMA pgtopic TO {role};
             GRANT INSERT, SELECT (id) ON messages TO {role}"
        ))
        .await;
    let channels = scene.client.query("SELECT channel::text FROM workers", &[]).await.unwrap();
    let nosy = scene.another_client().await;
    nosy.batch_execute(&format!("SET ROLE {role}")).await.unwrap();
    let denied = nosy.query("SELECT channel FROM workers", &[]).await.unwrap_err();
    assert_eq!(denied.code(), Some(&tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE));
    // What it publishes is handed over all the same.
    publish(&nosy, "a").await.unwrap();
    scene.receiver.wait_for(1).await;
    assert!(nosy.query("SELECT FROM pg_listening_channels()", &[]).await.unwrap().is_empty());
    let seen: String =
        nosy.query_one("SELECT string_agg(query, ' ') FROM pg_stat_activity", &[]).await.unwrap().get(0);
    assert!(seen.contains("heartbeat"), "it sees what workers ask: {seen}");
    for channel in channels {
        assert!(!seen.contains(channel.get::<_, &str>(0)), "{seen}");
    }
    drop(nosy);
    scene.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}
