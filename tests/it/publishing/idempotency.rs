//! Idempotency keys in SQL. A message that ON CONFLICT leaves out is owed to nobody. Every other
//! message is owed.

use pgtopic_testkit::Scene;
use rstest::rstest;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

/// An INSERT of one message with the key `k`.
fn insert(partition_key: &str) -> String {
    format!(
        "INSERT INTO messages (topic_id, partition_key, payload, idempotency_key) VALUES (1, '{partition_key}', '{{}}', 'k')
         ON CONFLICT DO NOTHING"
    )
}

/// Publishes in a session of its own. Returns when this session waits for another one.
async fn publish_and_wait(scene: &Scene, client: Client, sql: String) -> JoinHandle<u64> {
    let waiting = tokio::spawn(async move { client.execute(&sql, &[]).await.unwrap() });
    scene.somebody_waits("l.locktype = 'transactionid'").await;
    waiting
}

#[rstest]
#[case::committed("COMMIT", 0)]
#[case::rolled_back("ROLLBACK", 1)]
#[case::rolled_back_to_a_savepoint("ROLLBACK TO s; COMMIT", 1)]
#[tokio::test]
async fn publishers_with_one_idempotency_key_wait_for_each_other_in_any_partition(
    #[case] ending: &str,
    #[case] published: u64,
) {
    let scene = Scene::with_webhook(&[]).await;
    let other = scene.another_client().await;
    scene.sql(&format!("BEGIN; SAVEPOINT s; {}", insert("a"))).await;
    let waiting = publish_and_wait(&scene, other, insert("b")).await;
    scene.sql(ending).await;
    assert_eq!(waiting.await.unwrap(), published);
    scene.check_fan_out(1, 1).await;
    assert_eq!(scene.number("SELECT count(*) FROM messages JOIN deliveries ON id = message_id").await, 1);
}

#[rstest]
#[case::committed("COMMIT", 1)]
#[case::rolled_back("ROLLBACK", 0)]
#[tokio::test]
async fn an_idempotency_key_becomes_free_only_at_a_commit(
    #[values("DELETE FROM messages", "UPDATE messages SET idempotency_key = NULL")] freeing: &str,
    #[case] ending: &str,
    #[case] published: u64,
) {
    let scene = Scene::with_webhook(&[]).await;
    let other = scene.another_client().await;
    scene.sql(&insert("a")).await;
    scene.sql("DELETE FROM deliveries; DELETE FROM lanes").await;
    scene.sql(&format!("BEGIN; {freeing}")).await;
    let waiting = publish_and_wait(&scene, other, insert("b")).await;
    scene.sql(ending).await;
    assert_eq!(waiting.await.unwrap(), published);
    scene.check_fan_out(i64::try_from(published).unwrap(), i64::try_from(published).unwrap()).await;
}

/// A publisher has found a message with its key. That message must not be deleted now. Otherwise
/// the publisher's message would be inserted without deliveries.
#[tokio::test]
async fn a_message_cannot_be_deleted_while_a_publisher_finds_its_key_in_use() {
    let scene = Scene::with_webhook(&[]).await;
    scene.sql(&insert("a")).await;
    scene.sql(&format!("BEGIN; {}", insert("b"))).await;
    let other = scene.another_client().await;
    let skipped = "SELECT count(*) FROM (SELECT FROM messages FOR UPDATE SKIP LOCKED) m";
    assert_eq!(other.query_one(skipped, &[]).await.unwrap().get::<_, i64>(0), 0);
    scene.sql("COMMIT").await;
    scene.check_fan_out(1, 1).await;
}

#[tokio::test]
async fn messages_with_and_without_a_key_in_one_statement_keep_their_order() {
    let scene = Scene::with_webhook(&[]).await;
    for level in ["READ COMMITTED", "REPEATABLE READ"] {
        scene.sql("TRUNCATE messages, deliveries, lanes").await;
        scene
            .sql(&format!(
                "BEGIN ISOLATION LEVEL {level};
                 INSERT INTO messages (topic_id, partition_key, payload, idempotency_key)
                 VALUES (1, 'a', '{{}}', 'k'), (1, 'a', '{{}}', NULL), (1, 'b', '{{}}', NULL), (1, 'b', '{{}}', 'l'),
                        (1, 'c', '{{}}', 'k')
                 ON CONFLICT DO NOTHING;
                 COMMIT"
            ))
            .await;
        scene.check_fan_out(4, 2).await;
    }
}
