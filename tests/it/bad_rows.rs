//! Rows that cannot be read, as damage to a disk leaves them: each costs its lane alone.

use std::{
    fs::OpenOptions,
    io::{Seek as _, SeekFrom, Write as _},
};

use pgtopic::embedded::ShutdownMode;

use crate::support::{
    Broker, Http, TestCluster, TestReceiver, create_topic, create_webhook, eventually, publish, reach_schema,
};

/// A payload that PostgreSQL keeps apart from its row.
const LARGE: &str = "INSERT INTO messages (topic_id, partition_key, payload)
    SELECT 1, 'bad', to_json(string_agg(md5(n::text), '')) FROM generate_series(1, 200) n RETURNING id";

#[tokio::test]
async fn a_message_that_cannot_be_read_holds_up_its_lane_alone() {
    let (mut cluster, receiver) = (TestCluster::private().await, TestReceiver::accepting().await);
    let client = reach_schema(&cluster.url()).await;
    create_topic(&client).await;
    create_webhook(&client, &receiver.url("/"), &[]).await;
    create_webhook(&client, &receiver.url("/other"), &[]).await;
    let bad: i64 = client.query_one(LARGE, &[]).await.unwrap().get(0);
    let behind = publish(&client, "bad").await.unwrap();
    for key in 0..50 {
        publish(&client, &format!("good-{key}")).await.unwrap();
    }
    let sql = "SELECT pg_relation_filepath(reltoastrelid) FROM pg_class WHERE oid = 'messages'::regclass";
    let file: String = client.query_one(sql, &[]).await.unwrap().get(0);
    client.batch_execute("CHECKPOINT").await.unwrap();
    drop(client);

    cluster.postgres.stop(ShutdownMode::Fast).await.unwrap();
    let path = cluster.postgres.data_dir().join("data").join(file);
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(&[0; 8192]).unwrap();
    drop(file);
    cluster.postgres.start_again().await.unwrap();

    let client = reach_schema(&cluster.url()).await;
    let unreadable =
        client.query_one("SELECT payload::text FROM messages WHERE id = $1", &[&bad]).await.unwrap_err();
    assert_eq!(unreadable.code().unwrap().code(), "XX001");
    let broker = Broker::start(cluster.store());
    let number = async |sql: &str| client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
    let only_bad = async || {
        let sql = "SELECT count(*) FROM deliveries d JOIN messages m ON m.id = d.message_id WHERE m.partition_key <> 'bad'";
        (number(sql).await == 0).then_some(())
    };
    eventually("everything else is delivered and settled", only_bad).await;
    let said = async || {
        let sql =
            "SELECT count(*) FROM lanes WHERE partition_key = 'bad' AND last_error LIKE '%missing chunk%'
                      AND due_at > clock_timestamp() AND claimed_by IS NULL";
        (number(sql).await == 2).then_some(())
    };
    eventually("the lane of each webhook says why it waits", said).await;
    // What comes later finds its way, too: by looks at what is told, and by claims.
    for key in 0..5 {
        publish(&client, &format!("good-{key}")).await.unwrap();
    }
    eventually("what came later is delivered", only_bad).await;
    assert!(receiver.received().iter().all(|one| one.partition() != "bad"));
    assert_eq!(receiver.count(), 110);

    let http = Http::serve(cluster.store()).await;
    let messages = http.get("/topics/orders/messages").await;
    assert_eq!(messages["items"].as_array().unwrap().len(), 57, "lists show every row");
    let deliveries = http.get("/webhooks/1/deliveries?status=pending").await;
    assert_eq!(deliveries["items"][0]["message_id"], behind, "{deliveries}");

    // An operator takes the message out of the lane.
    client.execute("DELETE FROM deliveries WHERE message_id = $1", &[&bad]).await.unwrap();
    client.batch_execute("UPDATE lanes SET due_at = clock_timestamp()").await.unwrap();
    let nothing_owed = async || (number("SELECT count(*) FROM deliveries").await == 0).then_some(());
    eventually("the lane goes on", nothing_owed).await;
    broker.stop().await;
}
