//! Rows that are missing, left over or deleted: deleted messages and webhooks, retention, and the
//! partitions of the attempt log.

use std::time::{Duration, Instant};

use pgtopic_testkit::{Broker, Http, Scene, check_order, expected, publish};

/// Rule 10. A delivery whose message was deleted becomes a dead letter. It does not vanish.
#[tokio::test]
async fn a_deleted_message_becomes_a_dead_letter_and_its_lane_goes_on() {
    let scene = Scene::with_webhook(&[]).await;
    let keys = ["first", "first", "middle", "middle", "middle", "last", "last", "only"];
    let ids = scene.publish(&keys).await;
    let gone = [ids[0], ids[3], ids[6], ids[7]];
    scene.client.execute("DELETE FROM messages WHERE id = ANY($1)", &[&&gone[..]]).await.unwrap();
    let _broker = Broker::start(scene.store());
    scene.no_lane_left().await;
    assert_eq!(check_order(&scene.receiver.received(), &expected(&scene.client, &["/"]).await), 0);
    let sql = "SELECT count(*) FROM dead_letters WHERE reason = 'message_missing' AND attempts = 0 AND message_id = ANY($1)";
    let dead: i64 = scene.client.query_one(sql, &[&&gone[..]]).await.unwrap().get(0);
    assert_eq!(dead, 4);
    let http = Http::serve(scene.store()).await;
    assert_eq!(http.get("/dead-letter/count").await["count"], 4);
    let list = http.get("/dead-letter").await;
    assert!(keys.contains(&list["items"][0]["partition_key"].as_str().unwrap()), "{list}");
    let detail = http.get(&format!("/dead-letter/{}", list["items"][0]["id"])).await;
    assert!(detail["payload"].is_null(), "{detail}");
}

/// Rule 10. A publisher has an open transaction while its webhook is deleted. Then it commits a
/// delivery of the deleted webhook.
#[tokio::test]
async fn orphans_of_a_deleted_webhook_are_cleared_away() {
    let scene = Scene::with_webhook(&[]).await;
    let kept = scene.webhook("/kept", &[]).await;
    let publisher = scene.another_client().await;
    publisher.batch_execute("BEGIN").await.unwrap();
    publish(&publisher, "a").await.unwrap();
    scene.store().delete_webhook(1).await.unwrap().unwrap();
    publisher.batch_execute("COMMIT").await.unwrap();
    assert_eq!(scene.number("SELECT count(*) FROM deliveries WHERE webhook_id = 1").await, 1, "an orphan");
    assert_eq!(scene.leader().await.delete_orphans().await.unwrap().deliveries, 1);
    assert_eq!(scene.number("SELECT count(*) FROM lanes WHERE webhook_id = 1").await, 0);
    assert_eq!(scene.number(&format!("SELECT count(*) FROM deliveries WHERE webhook_id = {kept}")).await, 1);
    let _broker = Broker::start(scene.store());
    assert_eq!(scene.all_delivered(&["/kept"]).await, 0);
}

/// The messages that are left: topic and partition key of each.
const LEFT: &str =
    "SELECT string_agg(coalesce(name, 'gone') || ' ' || partition_key, ', ' ORDER BY name, partition_key)
                      FROM messages LEFT JOIN topics t ON t.id = topic_id";

/// Deletes old messages in portions, as maintenance does. Returns how many were deleted.
async fn delete_old_messages(scene: &Scene, default_days: u32) -> u64 {
    let leader = scene.leader().await;
    let (mut after, mut deleted) = (0, 0);
    let deleted = loop {
        let portion = leader.delete_old_messages(after, default_days).await.unwrap();
        deleted += portion.deleted;
        match portion.last_id {
            Some(last_id) if !portion.is_last => after = last_id,
            _ => break deleted,
        }
    };
    scene.sql("DELETE FROM workers").await;
    deleted
}

/// Adds three messages to each topic, as if published so many days ago: one that is owed, one that
/// is a dead letter, and one that is done.
async fn publish_days_ago(scene: &Scene, days: u32) {
    let insert = format!(
        "INSERT INTO messages (topic_id, partition_key, payload, created_at)
         SELECT id, key, '{{}}', now() - interval '{days} days'
           FROM topics, unnest(ARRAY['owed', 'dead', 'done']) AS key"
    );
    scene.sql(&insert).await;
    scene
        .sql("DELETE FROM deliveries USING messages WHERE id = message_id AND partition_key <> 'owed'")
        .await;
    let bury = "INSERT INTO dead_letters (webhook_id, topic_id, partition_key, lane, message_id, reason, attempts, created_at)
                SELECT 1, topic_id, partition_key, 0, id, 'attempts_exhausted', 5, created_at
                  FROM messages WHERE partition_key = 'dead'
                    ON CONFLICT DO NOTHING";
    scene.sql(bury).await;
}

/// Three topics. `day` keeps messages for a day, `default` has the default retention, and `ever`
/// keeps messages for ever.
async fn topics_of_each_retention() -> Scene {
    let scene = Scene::with_webhook(&[]).await;
    scene.sql("UPDATE topics SET name = 'day', retention = interval '1 day'").await;
    scene.sql("INSERT INTO topics (name, ordering, retention) VALUES ('default', 'none', NULL), ('ever', 'none', '0')").await;
    scene.sql("INSERT INTO webhooks (topic_id, url, secrets) SELECT id, 'http://127.0.0.1:1/', '{}' FROM topics WHERE name <> 'day'").await;
    scene
}

/// Rule 10: messages that are owed or dead stay, however old they are.
#[tokio::test]
async fn retention_deletes_no_message_that_is_owed_or_dead() {
    let scene = topics_of_each_retention().await;
    publish_days_ago(&scene, 0).await;
    assert_eq!(delete_old_messages(&scene, 30).await, 0);
    scene.sql("UPDATE messages SET created_at = now() - interval '2 days'").await;
    assert_eq!(delete_old_messages(&scene, 30).await, 1);
    let left =
        "day dead, day owed, default dead, default done, default owed, ever dead, ever done, ever owed";
    assert_eq!(scene.text(LEFT).await, left);
    scene.sql("UPDATE messages SET created_at = now() - interval '31 days'").await;
    assert_eq!(delete_old_messages(&scene, 0).await, 0, "0 means for ever");
    assert_eq!(
        delete_old_messages(&scene, 30).await,
        1,
        "the message of the topic without a retention of its own"
    );
    let left = "day dead, day owed, default dead, default owed, ever dead, ever done, ever owed";
    assert_eq!(scene.text(LEFT).await, left);
}

/// Otherwise a webhook that keeps the latest message would keep all: dead letters stay for ever.
#[tokio::test]
async fn superseded_messages_go_with_their_dead_letters_when_they_are_old() {
    let scene = topics_of_each_retention().await;
    publish_days_ago(&scene, 0).await;
    scene.sql("UPDATE dead_letters SET reason = 'superseded'").await;
    scene
        .sql(
            "INSERT INTO dead_letters (webhook_id, topic_id, partition_key, lane, message_id, reason, attempts)
             SELECT 2, topic_id, partition_key, 0, message_id, 'expired', 0 FROM dead_letters WHERE topic_id = 2",
        )
        .await;
    assert_eq!(delete_old_messages(&scene, 30).await, 0, "they are young");
    scene.sql("UPDATE messages SET created_at = now() - interval '31 days'").await;
    assert_eq!(delete_old_messages(&scene, 30).await, 3);
    let left = "day owed, default dead, default owed, ever dead, ever done, ever owed";
    assert_eq!(scene.text(LEFT).await, left, "one is a dead letter of another webhook");
    assert_eq!(scene.number("SELECT count(*) FROM dead_letters").await, 3);
}

#[tokio::test]
async fn messages_of_a_deleted_topic_are_deleted_at_any_age() {
    let scene = topics_of_each_retention().await;
    publish_days_ago(&scene, 0).await;
    scene.sql("DELETE FROM topics WHERE name = 'ever'; DELETE FROM dead_letters").await;
    assert_eq!(delete_old_messages(&scene, 0).await, 3);
    assert_eq!(
        scene.text(LEFT).await,
        "day dead, day done, day owed, default dead, default done, default owed"
    );
}

/// A replay locks its message until it commits.
#[tokio::test]
async fn a_locked_message_is_not_deleted() {
    let scene = topics_of_each_retention().await;
    publish_days_ago(&scene, 40).await;
    let replay = scene.another_client().await;
    let done = "WHERE topic_id = 1 AND partition_key = 'done'";
    replay.batch_execute(&format!("BEGIN; SELECT FROM messages {done} FOR KEY SHARE")).await.unwrap();
    assert_eq!(delete_old_messages(&scene, 30).await, 1, "only the message of the other topic is deleted");
    let owe = format!("INSERT INTO deliveries SELECT 1, lane, id FROM messages {done}; COMMIT");
    replay.batch_execute(&owe).await.unwrap();
    assert_eq!(delete_old_messages(&scene, 30).await, 0, "the message is owed again");
}

/// Maintenance stops at the first portion that has no old message.
#[tokio::test]
async fn a_portion_says_whether_anything_in_it_is_old() {
    let scene = topics_of_each_retention().await;
    publish_days_ago(&scene, 0).await;
    let leader = scene.leader().await;
    let portion = leader.delete_old_messages(0, 30).await.unwrap();
    assert!(!portion.any_old && portion.is_last && portion.last_id == Some(9), "{portion:?}");
    let seen = "SELECT seen FROM delete_old_messages(after => 0, portion => 2, default_days => 30)";
    assert_eq!(scene.number(seen).await, 2, "a portion has no more");
    // Old messages are kept, because they are dead letters. Maintenance must go on behind them.
    scene
        .sql("UPDATE messages SET created_at = now() - interval '2 days' WHERE partition_key = 'dead'")
        .await;
    assert!(leader.delete_old_messages(0, 30).await.unwrap().any_old);
    let beyond = leader.delete_old_messages(9, 30).await.unwrap();
    assert!(!beyond.any_old && beyond.is_last && beyond.last_id.is_none(), "{beyond:?}");
}

#[tokio::test]
async fn dead_letters_have_a_retention_of_their_own_and_keep_their_message_until_then() {
    let scene = topics_of_each_retention().await;
    publish_days_ago(&scene, 40).await;
    publish_days_ago(&scene, 0).await;
    let leader = scene.leader().await;
    assert_eq!(leader.delete_old_dead_letters(41).await.unwrap(), 0);
    assert_eq!(leader.delete_old_dead_letters(39).await.unwrap(), 3);
    scene.sql("DELETE FROM workers").await;
    assert_eq!(scene.number("SELECT count(*) FROM dead_letters").await, 3, "the young ones");
    assert_eq!(delete_old_messages(&scene, 30).await, 4, "dead and done, of the topics with a retention");
}

/// A worker deletes by itself. Its settings are the defaults.
#[tokio::test]
async fn a_worker_deletes_what_is_past_its_retention() {
    let scene = topics_of_each_retention().await;
    scene.sql("UPDATE webhooks SET paused = true").await;
    publish_days_ago(&scene, 40).await;
    let broker = Broker::start(scene.store());
    scene.until("NOT EXISTS (SELECT FROM messages JOIN topics t ON t.id = topic_id WHERE partition_key = 'done' AND name <> 'ever')").await;
    broker.stop().await;
    assert_eq!(
        scene.number("SELECT count(*) FROM dead_letters").await,
        3,
        "dead letters are kept for ever by default"
    );
    assert_eq!(
        scene.text(LEFT).await,
        "day dead, day owed, default dead, default owed, ever dead, ever done, ever owed"
    );
}

/// Rule 11. If a row of the attempt log cannot be written, settles do not fail.
#[tokio::test]
async fn only_the_attempt_log_fails_without_its_partitions() {
    let scene = Scene::with_webhook(&[]).await;
    let broker = Broker::start(scene.store());
    scene.publish(&["a"]).await;
    // Then the worker has made the partitions.
    scene.until("EXISTS (SELECT FROM attempts)").await;
    scene
        .sql(
            "DO $$ DECLARE part regclass; BEGIN
               FOR part IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'attempts'::regclass LOOP
                 EXECUTE format('DROP TABLE %s', part);
               END LOOP;
             END $$",
        )
        .await;
    for _ in 0..10 {
        scene.publish(&["a", "b"]).await;
    }
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    scene.no_lane_left().await;
    assert_eq!(scene.number("SELECT count(*) FROM attempts").await, 0);
    scene.sql("SELECT make_attempt_partitions(7)").await;
    scene.publish(&["a"]).await;
    scene.until("EXISTS (SELECT FROM attempts)").await;
    broker.stop().await;
}

/// Rule 11. While the attempt log is locked, requests and settles go on.
#[tokio::test]
async fn a_locked_attempt_log_holds_up_no_settle() {
    let scene = Scene::with_webhook(&[]).await;
    scene
        .sql(
            "CREATE TABLE settled (at timestamptz);
             CREATE FUNCTION note_settled() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN INSERT INTO pgtopic.settled VALUES (clock_timestamp()); RETURN NULL; END';
             CREATE TRIGGER note AFTER DELETE ON deliveries EXECUTE FUNCTION note_settled()",
        )
        .await;
    let _broker = Broker::start(scene.store());
    scene.publish(&["a"]).await;
    scene.until("EXISTS (SELECT FROM attempts)").await;
    let locker = scene.another_client().await;
    locker.batch_execute("BEGIN; LOCK TABLE attempts IN ACCESS EXCLUSIVE MODE").await.unwrap();
    // Counts the statements that wait for the log, and began before the last settle. So something
    // was settled while such a statement waited. On a slow machine PostgreSQL may end the wait too
    // early. Then the next round must show it.
    let beside = "SELECT count(*) FROM pg_stat_activity a JOIN pg_locks l USING (pid)
                   WHERE l.relation = 'attempts'::regclass AND NOT l.granted AND a.datname = current_database()
                     AND a.query_start < (SELECT max(at) FROM settled)";
    let first = scene.publish(&["a"]).await[0];
    let mut rounds = 0;
    while rounds < 3 || scene.number(beside).await == 0 {
        rounds += 1;
        assert!(rounds < 10, "nothing is settled while a statement waits for the log");
        scene.publish(&["a", "b"]).await;
        scene.nothing_owed().await;
    }
    locker.batch_execute("COMMIT").await.unwrap();
    scene.until(&format!("EXISTS (SELECT FROM attempts WHERE message_id >= {first})")).await;
}

#[tokio::test]
async fn no_lane_is_left_of_a_webhook_that_is_deleted_while_busy() {
    let scene = Scene::with_webhook(&[]).await;
    let kept = scene.webhook("/kept", &[]).await;
    let broker = Broker::start(scene.store());
    let keys: Vec<String> = (0..10).map(|key| format!("key-{key}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    for _ in 0..10 {
        scene.publish(&keys).await;
    }
    scene.receiver.wait_for(20).await;
    scene.store().delete_webhook(1).await.unwrap().unwrap();
    for _ in 0..3 {
        scene.publish(&keys).await;
    }
    scene.no_lane_left().await;
    let received = scene.receiver.received();
    let to_kept: Vec<_> = received.into_iter().filter(|one| one.path == "/kept").collect();
    assert_eq!(check_order(&to_kept, &expected(&scene.client, &["/kept"]).await), 0, "{kept}");
    broker.stop().await;
}

/// The rows of a deleted webhook are deleted. At that moment a worker may hold a lock on one of its
/// lanes.
#[tokio::test]
async fn a_lane_that_was_locked_when_its_webhook_was_deleted_is_deleted_soon_after() {
    let scene = Scene::with_webhook(&[]).await;
    scene.sql("UPDATE webhooks SET paused = true").await;
    scene.publish(&["a", "b"]).await;
    // One row for each DELETE, even if it deletes nothing.
    let watch = "CREATE TABLE deletions ();
                 CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN INSERT INTO pgtopic.deletions DEFAULT VALUES; RETURN NULL; END';
                 CREATE TRIGGER watch AFTER DELETE ON lanes
                 WHEN (current_query() LIKE '-- Delete some lanes%') EXECUTE FUNCTION watch()";
    scene.client.batch_execute(watch).await.unwrap();
    let (broker, begun) = (Broker::start(scene.store()), Instant::now());
    let locker = scene.another_client().await;
    let lock = "BEGIN; SELECT FROM lanes ORDER BY lane LIMIT 1 FOR UPDATE";
    locker.batch_execute(lock).await.unwrap();
    scene.store().delete_webhook(1).await.unwrap().unwrap();
    scene.until("NOT EXISTS (SELECT FROM deliveries) AND 1 = (SELECT count(*) FROM lanes)").await;
    // The lock must outlast the round that has deleted the rest. The first of two more deletions
    // may still belong to that round.
    let made = scene.number("SELECT count(*) FROM deletions").await;
    scene.until(&format!("{made} + 2 <= (SELECT count(*) FROM deletions)")).await;
    locker.batch_execute("COMMIT").await.unwrap();
    scene.no_lane_left().await;
    // This is before the next maintenance, which comes once a minute.
    assert!(begun.elapsed() < Duration::from_mins(1), "{:?}", begun.elapsed());
    broker.stop().await;
}
