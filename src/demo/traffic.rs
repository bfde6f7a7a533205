//! The demo's publisher: a few messages a second to several partitions, by HTTP and by SQL in turn.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hyper::Method;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{client::Client, error::DemoError};
use crate::store::Store;

/// The topic's name.
pub(super) const TOPIC: &str = "demo";

/// The time between two messages.
const PACE: Duration = Duration::from_millis(200);

const PARTITIONS: [&str; 4] = ["user-7", "user-42", "user-108", "user-256"];
const EVENTS: [&str; 3] = ["order.created", "order.paid", "order.shipped"];

pub(super) struct Traffic {
    client: Client,
    store: Store,
    run: String,
    messages: Option<u64>,
    published: Arc<AtomicU64>,
}

impl Traffic {
    /// `run` marks the messages of this run.
    pub(super) fn new(client: Client, store: Store, run: String, messages: Option<u64>) -> Self {
        Self { client, store, run, messages, published: Arc::default() }
    }

    /// The number of messages that were published so far. A message counts from the moment at which
    /// its publication begins: it may arrive before its publisher is told.
    pub(super) fn published(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.published)
    }

    /// Publishes until the token is cancelled or all messages are published.
    pub(super) async fn run(self, shutdown: CancellationToken) -> Result<(), DemoError> {
        let mut pace = tokio::time::interval(PACE);
        for number in 0..self.messages.unwrap_or(u64::MAX) {
            if shutdown.run_until_cancelled(pace.tick()).await.is_none() {
                break;
            }
            self.published.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = self.publish(number).await {
                self.published.fetch_sub(1, Ordering::Relaxed);
                // The API stops at the same time, and may refuse the last message.
                return if shutdown.is_cancelled() { Ok(()) } else { Err(error) };
            }
        }
        Ok(())
    }

    async fn publish(&self, number: u64) -> Result<(), DemoError> {
        let partition_key = PARTITIONS[rand::random_range(0..PARTITIONS.len())];
        let event = EVENTS[rand::random_range(0..EVENTS.len())];
        let payload = json!({ "event": event, "number": number, "run": self.run });
        if number.is_multiple_of(2) {
            let path = format!("/topics/{TOPIC}/messages");
            let message = json!({ "partition_key": partition_key, "payload": payload });
            self.client.request(Method::POST, &path, Some(&message), &[201]).await?;
        } else {
            self.store.publish(TOPIC, partition_key, &payload.to_string()).await?;
        }
        Ok(())
    }
}
