//! What a process gives to Prometheus.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    broker::Broker,
    config::PerWebhook,
    telemetry::{
        LogThrottle,
        metrics::{Metrics, render_gauges},
    },
};

/// For how long the gauges of the database are kept. All readers share them.
const KEPT: Duration = Duration::from_secs(5);
/// Limits how often the log says that the database is away.
static AWAY: Mutex<LogThrottle> = Mutex::new(LogThrottle::new());

/// What a process gives to Prometheus.
pub struct Exposition {
    metrics: Metrics,
    broker: Broker,
    per_webhook: PerWebhook,
    gauges: tokio::sync::Mutex<Option<Gauges>>,
}

/// The gauges of the database, as they were read last.
struct Gauges {
    read: Instant,
    /// Empty if the database did not answer.
    text: Arc<str>,
}

impl Exposition {
    /// `metrics` are those of this process. `broker` reads what is told of the database.
    pub fn new(metrics: Metrics, broker: Broker, per_webhook: PerWebhook) -> Self {
        Self { metrics, broker, per_webhook, gauges: tokio::sync::Mutex::default() }
    }

    /// The metrics of this process.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// All metrics. Without the database, those of this process alone.
    pub(super) async fn text(&self) -> String {
        let gauges = self.gauges().await;
        self.metrics.render() + &gauges
    }

    async fn gauges(&self) -> Arc<str> {
        // Who comes while another one reads waits for it: two seconds at most.
        let mut kept = self.gauges.lock().await;
        if let Some(gauges) = kept.as_ref().filter(|gauges| gauges.read.elapsed() < KEPT) {
            return Arc::clone(&gauges.text);
        }
        let text = match self.broker.get_gauges().await {
            Ok(gauges) => render_gauges(&gauges, self.per_webhook),
            Err(error) => {
                let left_out = AWAY.lock().unwrap_or_else(PoisonError::into_inner).say(Instant::now());
                if let Some(left_out) = left_out {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, cause, left_out, "metrics of the database cannot be read");
                }
                String::new()
            }
        };
        Arc::clone(&kept.insert(Gauges { read: Instant::now(), text: text.into() }).text)
    }
}
