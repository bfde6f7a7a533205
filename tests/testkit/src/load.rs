//! Publishers that go on whatever happens to the database. They remember the answers.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::StatusCode;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::{Expected, Http, Received, check_order, eventually, expected, reach};

/// The messages that were confirmed: committed in SQL, or accepted over HTTP. If the answer to a
/// commit was lost, its message is not here, but it may be committed.
#[derive(Default)]
pub struct Load {
    committed: Mutex<Vec<i64>>,
    over: AtomicBool,
}

impl Load {
    /// Publishes with SQL until the load is over, and rolls every fifth transaction back. It keeps
    /// nothing in its session.
    pub async fn publish(self: Arc<Self>, url: String, publisher: usize) {
        let mut client = reach(&url).await;
        let mut step = 0;
        while !self.over.load(Ordering::Relaxed) {
            step += 1;
            let roll_back = step % 5 == 0;
            match transaction(&client, &format!("{publisher}-{step}"), roll_back).await {
                Ok(Some(id)) => self.committed.lock().unwrap().push(id),
                Ok(None) => {}
                Err(_) => client = reach(&url).await,
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Publishes over HTTP until the load is over. A request that is refused is given up.
    pub async fn post(self: Arc<Self>, api: Arc<Http>, publisher: usize) {
        let mut step = 0;
        while !self.over.load(Ordering::Relaxed) {
            step += 1;
            let body = json!({
                "payload": { "fate": "committed", "by": format!("{publisher}-{step}") },
                "partition_key": format!("key-{publisher}-{}", step % 4),
            });
            match api.try_post("/topics/orders/messages", &body).await {
                Some((StatusCode::CREATED, answer)) => {
                    self.committed.lock().unwrap().push(answer["id"].as_i64().unwrap());
                }
                // Only answers that say that the database is away.
                Some((StatusCode::SERVICE_UNAVAILABLE, _)) => {}
                other => panic!("the API answered {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until this many more are committed.
    pub async fn more(&self, count: usize) {
        let before = self.committed().len();
        eventually("publishing goes on", async || (self.committed().len() >= before + count).then_some(()))
            .await;
    }

    /// Ends the load, and waits for its publishers.
    pub async fn end(&self, publishers: Vec<JoinHandle<()>>) {
        self.over.store(true, Ordering::Relaxed);
        for publisher in publishers {
            publisher.await.unwrap();
        }
    }

    /// What is committed for certain.
    pub fn committed(&self) -> Vec<i64> {
        self.committed.lock().unwrap().clone()
    }

    /// Checks what is stored, and what arrived at `/` after everything was delivered. Nothing that
    /// was committed may be missing. Nothing that was rolled back may be sent. Every id must mean
    /// one message, and the order must be kept. Returns what it saw.
    pub async fn check(&self, client: &Client, received: &[Received]) {
        let expected: Expected = expected(client, &["/"]).await;
        let stored: Vec<i64> = expected.values().flatten().copied().collect();
        let committed = self.committed();
        let lost: Vec<_> = committed.iter().filter(|id| !stored.contains(id)).collect();
        assert!(lost.is_empty(), "committed, but not there: {lost:?}");
        let mut bodies = BTreeMap::new();
        for one in received {
            let body = String::from_utf8_lossy(&one.body).into_owned();
            assert!(body.contains("committed"), "{} is {body}", one.position());
            let first = bodies.entry(one.position()).or_insert_with(|| body.clone());
            assert_eq!(*first, body, "message {} is another one now", one.position());
        }
        let repeated = check_order(received, &expected);
        println!("{} committed, {} stored, {repeated} repeated", committed.len(), stored.len());
    }
}

/// One transaction that publishes one message. Returns its id when it is committed. It does only
/// what a transaction pooler can do.
async fn transaction(
    client: &Client,
    by: &str,
    roll_back: bool,
) -> Result<Option<i64>, tokio_postgres::Error> {
    let (fate, end) = if roll_back { ("rolled back", "ROLLBACK") } else { ("committed", "COMMIT") };
    let (publisher, step) = by.split_once('-').unwrap();
    let key = format!("key-{publisher}-{}", step.parse::<usize>().unwrap() % 4);
    let insert = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED;
         INSERT INTO pgtopic.messages (topic_id, partition_key, payload)
         VALUES (1, '{key}', '{{\"fate\": \"{fate}\", \"by\": \"{by}\"}}') RETURNING id"
    );
    let answers = client.simple_query(&insert).await?;
    let id = answers.iter().find_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => row.get("id").map(|id| id.parse().unwrap()),
        _ => None,
    });
    client.simple_query(end).await?;
    Ok(id.filter(|_| !roll_back))
}
