//! Rows that logical replication writes. Triggers do not run for them.

use pgtopic_testkit::{Process, SECRET, Scene};

#[tokio::test]
async fn a_replicated_message_is_counted_and_logged() {
    let scene = Scene::with_webhook(&[]).await;
    let id = scene.publish(&["a"]).await[0];
    scene
        .sql(
            "SET session_replication_role = replica;
             INSERT INTO messages (id, topic_id, payload, size_bytes, lane) VALUES (nextval('message_ids'), 1, '{}', 2, hashtextextended('default', 1));
             SET session_replication_role = origin",
        )
        .await;
    assert_eq!(
        scene.number("SELECT count(*) FROM deliveries").await,
        1,
        "the replicated message is owed to nobody"
    );
    let mut environment = scene.database.environment();
    environment.push(("PGTOPIC_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8"));
    let mut worker = Process::start(&["worker"], &environment);
    let output = worker.wait_for_output("were not published here").await;
    assert!(output.contains("messages=1"), "{output}");
    scene.arrival(id).await;
    worker.stop().await;
}

/// It is no copy: a trigger has published it, on a table that is replicated.
#[tokio::test]
async fn a_message_that_is_published_where_triggers_are_switched_off_is_owed_once() {
    let scene = Scene::with_webhook(&[]).await;
    scene.sql("SET session_replication_role = replica").await;
    scene.sql("SELECT publish('orders', 'a', '{}'::json)").await;
    assert_eq!(scene.text("SELECT string_agg(message_id::text, ',') FROM deliveries").await, "1");
    scene.sql("ALTER TABLE messages ENABLE ALWAYS TRIGGER zz_messages_publish").await;
    scene.sql("SELECT publish('orders', 'a', '{}'::json)").await;
    assert_eq!(scene.text("SELECT string_agg(message_id::text, ',') FROM deliveries").await, "1,2");
    let copy = "INSERT INTO messages (id, topic_id, payload, size_bytes, lane) VALUES (77, 1, '{}', 2, 0)";
    scene.sql(copy).await;
    assert_eq!(scene.text("SELECT string_agg(message_id::text, ',') FROM deliveries").await, "1,2,3");
    let unknown = "INSERT INTO messages (topic_id, payload) VALUES (9, '{}')";
    assert!(scene.client.execute(unknown, &[]).await.is_err(), "there are no foreign keys in this session");
    assert_eq!(scene.number("SELECT nextval('arrived_messages')").await, 1, "none was counted");
}

#[tokio::test]
async fn replicated_webhooks_and_topics_are_used() {
    let scene = Scene::new().await;
    let mut environment = scene.database.environment();
    environment.push(("PGTOPIC_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8"));
    let mut worker = Process::start(&["worker"], &environment);
    worker.wait_for_output("worker is ready").await;
    let url = scene.receiver.url("/");
    let insert = format!(
        "SET session_replication_role = replica;
         INSERT INTO webhooks (topic_id, name, url, secrets) VALUES (1, 'billing', '{url}', ARRAY['{SECRET}']);
         SET session_replication_role = origin"
    );
    scene.sql(&insert).await;
    let listed = "SELECT webhook_ids::text FROM topics WHERE id = 1";
    assert_eq!(scene.text(listed).await, "{1}");
    scene.publish(&["a"]).await;
    scene.nothing_owed().await;

    // A replicated topic names the webhooks of another database. They do not count here.
    scene
        .sql(
            "SET session_replication_role = replica;
             UPDATE topics SET webhook_ids = '{7,8,9}';
             INSERT INTO topics (id, name, webhook_ids) OVERRIDING SYSTEM VALUE VALUES (9, 'other', '{7}');
             UPDATE webhooks SET filter = '$.a == 1'",
        )
        .await;
    assert_eq!(scene.text(listed).await, "", "the webhook has a filter now");
    assert_eq!(scene.text("SELECT webhook_ids::text FROM topics WHERE id = 9").await, "{}");
    scene.sql("DELETE FROM webhooks").await;
    assert_eq!(scene.text(listed).await, "{}");
    worker.stop().await;
}
