//! Publishers: clients that insert one message a transaction, each over its own connection.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Barrier, task::JoinSet};

use super::{
    CliError, failed,
    server::Database,
    sql::{Insert, Publisher},
    tally::{Tally, partition_key},
};

/// The length of a payload's filler. Payloads have about 300 bytes.
const FILLER: usize = 240;

/// The text that fills payloads. Its letters do not repeat too soon.
pub(super) fn filler() -> String {
    filler_of(FILLER)
}

/// The same of another length.
pub(super) fn filler_of(length: usize) -> String {
    (0..length).map(|place| char::from(b'a' + u8::try_from(place * 7 % 26).unwrap_or_default())).collect()
}

/// The payload of a message. [`Database::fill`] makes the same.
pub(super) fn payload(number: u64, filler: &str) -> String {
    format!(r#"{{"event": "order.created", "number": {number}, "details": "{filler}"}}"#)
}

/// What publishers are to do.
pub(super) struct Load {
    pub(super) insert: Insert,
    pub(super) topic_id: i64,
    pub(super) clients: usize,
    /// How many partition keys they choose from at random.
    pub(super) keys: u64,
    pub(super) length: Duration,
    /// Messages a second of all clients together. `None`: as many as they can.
    pub(super) per_second: Option<u64>,
    /// How many are published so far.
    pub(super) published: Arc<AtomicU64>,
    /// It is told of every commit.
    pub(super) tally: Option<Arc<Tally>>,
}

/// The result.
#[derive(Debug, Clone, Copy)]
pub(super) struct Published {
    pub(super) messages: u64,
    pub(super) elapsed: Duration,
}

impl Published {
    pub(super) fn per_second(self) -> f64 {
        super::figures::rate(self.messages, self.elapsed)
    }
}

impl Load {
    /// Connects all clients. Then they publish at once until the time is over.
    pub(super) async fn run(self, database: &Database) -> Result<Published, CliError> {
        let load = Arc::new(self);
        let start = Arc::new(Barrier::new(load.clients + 1));
        let mut clients = JoinSet::new();
        for client in 0..load.clients {
            let publisher =
                database.connector.session().await?.publisher(&load.insert, load.topic_id).await?;
            clients.spawn(Arc::clone(&load).publish(publisher, client, Arc::clone(&start)));
        }
        let before = load.published.load(Relaxed);
        start.wait().await;
        let begun = Instant::now();
        while let Some(ended) = clients.join_next().await {
            ended.map_err(|error| failed(format!("a publisher failed: {error}")))??;
        }
        Ok(Published { messages: load.published.load(Relaxed) - before, elapsed: begun.elapsed() })
    }

    async fn publish(
        self: Arc<Self>,
        publisher: Publisher,
        client: usize,
        start: Arc<Barrier>,
    ) -> Result<(), CliError> {
        let filler = filler();
        start.wait().await;
        let begun = Instant::now();
        let mut sent = 0;
        while begun.elapsed() < self.length {
            if let Some(pause) = self.pause(begun, client, sent) {
                tokio::time::sleep(pause).await;
            }
            let key = partition_key(rand::random_range(0..self.keys));
            let payload = payload(self.published.load(Relaxed), &filler);
            let id = publisher.publish(&key, &payload).await?;
            if let Some(tally) = &self.tally {
                tally.committed(id);
            }
            self.published.fetch_add(1, Relaxed);
            sent += 1;
        }
        Ok(())
    }

    /// How long until a client's next message, if there is a pace. Messages are evenly spread, and
    /// up to half an interval late at random. So the client never keeps time with something that
    /// polls.
    fn pause(&self, begun: Instant, client: usize, sent: u32) -> Option<Duration> {
        let per_second = self.per_second?;
        let clients = u32::try_from(self.clients).unwrap_or(1);
        let beat = Duration::from_secs(1) * clients / u32::try_from(per_second).unwrap_or(u32::MAX);
        let offset = beat * u32::try_from(client).unwrap_or_default() / clients;
        let late = beat.mul_f64(rand::random_range(0.0..0.5));
        (begun + beat * sent + offset + late).checked_duration_since(Instant::now())
    }
}
