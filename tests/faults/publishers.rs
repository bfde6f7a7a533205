//! Publishers: SQL sessions and clients of the API. They remember what they were told.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use pgtopic_testkit::{
    Http, TOPIC,
    history::{Fate, Publication},
    try_reach_schema,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::stage::{KEYS, POISON};

/// What all publishers share.
pub(crate) struct Ledger {
    pub(crate) publications: Mutex<Vec<Publication>>,
    over: AtomicBool,
    webhooks: BTreeSet<String>,
}

/// A message to be published.
#[derive(Clone)]
struct Draft {
    mark: String,
    key: String,
    payload: String,
}

impl Ledger {
    pub(crate) fn new(webhooks: BTreeSet<String>) -> Arc<Self> {
        Arc::new(Self { publications: Mutex::default(), over: AtomicBool::new(false), webhooks })
    }

    /// Publishers finish what they have begun, and end.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Remembers what became of these messages, and their ids if they are known.
    fn record(&self, drafts: &[Draft], ids: &[i64], fate: Fate) {
        let publications = drafts.iter().enumerate().map(|(at, draft)| Publication {
            mark: draft.mark.clone(),
            topic: TOPIC,
            key: draft.key.clone(),
            id: ids.get(at).copied(),
            webhooks: self.webhooks.clone(),
            fate,
        });
        self.publications.lock().unwrap().extend(publications);
    }
}

/// Makes messages. The same seed gives the same messages.
struct Author {
    name: String,
    random: StdRng,
    written: usize,
}

impl Author {
    fn new(name: String, seed: u64) -> Self {
        let seed = name.bytes().fold(seed, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        Self { name, random: StdRng::seed_from_u64(seed), written: 0 }
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.random.random_bool(probability)
    }

    /// One or several messages, of one or several partitions.
    fn write(&mut self) -> Vec<Draft> {
        let count = if self.chance(0.3) { self.random.random_range(2..6) } else { 1 };
        let one_key = self.chance(0.7).then(|| self.random.random_range(0..KEYS));
        let mut drafts: Vec<_> = (0..count)
            .map(|_| {
                self.written += 1;
                let mark = format!("{}-{}", self.name, self.written);
                let key = one_key.unwrap_or_else(|| self.random.random_range(0..KEYS));
                let word = if self.random.random_bool(0.05) { POISON } else { "food" };
                let payload = json!({ "mark": mark, "word": word }).to_string();
                Draft { mark, key: format!("key-{key}"), payload }
            })
            .collect();
        // Mostly in one order, so that transactions do not deadlock. Sometimes they may.
        if self.chance(0.9) {
            drafts.sort_by(|one, other| one.key.cmp(&other.key));
        }
        drafts
    }

    async fn rest(&mut self) {
        tokio::time::sleep(Duration::from_millis(self.random.random_range(30..120))).await;
    }
}

/// A session that publishes with INSERT and reconnects. Some of its transactions are rolled back.
pub(crate) async fn insert(ledger: Arc<Ledger>, url: String, number: usize, seed: u64) {
    let mut author = Author::new(format!("sql{number}"), seed);
    let Some(mut client) = connect(&ledger, &url).await else { return };
    while !ledger.is_over() {
        let drafts = author.write();
        let end = match author.random.random_range(0..100) {
            0..10 => End::Rollback,
            10..13 => End::Leave,
            _ => End::Commit,
        };
        let (ids, fate) = transaction(&client, &drafts, end).await;
        ledger.record(&drafts, &ids, fate);
        if client.is_closed() || end == End::Leave {
            let Some(again) = connect(&ledger, &url).await else { return };
            client = again;
        }
        author.rest().await;
    }
}

/// A session, however long the server is away: on a busy machine its recovery may take a minute.
/// `None` if the run is over before that.
async fn connect(ledger: &Ledger, url: &str) -> Option<Client> {
    while !ledger.is_over() {
        if let Some(client) = try_reach_schema(url).await {
            return Some(client);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    None
}

/// How a transaction ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Commit,
    Rollback,
    /// The client goes away in the middle.
    Leave,
}

async fn transaction(client: &Client, drafts: &[Draft], end: End) -> (Vec<i64>, Fate) {
    let mut ids = Vec::new();
    let insert = "INSERT INTO messages (topic_id, partition_key, payload) VALUES ($1, $2, $3::text::json) RETURNING id";
    let inserting = async {
        client.batch_execute("BEGIN").await?;
        for draft in drafts {
            ids.push(client.query_one(insert, &[&TOPIC, &draft.key, &draft.payload]).await?.get(0));
        }
        Ok::<_, tokio_postgres::Error>(())
    };
    let inserted = inserting.await.is_ok();
    match end {
        End::Commit if inserted => match client.batch_execute("COMMIT").await {
            Ok(()) => (ids, Fate::Committed),
            Err(_) => (ids, Fate::Unknown),
        },
        End::Leave if inserted => (Vec::new(), Fate::RolledBack),
        _ => {
            // It fails only if the connection is lost, which rolls back too. After a crash the ids
            // are given to other messages.
            let _ = client.batch_execute("ROLLBACK").await;
            (Vec::new(), Fate::RolledBack)
        }
    }
}

/// A client of the API. It repeats each request, with idempotency keys, until it is answered.
pub(crate) async fn post(ledger: Arc<Ledger>, api: SocketAddr, number: usize, seed: u64) {
    let mut author = Author::new(format!("http{number}"), seed);
    let client = Http::at(api);
    while !ledger.is_over() {
        let drafts = author.write();
        let mut messages: Vec<Value> = drafts.iter().map(message).collect();
        let one = messages.len() == 1;
        let (path, body) = if one {
            ("messages", messages.remove(0))
        } else {
            ("messages/batch", json!({ "messages": messages }))
        };
        let path = format!("/topics/orders/{path}");
        let answer = loop {
            if let Some(answer) = try_post(&client, &path, &body).await {
                break answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let ids: Vec<i64> = if one {
            vec![answer["id"].as_i64().unwrap()]
        } else {
            answer["ids"].as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect()
        };
        ledger.record(&drafts, &ids, Fate::Committed);
        author.rest().await;
    }
}

fn message(draft: &Draft) -> Value {
    let payload: Value = serde_json::from_str(&draft.payload).unwrap();
    json!({ "payload": payload, "partition_key": draft.key, "idempotency_key": draft.mark })
}

/// The answer; `None` if the request must be tried again.
async fn try_post(client: &Http, path: &str, body: &Value) -> Option<Value> {
    let asking = client.try_post(path, body);
    let (status, answer) = tokio::time::timeout(Duration::from_secs(10), asking).await.ok()??;
    assert!(status.is_success() || status.is_server_error(), "{path}: {status} {answer}");
    status.is_success().then_some(answer)
}
