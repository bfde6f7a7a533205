//! Rows that cannot be read, for example after damage to a disk. Each holds up only its own lane.
//! Also: how much is read at once.

use std::{
    fs::OpenOptions,
    io::{Seek as _, SeekFrom, Write as _},
};

use pgtopic::{
    embedded::ShutdownMode,
    store::{ClaimedLane, DueAfter, HeldLane, Owed, OwedMessage, ReadLimits, Want},
};
use pgtopic_testkit::{
    Http, Process, Puppet, Scene, TestCluster, TestReceiver, check_order, create_topic, create_webhook,
    eventually, expected, publish, reach_schema,
};
use rstest::rstest;

/// Inserts a large payload. PostgreSQL keeps it in another file than its row.
const LARGE: &str = "INSERT INTO messages (topic_id, partition_key, payload)
    SELECT 1, 'bad', to_json(string_agg(md5(n::text), '')) FROM generate_series(1, 200) n RETURNING id";

#[tokio::test]
async fn a_message_that_cannot_be_read_holds_up_its_lane_alone() {
    let (mut cluster, receiver) = (TestCluster::private().await, TestReceiver::accepting().await);
    let client = reach_schema(&cluster.url()).await;
    create_topic(&client).await;
    create_webhook(&client, &receiver.url("/"), &[]).await;
    create_webhook(&client, &receiver.url("/other"), &[]).await;
    let before = [publish(&client, "bad").await.unwrap(), publish(&client, "bad").await.unwrap()];
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
    let url = cluster.url();
    let environment = [("DATABASE_URL", url.as_str()), ("PGTOPIC_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8")];
    let mut worker = Process::start(&["worker"], &environment);
    let number = async |sql: &str| client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
    let only_bad = async || {
        let sql = "SELECT count(*) FROM deliveries d JOIN messages m ON m.id = d.message_id WHERE m.partition_key <> 'bad'";
        (number(sql).await == 0).then_some(())
    };
    eventually("all other messages are delivered and settled", only_bad).await;
    let said = async || {
        let sql =
            "SELECT count(*) FROM lanes WHERE partition_key = 'bad' AND last_error LIKE '%missing chunk%'
                      AND due_at > clock_timestamp() AND claimed_by IS NULL";
        (number(sql).await == 2).then_some(())
    };
    eventually("the row of both lanes says why the lane waits", said).await;
    // Later messages are delivered, too.
    for key in 0..5 {
        publish(&client, &format!("good-{key}")).await.unwrap();
    }
    eventually("later messages are delivered", only_bad).await;
    let received = receiver.received();
    let of_bad = received.iter().filter(|one| one.partition() == "bad");
    let (here, there): (Vec<_>, Vec<_>) = of_bad.partition(|one| one.path == "/");
    for sent in [here, there] {
        let sent: Vec<i64> = sent.iter().map(|one| one.position()).collect();
        assert_eq!(sent, before, "the messages before it in its lane are sent");
    }
    assert_eq!(receiver.count(), 114);
    let lines = worker.output().lines().filter(|line| line.contains("missing chunk")).count();
    assert!((1..=4).contains(&lines), "{lines} lines");

    let http = Http::serve(cluster.store()).await;
    let messages = http.get("/topics/orders/messages").await;
    assert_eq!(messages["items"].as_array().unwrap().len(), 59, "the list shows every row");
    let deliveries = http.get("/webhooks/1/deliveries?status=pending").await;
    let pending = deliveries["items"].as_array().unwrap();
    assert!(pending.iter().any(|delivery| delivery["message_id"] == behind), "{deliveries}");
    client
        .batch_execute(&format!(
            "INSERT INTO dead_letters (webhook_id, topic_id, partition_key, lane, message_id, reason, attempts)
             SELECT 2, topic_id, partition_key, lane, id, 'attempts_exhausted', 5 FROM messages WHERE id IN ({bad}, {behind})"
        ))
        .await
        .unwrap();
    let dead = http.get("/dead-letter").await;
    assert_eq!(dead["items"].as_array().unwrap().len(), 2, "{dead}");

    // An operator deletes the delivery of the bad message.
    client.execute("DELETE FROM deliveries WHERE message_id = $1", &[&bad]).await.unwrap();
    client.batch_execute("UPDATE lanes SET due_at = clock_timestamp()").await.unwrap();
    let nothing_owed = async || (number("SELECT count(*) FROM deliveries").await == 0).then_some(());
    eventually("the lane goes on", nothing_owed).await;
    worker.stop().await;
}

/// Every tail read fails. Then lanes are read one by one.
#[tokio::test]
async fn a_tail_read_that_fails_is_logged_seldom_and_costs_no_message() {
    let scene = Scene::with_webhook(&[]).await;
    scene
        .sql(
            "CREATE OR REPLACE FUNCTION list_news(newest bigint, missing bigint[], at_most bigint)
             RETURNS TABLE (message_id bigint, lane bigint, step bigint) LANGUAGE plpgsql
             AS 'BEGIN RAISE data_corrupted USING MESSAGE = ''no news''; END'",
        )
        .await;
    let mut environment = scene.database.environment();
    environment.push(("PGTOPIC_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8"));
    let mut worker = Process::start(&["worker"], &environment);
    worker.wait_for_output("worker is ready").await;
    let keys: Vec<String> = (0..60).map(|key| format!("key-{key}")).collect();
    for _ in 0..10 {
        scene.publish(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
        scene.nothing_owed().await;
    }
    assert_eq!(check_order(&scene.receiver.received(), &expected(&scene.client, &["/"]).await), 0);
    let output = worker.stop().await.output;
    let lines = output.lines().filter(|line| line.contains("no news")).count();
    assert!((1..=3).contains(&lines), "{lines} lines");
}

fn bytes(owed: &Owed) -> usize {
    let size = |item: &OwedMessage| match item {
        OwedMessage::Present(message) => {
            message.payload.len() + message.headers.as_ref().map_or(0, String::len)
        }
        OwedMessage::Missing(_) | OwedMessage::Superseded(_) => 0,
    };
    owed.items.iter().map(size).sum()
}

/// A hundred messages with the largest headers. Their payloads are the largest, or the smallest.
#[rstest]
#[case::large_payloads(1 << 20)]
#[case::small_payloads(2)]
#[tokio::test]
async fn the_largest_messages_are_read_within_the_budget(#[case] payload: usize) {
    const LIMITS: ReadLimits = ReadLimits { messages_per_lane: 50, payload_bytes: 1 << 18 };
    let budget = usize::try_from(LIMITS.payload_bytes).unwrap();
    let scene = Scene::with_webhook(&[]).await;
    scene
        .sql(&format!(
            "INSERT INTO messages (topic_id, partition_key, payload, headers)
             SELECT 1, 'key-' || n % 4, to_json(repeat('x', {payload} - 2)),
                    json_build_object('x-a', repeat('y', 4084), 'x-b', repeat('y', 4084))
               FROM generate_series(1, 100) AS n"
        ))
        .await;
    assert_eq!(scene.number("SELECT max(octet_length(headers::text))::bigint FROM messages").await, 8192);
    let puppet = Puppet::new(&scene).await;
    let wants = [Want { webhook_id: 1, slots: 10, due_after: DueAfter::Beginning }];
    let lanes = puppet.store.claim_lanes(puppet.id, 1, &wants, true, LIMITS).await.unwrap();
    assert_eq!(lanes.len(), 4);
    let read: usize = lanes.iter().map(|lane| bytes(&lane.owed)).sum();
    assert!(read <= budget, "{read}");
    assert!(lanes.iter().any(|lane| lane.owed.more));
    let held = |lane: &ClaimedLane| HeldLane {
        key: lane.key,
        token: lane.token,
        position: lane.position,
        generation: lane.generation,
    };
    let held: Vec<HeldLane> = lanes.iter().map(held).collect();
    let lanes = puppet.store.read_lanes(puppet.id, &held, LIMITS).await.unwrap();
    let read: usize = lanes.iter().map(|lane| bytes(&lane.owed)).sum();
    let first = payload + 8192;
    assert!(
        (first.min(budget / 2)..=first.max(budget)).contains(&read),
        "{read}: one message is read even if it is larger than the budget"
    );
}
