//! A notification queue that is full. PostgreSQL 17 and newer allow a queue that is small enough
//! for a test to fill it.

use std::io::Write;

use pgtopic_testkit::{
    Broker, TestCluster, TestDatabase, TestReceiver, blind_claims, check_order, create_topic, create_webhook,
    eventually, expected, found_by_polls, nothing_owed, one_arrives, publish, reach_schema, see_again,
};
use tokio_postgres::{Client, error::SqlState};

/// The smallest queue that PostgreSQL allows: half a megabyte.
const SMALLEST: (&str, &str) = ("max_notify_queue_pages", "64");

/// A commit that notifies into the full queue is refused with this error.
const FULL: SqlState = SqlState::PROGRAM_LIMIT_EXCEEDED;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_and_delivery_go_on_while_the_notification_queue_is_full() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let major = number(&client, "SELECT current_setting('server_version_num')::bigint / 10000").await;
    if major < 17 {
        // `println!` would not do: cargo does not show what a passing test prints.
        let words = format!(
            "\nSKIPPED: the notification queue of PostgreSQL {major} holds 8 GB and was not filled (.ci/matrix 18 does)\n"
        );
        std::io::stderr().write_all(words.as_bytes()).unwrap();
        return;
    }
    let cluster = TestCluster::private_with(&[SMALLEST]).await;
    let (client, receiver) = (reach_schema(&cluster.url()).await, TestReceiver::accepting().await);
    create_topic(&client).await;
    create_webhook(&client, &receiver.url("/"), &[]).await;
    let broker = Broker::start(cluster.store());
    publish(&client, "key").await.unwrap();
    receiver.wait_for(1).await;

    let listener = fill(&cluster).await;

    // Publishers notice nothing.
    found_by_polls(&client, &receiver, "new").await;

    // A transaction with a NOTIFY of its own cannot commit. It is rolled back, and nothing of it is
    // sent.
    client.batch_execute("BEGIN").await.unwrap();
    let undone = publish(&client, "key").await.unwrap();
    client.batch_execute("SELECT pg_notify('noise', repeat('.', 7900))").await.unwrap();
    let refused = client.batch_execute("COMMIT").await.unwrap_err();
    assert_eq!(refused.code(), Some(&FULL), "{refused:?}");

    // A new webhook is found when webhooks are read again. A new worker looks when it starts.
    create_webhook(&client, &receiver.url("/new"), &[]).await;
    publish(&client, "key").await.unwrap();
    nothing_owed(&client).await;
    broker.stop().await;
    publish(&client, "key").await.unwrap();
    let broker = Broker::start(cluster.store());
    nothing_owed(&client).await;
    let received = receiver.received();
    assert_eq!(received.iter().filter(|one| one.path == "/new").count(), 2);
    assert!(received.iter().all(|one| one.position() != undone), "{undone} was rolled back");
    assert!(usage(&client).await > 0.9, "the queue is still full");

    // When the listener goes away, the queue is emptied, and notifications work again.
    drop(listener);
    eventually("the queue is emptied", async || (usage(&client).await < 0.1).then_some(())).await;
    blind_claims(&client, "true").await;
    for step in 0..10 {
        one_arrives(&client, &receiver, &format!("after-{step}")).await;
    }
    see_again(&client).await;
    nothing_owed(&client).await;
    let mut expected = expected(&client, &["/", "/new"]).await;
    // This webhook was created later.
    let published_before = |ids: &mut Vec<i64>| ids.retain(|id| *id > undone);
    expected.iter_mut().filter(|((path, _), _)| path == "/new").for_each(|(_, ids)| published_before(ids));
    assert_eq!(check_order(&receiver.received(), &expected), 0);
    broker.stop().await;
}

/// Fills the queue behind a listener that is idle in a transaction. The queue stays full while the
/// listener lives.
async fn fill(cluster: &TestCluster) -> Client {
    let (listener, noisy) = (cluster.client().await, cluster.client().await);
    // A LISTEN takes effect when it is committed.
    listener.batch_execute("LISTEN noise").await.unwrap();
    listener.batch_execute("BEGIN; SELECT 1").await.unwrap();
    // Large notifications first, then small ones for the rest of the queue.
    for size in [7900, 10] {
        let notify = format!("SELECT pg_notify('noise', lpad(random()::text, {size}, '.'))");
        let full = loop {
            if let Err(error) = noisy.batch_execute(&notify).await {
                break error;
            }
        };
        assert_eq!(full.code(), Some(&FULL), "{full:?}");
    }
    listener
}

async fn usage(client: &Client) -> f64 {
    client.query_one("SELECT pg_notification_queue_usage()", &[]).await.unwrap().get(0)
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}
