//! `pgtopic dev --demo`: a topic, two webhooks, a receiver and traffic.
//!
//! The demo uses the public interfaces only, as an application does: HTTP, and SQL for half of the
//! messages. One webhook refuses a request now and then. The demo prints every request that
//! arrives, and checks the order of every partition.

mod client;
mod error;
mod receiver;
mod report;
mod traffic;

use std::{net::SocketAddr, time::Duration};

use hyper::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use uuid::Uuid;

pub use self::error::DemoError;
use self::{
    client::Client,
    receiver::{PATH, Receiver},
    report::Report,
    traffic::{TOPIC, Traffic},
};
use crate::{
    config::ApiConfig,
    domain::{dead_letter::DeadLetterFilter, scope::TopicScope},
    store::Store,
    telemetry::show_line,
};

/// The time between two summaries.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(5);

/// A topic, two webhooks, a receiver and traffic.
pub struct Demo {
    client: Client,
    store: Store,
    messages: Option<u64>,
}

impl Demo {
    /// A demo that uses the API at this address. It ends after this many messages; `None`: it never
    /// ends by itself.
    pub fn new(config: &ApiConfig, api: SocketAddr, store: Store, messages: Option<u64>) -> Self {
        Self { client: Client::new(config, api), store, messages }
    }

    /// Runs until the token is cancelled. When all messages have arrived, it cancels the token
    /// itself.
    ///
    /// # Errors
    /// [`DemoError`] if a request fails, or if a message breaks the order of its partition.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), DemoError> {
        let (arrivals, mut arrived) = mpsc::unbounded_channel();
        let mut receiver = Receiver::start(arrivals).await?;
        let Some(prepared) = shutdown.run_until_cancelled(self.prepare(&receiver)).await else {
            return Ok(());
        };
        let webhooks = prepared?;
        show_line(&format!(
            "  Two webhooks of topic \"{TOPIC}\" point to a receiver at {}; the second one fails now and then.\n",
            receiver.address()
        ));

        let run = Uuid::now_v7().to_string();
        let traffic = Traffic::new(self.client, self.store.clone(), run.clone(), self.messages);
        let mut report = Report::new(run, traffic.published());
        let mut summary = tokio::time::interval(SUMMARY_INTERVAL);
        summary.tick().await;
        let mut publishing = AbortOnDropHandle::new(tokio::spawn(traffic.run(shutdown.clone())));
        let mut publishing_ended = false;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(arrival) = arrived.recv() => {
                    report.note(&arrival)?;
                    if self.messages.is_some_and(|messages| report.complete(messages)) {
                        break;
                    }
                }
                error = receiver.ended() => return Err(error),
                _ = summary.tick() => print_summary(&mut report, &self.store, webhooks).await?,
                ended = &mut publishing, if !publishing_ended => {
                    ended.map_err(|error| DemoError(format!("publishing failed: {error}")))??;
                    publishing_ended = true;
                }
            }
        }
        shutdown.cancel();
        // Otherwise the last line would not add up: a message may be published at this moment, and
        // requests may have arrived.
        if !publishing_ended {
            publishing.await.map_err(|error| DemoError(format!("publishing failed: {error}")))??;
        }
        while let Ok(arrival) = arrived.try_recv() {
            report.note(&arrival)?;
        }
        print_summary(&mut report, &self.store, webhooks).await
    }

    /// Makes the topic and the webhooks. Returns the ids of the webhooks.
    async fn prepare(&self, receiver: &Receiver) -> Result<[i64; 2], DemoError> {
        self.client.request(Method::POST, "/topics", Some(&json!({ "name": TOPIC })), &[201, 409]).await?;
        self.remove_earlier_webhooks().await?;
        let mut ids = [0; 2];
        for (number, id) in (1..).zip(&mut ids) {
            let webhook = json!({
                "topic": TOPIC,
                "url": format!("http://{}{PATH}{number}", receiver.address()),
                "backoff_factor": 1.0,
                "max_backoff_seconds": 1,
                "max_retries": 20,
            });
            let made = self.client.request(Method::POST, "/webhooks", Some(&webhook), &[201]).await?;
            *id = made["id"].as_i64().ok_or_else(|| DemoError("a webhook has no id".to_owned()))?;
        }
        Ok(ids)
    }

    /// Deletes the webhooks of earlier runs: their receiver and its port do not exist any more.
    async fn remove_earlier_webhooks(&self) -> Result<(), DemoError> {
        let mut after = String::new();
        loop {
            let path = format!("/topics/{TOPIC}/webhooks?limit=100{after}");
            let page = self.client.request(Method::GET, &path, None, &[200]).await?;
            for webhook in page["items"].as_array().into_iter().flatten() {
                let ours = webhook["url"].as_str().is_some_and(|url| url.contains(PATH));
                if let Some(id) = webhook["id"].as_i64().filter(|_| ours) {
                    let path = format!("/webhooks/{id}");
                    self.client.request(Method::DELETE, &path, None, &[200, 204, 404]).await?;
                }
            }
            after = match &page["next"] {
                Value::Null => return Ok(()),
                Value::String(next) => format!("&after={next}"),
                next => format!("&after={next}"),
            };
        }
    }
}

/// Prints how many messages were published, and what became of them at each webhook.
async fn print_summary(report: &mut Report, store: &Store, webhooks: [i64; 2]) -> Result<(), DemoError> {
    for (number, id) in (1..).zip(webhooks) {
        let filter = DeadLetterFilter { webhook_id: Some(id), ..DeadLetterFilter::default() };
        report.note_dead_letters(
            number,
            store.count_dead_letters(&filter, &TopicScope::All).await?.unsigned_abs(),
        );
    }
    show_line(&report.summary());
    Ok(())
}
