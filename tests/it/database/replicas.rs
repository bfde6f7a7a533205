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

    // A row without an id is refused. A publisher would write it like this.
    scene.sql("SET session_replication_role = replica").await;
    let sql = "INSERT INTO messages (topic_id, payload) VALUES (1, '{}')";
    assert!(scene.client.execute(sql, &[]).await.is_err());
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
