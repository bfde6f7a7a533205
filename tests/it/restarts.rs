//! PostgreSQL stops, crashes and comes back while messages flow.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use pgtopic::embedded::ShutdownMode;
use rstest::rstest;
use tokio_postgres::{Client, NoTls};

use crate::support::{
    Answer, Broker, TestCluster, TestReceiver, check_order, create_topic, create_webhook, eventually,
    expected, nothing_owed, publish,
};

/// A connection in pgtopic's schema, as soon as there can be one.
async fn connect(url: &str) -> Client {
    eventually("the database answers", async || {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.ok()?;
        tokio::spawn(connection);
        client.batch_execute("SET search_path = pgtopic").await.ok()?;
        Some(client)
    })
    .await
}

/// What publishers were told is committed.
#[derive(Default)]
struct Load {
    committed: Mutex<Vec<i64>>,
    over: AtomicBool,
}

impl Load {
    /// Publishes until the load is over, whatever happens to the database.
    async fn publish(self: Arc<Self>, url: String, publisher: usize) {
        let mut client = connect(&url).await;
        for step in 0.. {
            if self.over.load(Ordering::Relaxed) {
                break;
            }
            match publish(&client, &format!("key-{publisher}-{}", step % 4)).await {
                Ok(id) => self.committed.lock().unwrap().push(id),
                Err(_) => client = connect(&url).await,
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until this many more are committed.
    async fn more(&self, count: usize) {
        let before = self.committed.lock().unwrap().len();
        eventually("publishing goes on", async || {
            (self.committed.lock().unwrap().len() >= before + count).then_some(())
        })
        .await;
    }
}

#[rstest]
#[case::fast(Some(ShutdownMode::Fast))]
#[case::immediate(Some(ShutdownMode::Immediate))]
#[case::killed(None)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_when_the_database_restarts(#[case] mode: Option<ShutdownMode>) {
    let mut cluster = TestCluster::durable().await;
    let url = cluster.url();
    let receiver =
        TestReceiver::start(|_| Answer::After(Duration::from_millis(3), Box::new(Answer::Status(204)))).await;
    let client = connect(&url).await;
    create_topic(&client).await;
    create_webhook(&client, &receiver.url("/"), &[]).await;
    let brokers = [Broker::start(cluster.store()), Broker::start(cluster.store())];
    let load = Arc::new(Load::default());
    let publishers: Vec<_> =
        (0..4).map(|number| tokio::spawn(Arc::clone(&load).publish(url.clone(), number))).collect();

    for _ in 0..2 {
        load.more(50).await;
        match mode {
            Some(mode) => cluster.postgres.stop(mode).await.unwrap(),
            None => cluster.postgres.kill().await.unwrap(),
        }
        cluster.postgres.start_again().await.unwrap();
        let seen = receiver.received().len();
        load.more(50).await;
        receiver.wait_for(seen + 50).await;
    }
    load.over.store(true, Ordering::Relaxed);
    for publisher in publishers {
        publisher.await.unwrap();
    }

    let client = connect(&url).await;
    nothing_owed(&client).await;
    let expected = expected(&client, &["/"]).await;
    let repeated = check_order(&receiver.received(), &expected);
    let stored: Vec<i64> = expected.values().flatten().copied().collect();
    let committed = load.committed.lock().unwrap().clone();
    assert!(committed.iter().all(|id| stored.contains(id)), "what was committed is there");
    println!("{} committed, {} stored, {repeated} repeated", committed.len(), stored.len());
    assert!(brokers.iter().all(Broker::is_running));
    for broker in brokers {
        broker.stop().await;
    }
}
