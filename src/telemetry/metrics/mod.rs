//! Metrics: what this process has done, in numbers, as Prometheus reads them.
//!
//! Each metric is described once, in [`ALL`]. A process has one [`Metrics`], which is passed to its
//! API and its worker: nothing is global. What is said of the database is read at a scrape, and
//! rendered by [`render_gauges`].
//!
//! A series is forgotten an hour after it has changed last. So webhooks and topics that are gone
//! leave nothing behind. A counter that comes back begins at 0, as after a restart.
//!
//! | file | what it holds |
//! |---|---|
//! | `table` | all metrics: name, kind, labels, meaning |
//! | `recorder` | recorders, and the keys of series |
//! | `process` | what parts of this process report |
//! | `watched` | what is asked at each reading |
//! | `webhook` | what is reported of one webhook |
//! | `gauges` | what is read of the database |

mod gauges;
mod process;
mod recorder;
mod table;
mod watched;
mod webhook;

use std::{
    convert::Infallible,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use metrics::{Gauge, Key, Recorder as _};
use metrics_exporter_prometheus::{PrometheusHandle, PrometheusRecorder};
use tokio_util::sync::CancellationToken;

pub(crate) use self::webhook::WebhookSeries;
pub use self::{
    gauges::render_gauges,
    table::{ALL, Kind, LABELS, Metric, Source, Unit},
};
use self::{
    recorder::{METADATA, recorder, series},
    table::{SLOTS, SLOTS_IN_USE},
    watched::Watched,
};
use crate::config::PerWebhook;

/// After how long a series is forgotten that does not change.
const IDLE: Duration = Duration::from_hours(1);
/// How often the values of histograms are put together. Until then each of them takes memory.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// After how many upkeeps it is looked for idle series, if nobody reads the metrics.
const LOOKS_EVERY: u32 = 12;

/// The metrics of this process. Clones are cheap, and share everything.
#[derive(Clone, Default)]
pub struct Metrics(Option<Arc<Inner>>);

struct Inner {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    per_webhook: PerWebhook,
    /// Whether series have the label `webhook` now.
    names_webhooks: AtomicBool,
    slots: Gauge,
    slots_in_use: Gauge,
    /// What is asked at each reading.
    watched: Mutex<Watched>,
}

impl Metrics {
    /// Metrics that count. Somebody must [`keep`](Self::keep) them.
    pub fn new(per_webhook: PerWebhook) -> Self {
        Self::with_idle(per_webhook, IDLE)
    }

    fn with_idle(per_webhook: PerWebhook, idle: Duration) -> Self {
        let recorder = recorder(Source::Process, Some(idle));
        let inner = Inner {
            handle: recorder.handle(),
            per_webhook,
            names_webhooks: AtomicBool::new(per_webhook.names(0)),
            slots: recorder.register_gauge(&series(&SLOTS, &[]), &METADATA),
            slots_in_use: recorder.register_gauge(&series(&SLOTS_IN_USE, &[]), &METADATA),
            watched: Mutex::default(),
            recorder,
        };
        Self(Some(Arc::new(inner)))
    }

    /// Metrics that count nothing, and have no text.
    pub fn off() -> Self {
        Self(None)
    }

    /// The metrics of this process, as Prometheus reads them.
    pub fn render(&self) -> String {
        let Some(inner) = &self.0 else { return String::new() };
        self.sample(inner);
        inner.handle.render()
    }

    /// Keeps the metrics small until `shutdown`.
    pub async fn keep(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        let Some(inner) = &self.0 else {
            shutdown.cancelled().await;
            return Ok(());
        };
        for round in 1.. {
            if shutdown.run_until_cancelled(tokio::time::sleep(UPKEEP_EVERY)).await.is_none() {
                break;
            }
            inner.handle.run_upkeep();
            if round % LOOKS_EVERY == 0 {
                self.forget_idle();
            }
        }
        Ok(())
    }

    /// Forgets the series that have not changed for a while.
    fn forget_idle(&self) {
        let Some(inner) = &self.0 else { return };
        self.sample(inner);
        // The crate does that while it renders. It cannot fail: nothing is written.
        let _ = inner.handle.render_to_write(&mut std::io::sink());
    }

    /// There are so many webhooks.
    pub(crate) fn know_webhooks(&self, count: usize) {
        if let Some(inner) = &self.0 {
            inner.names_webhooks.store(inner.per_webhook.names(count), Ordering::Relaxed);
        }
    }

    /// Whether series have the label `webhook`; `None` if nothing is counted.
    fn names_webhooks(&self) -> Option<bool> {
        self.0.as_ref().map(|inner| inner.names_webhooks.load(Ordering::Relaxed))
    }

    /// Adds to a counter. The counter is looked for each time: one that was forgotten would count
    /// unseen.
    fn count(&self, key: &Key, by: u64) {
        if let Some(inner) = &self.0 {
            inner.recorder.register_counter(key, &METADATA).increment(by);
        }
    }

    /// Adds a value to a histogram.
    fn record(&self, key: &Key, value: f64) {
        if let Some(inner) = &self.0 {
            inner.recorder.register_histogram(key, &METADATA).record(value);
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("on", &self.0.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
