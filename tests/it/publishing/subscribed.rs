//! Which webhooks a message is owed to. Publishers read them from `topics.webhook_ids`.

use pgtopic_testkit::{Scene, create_webhook, publish};
use rstest::rstest;

/// SQL: somebody in this database waits for an advisory lock.
const WAITS: &str = "EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'advisory' AND database =
                             (SELECT oid FROM pg_database WHERE datname = current_database()))";

/// Checks that `topics.webhook_ids` is right.
async fn check(scene: &Scene) {
    let wrong = "SELECT count(*) FROM topics t
                  WHERE webhook_ids IS DISTINCT FROM
                        (SELECT CASE WHEN count(w.filter) = 0 THEN coalesce(array_agg(w.id ORDER BY w.id), '{}') END
                           FROM webhooks w WHERE w.topic_id = t.id)";
    assert_eq!(scene.number(wrong).await, 0);
}

async fn owed_to(scene: &Scene) -> String {
    let id = scene.publish(&["a"]).await[0];
    scene.text(&format!("SELECT string_agg(webhook_id::text, ' ' ORDER BY webhook_id) FROM deliveries WHERE message_id = {id}")).await
}

#[tokio::test]
async fn publishers_fan_out_to_the_webhooks_of_the_moment() {
    let scene = Scene::new().await;
    assert_eq!(owed_to(&scene).await, "");
    for number in 1..=3 {
        assert_eq!(scene.webhook("/", &[]).await, number);
    }
    check(&scene).await;
    assert_eq!(owed_to(&scene).await, "1 2 3");
    for (change, owed) in [
        ("UPDATE webhooks SET filter = '$.a == 1' WHERE id = 2", "1 3"),
        ("UPDATE webhooks SET filter = '$.a == 2' WHERE id = 3", "1"),
        ("UPDATE webhooks SET filter = NULL WHERE id = 2", "1 2"),
        ("UPDATE webhooks SET filter = NULL, paused = true", "1 2 3"),
        ("DELETE FROM webhooks WHERE id = 1", "2 3"),
        ("BEGIN; DELETE FROM webhooks; ROLLBACK", "2 3"),
        ("INSERT INTO webhooks (topic_id, url, secrets) SELECT 1, url, secrets FROM webhooks", "2 3 4 5"),
        ("DELETE FROM webhooks WHERE id > 3", "2 3"),
        ("TRUNCATE webhooks", ""),
    ] {
        scene.sql(change).await;
        check(&scene).await;
        assert_eq!(owed_to(&scene).await, owed, "{change}");
    }
    scene.webhook("/", &[]).await;
    scene.sql("DELETE FROM topics").await;
}

#[tokio::test]
async fn webhooks_that_are_created_at_once_are_both_owed_messages() {
    let scene = Scene::new().await;
    let other = scene.another_client().await;
    scene.sql("BEGIN").await;
    scene.webhook("/one", &[]).await;
    let waiting = tokio::spawn(async move { create_webhook(&other, "http://127.0.0.1:1/", &[]).await });
    scene.somebody_waits("true").await;
    // Meanwhile a publisher waits for neither of them.
    let publisher = scene.another_client().await;
    publisher.batch_execute("SET lock_timeout = '1s'").await.unwrap();
    publish(&publisher, "a").await.unwrap();
    scene.sql("COMMIT").await;
    waiting.await.unwrap();
    check(&scene).await;
    assert_eq!(owed_to(&scene).await, "1 2");
}

/// One transaction publishes messages 1 and 2 of a partition. The publisher of message 3 waits for
/// it. A webhook is created after message 1.
#[tokio::test]
async fn a_webhook_created_while_a_publisher_waits_misses_no_message_in_between() {
    let scene = Scene::new().await;
    let (other, subscriber) = (scene.another_client().await, scene.another_client().await);
    scene.sql("BEGIN").await;
    let first = scene.publish(&["a"]).await[0];
    let waiting = tokio::spawn(async move { publish(&other, "a").await.unwrap() });
    scene.until(WAITS).await;
    create_webhook(&subscriber, "http://127.0.0.1:1/", &[]).await;
    let second = scene.publish(&["a"]).await[0];
    scene.sql("COMMIT").await;
    let third = waiting.await.unwrap();
    assert!(first < second && second < third);
    let owed =
        scene.text("SELECT string_agg(message_id::text, ' ' ORDER BY message_id) FROM deliveries").await;
    assert_eq!(owed, format!("{second} {third}"));
}

/// The snapshot of a transaction is older than the column. It sees null, so it reads the webhooks
/// themselves.
#[tokio::test]
async fn an_upgrade_owes_messages_of_old_snapshots_too() {
    let scene = Scene::new().await;
    let filled_in = "SELECT count(*) FROM pg_attribute
                      WHERE attrelid = 'topics'::regclass AND attname = 'webhook_ids' AND NOT atthasmissing";
    assert_eq!(scene.number(filled_in).await, 1);
    scene.webhook("/", &[]).await;
    scene.sql("UPDATE topics SET webhook_ids = NULL").await;
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        scene.sql(&format!("BEGIN ISOLATION LEVEL {level}")).await;
        assert_eq!(owed_to(&scene).await, "1", "{level}");
        scene.sql("COMMIT").await;
    }
}

/// The webhooks to which the last message is owed.
async fn last_owed_to(scene: &Scene) -> String {
    let sql = "SELECT string_agg(webhook_id::text, ' ' ORDER BY webhook_id) FROM deliveries
                WHERE message_id = (SELECT max(id) FROM messages)";
    scene.text(sql).await
}

const LATE: &str = "http://127.0.0.1:1/";

/// The statement begins before the webhook is created. It publishes later.
#[rstest]
#[case::all_messages(&[])]
#[case::some_messages(&[("filter", "'!exists($.x)'")])]
#[tokio::test]
async fn a_statement_owes_to_webhooks_created_before_it_took_the_lock(#[case] settings: &[(&str, &str)]) {
    let scene = Scene::new().await;
    scene.webhook("/", &[]).await;
    scene.sql("BEGIN; SELECT pg_advisory_xact_lock(42)").await;
    let publisher = scene.another_client().await;
    let publishing = tokio::spawn(async move {
        let sql = "BEGIN; SELECT count(*) FROM webhooks;
                   INSERT INTO messages (topic_id, partition_key, payload)
                   SELECT 1, 'a', '{}' FROM (SELECT pg_advisory_xact_lock(42)) AS busy; COMMIT";
        publisher.batch_execute(sql).await.unwrap();
    });
    scene.until(WAITS).await;
    create_webhook(&scene.another_client().await, LATE, settings).await;
    scene.sql("COMMIT").await;
    publishing.await.unwrap();
    assert_eq!(last_owed_to(&scene).await, "1 2");
}

/// A publisher waits for the lock of its partition while a webhook is created. An old snapshot does
/// not show the new webhook. Then the message is not owed to it, although earlier messages are.
#[rstest]
#[case::read_committed("READ COMMITTED", "1 2")]
#[case::repeatable_read("REPEATABLE READ", "1")]
#[case::serializable("SERIALIZABLE", "1")]
#[tokio::test]
async fn a_publisher_that_waited_owes_to_webhooks_created_meanwhile(
    #[case] level: &str,
    #[case] owed: &str,
    #[values(true, false)] waits: bool,
    #[values(&[], &[("filter", "'!exists($.x)'")])] settings: &[(&str, &str)],
) {
    let scene = Scene::new().await;
    scene.webhook("/", &[]).await;
    let publisher = scene.another_client().await;
    publisher
        .batch_execute(&format!("BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM topics"))
        .await
        .unwrap();
    scene.sql("BEGIN").await;
    if waits {
        scene.publish(&["a"]).await;
    }
    let subscriber = scene.another_client().await;
    if !waits {
        create_webhook(&subscriber, LATE, settings).await;
    }
    let publishing = tokio::spawn(async move {
        publish(&publisher, "a").await.unwrap();
        publisher.batch_execute("COMMIT").await.unwrap();
    });
    if waits {
        scene.until(WAITS).await;
        create_webhook(&subscriber, LATE, settings).await;
        // This message is owed to both.
        scene.publish(&["a"]).await;
    }
    scene.sql("COMMIT").await;
    publishing.await.unwrap();
    assert_eq!(last_owed_to(&scene).await, owed);
}
