//! The series of one webhook.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use jiff::Timestamp;
use metrics::{Key, SharedString};

use super::{
    Metrics,
    recorder::key,
    table::{ATTEMPTS, DELIVERIES_SETTLED, DELIVERY_LATENCY, Metric, REQUEST_DURATION},
};
use crate::domain::{
    attempt::{AttemptResult, ErrorClass, Outcome},
    dead_letter::Reason,
};

/// The labels of a webhook. Clones are cheap.
#[derive(Clone)]
pub(crate) struct WebhookSeries {
    topic: Arc<str>,
    webhook: Arc<str>,
    /// The keys of what happens with nearly each request, made when they are needed first: with the
    /// label `webhook`, and without it.
    accepted: Arc<[OnceLock<Box<Accepted>>; 2]>,
}

/// The keys of requests that are accepted.
struct Accepted {
    attempts: Key,
    duration: Key,
    latency: Key,
    settled: Key,
}

impl WebhookSeries {
    /// The series of the webhook with these names.
    pub(crate) fn new(topic: &str, webhook: &str) -> Self {
        Self { topic: topic.into(), webhook: webhook.into(), accepted: Arc::default() }
    }

    /// The names of topic and webhook.
    pub(crate) fn names(&self) -> (&str, &str) {
        (&self.topic, &self.webhook)
    }

    /// A series of this webhook, or of its topic if the webhook is not `named`.
    fn key(&self, metric: &Metric, named: bool, words: &[&'static str]) -> Key {
        let topic = Some(SharedString::from(Arc::clone(&self.topic)));
        let webhook = named.then(|| SharedString::from(Arc::clone(&self.webhook)));
        let words = words.iter().map(|word| Some(SharedString::from(*word)));
        key(metric, [topic, webhook].into_iter().chain(words))
    }

    /// A series of its topic.
    fn of_topic(&self, metric: &Metric, words: &[&'static str]) -> Key {
        let topic = Some(SharedString::from(Arc::clone(&self.topic)));
        key(metric, [topic].into_iter().chain(words.iter().map(|word| Some(SharedString::from(*word)))))
    }

    fn accepted(&self, named: bool) -> &Accepted {
        self.accepted[usize::from(named)].get_or_init(|| {
            Box::new(Accepted {
                attempts: self.key(&ATTEMPTS, named, &[Outcome::Accepted.as_str(), ""]),
                duration: self.of_topic(&REQUEST_DURATION, &[Outcome::Accepted.as_str()]),
                latency: self.of_topic(&DELIVERY_LATENCY, &[]),
                settled: self.key(&DELIVERIES_SETTLED, named, &["delivered"]),
            })
        })
    }
}

impl Metrics {
    /// A request has ended that began at `attempted_at`. `created_at`: when the messages were
    /// published that were accepted.
    pub(crate) fn request_ended(
        &self,
        series: &WebhookSeries,
        result: &AttemptResult,
        attempted_at: Timestamp,
        created_at: &[Timestamp],
    ) {
        let Some(named) = self.names_webhooks() else { return };
        let outcome = result.outcome.as_str();
        if result.outcome == Outcome::Accepted {
            let accepted = series.accepted(named);
            self.count(&accepted.attempts, 1);
            self.record(&accepted.duration, result.duration.as_secs_f64());
            let ended = attempted_at.checked_add(result.duration).unwrap_or(attempted_at);
            for created_at in created_at {
                // The clock of the database may be ahead of this one.
                let took = Duration::try_from(ended.duration_since(*created_at)).unwrap_or_default();
                self.record(&accepted.latency, took.as_secs_f64());
            }
            return;
        }
        let error = result.error_class.map_or("", ErrorClass::as_str);
        self.count(&series.key(&ATTEMPTS, named, &[outcome, error]), 1);
        self.record(&series.of_topic(&REQUEST_DURATION, &[outcome]), result.duration.as_secs_f64());
    }

    /// Deliveries were written as delivered, and others as dead letters.
    pub(crate) fn settled(&self, series: &WebhookSeries, delivered: u64, dead: &[Reason]) {
        let Some(named) = self.names_webhooks() else { return };
        if delivered > 0 {
            self.count(&series.accepted(named).settled, delivered);
        }
        for reason in dead {
            self.count(&series.key(&DELIVERIES_SETTLED, named, &[reason.as_str()]), 1);
        }
    }
}
