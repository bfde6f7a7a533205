//! Endpoints: webhooks as this worker sends to them, prepared once for many requests.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::super::{
    engine::{
        command::Unusable,
        event::{Endpoint, LoadedWebhooks},
    },
    scheduling::rate_limit::RateLimit,
};
use crate::{
    delivery::PreparedTarget,
    domain::{
        scope::TopicScope,
        target::{Target, TargetRow},
    },
    store::ChangedTargets,
    telemetry::metrics::WebhookSeries,
};

/// What a burst needs of its webhook.
pub(super) struct LiveEndpoint {
    pub(super) prepared: PreparedTarget,
    pub(super) timeout: Duration,
    /// How old a message may be that is sent.
    pub(super) max_age: Option<Duration>,
    /// Its metrics.
    pub(super) series: WebhookSeries,
    /// Set when no request may be started any more: the webhook was paused, disabled or deleted.
    /// When the webhook changes, the new value shares this flag with the old one. So a burst that
    /// began under earlier settings stops too.
    stopped: Arc<AtomicBool>,
    /// Shared in the same way. It is this worker's share of the webhook's limit.
    rate_limit: Arc<Mutex<RateLimit>>,
}

impl LiveEndpoint {
    /// Whether no request may be started any more.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Reserves the next request of the webhook's rate limit; as [`RateLimit::reserve`].
    pub(super) fn reserve_start(&self, now: Instant) -> Result<Duration, Duration> {
        self.rate_limit().reserve(now)
    }

    fn rate_limit(&self) -> MutexGuard<'_, RateLimit> {
        self.rate_limit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

/// All webhooks that a request can be made for, as they were read last.
#[derive(Default)]
pub(super) struct Endpoints(HashMap<i64, Arc<LiveEndpoint>>);

impl Endpoints {
    /// What a burst needs of its webhook; `None` if no request can be made for it.
    pub(super) fn get(&self, webhook_id: i64) -> Option<Arc<LiveEndpoint>> {
        self.0.get(&webhook_id).cloned()
    }

    /// How many webhooks there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Starts no further request for a webhook.
    pub(super) fn stop(&self, webhook_id: i64) {
        if let Some(live) = self.0.get(&webhook_id) {
            live.stop();
        }
    }

    /// Sets this worker's share of a webhook's rate.
    pub(super) fn set_rate(&self, webhook_id: i64, per_second: f64, now: Instant) {
        if let Some(live) = self.0.get(&webhook_id) {
            live.rate_limit().set(Some(per_second), now);
        }
    }

    /// Takes in what has changed. Returns what the engine must know of it.
    ///
    /// Bursts under way keep their settings. A webhook that no request can be made for is named as
    /// unusable only if it could be claimed.
    /// Webhooks of other topics than `topics` are not sent to.
    pub(super) fn apply(
        &mut self,
        changes: ChangedTargets,
        topics: &TopicScope,
        now: Instant,
    ) -> LoadedWebhooks {
        let ChangedTargets { changed, gone } = changes;
        let mut loaded = LoadedWebhooks { deleted: !gone.is_empty(), ..LoadedWebhooks::default() };
        for webhook_id in gone {
            self.remove(webhook_id);
            loaded.removed.push(webhook_id);
        }
        for row in changed {
            self.change(row, &mut loaded, topics, now);
        }
        loaded
    }

    fn change(&mut self, row: TargetRow, loaded: &mut LoadedWebhooks, topics: &TopicScope, now: Instant) {
        let TargetRow { webhook_id, deliverable, version, target } = row;
        let prepared = target.map_err(|error| error.to_string()).and_then(|target| {
            Ok((PreparedTarget::new(&target).map_err(|error| error.to_string())?, target))
        });
        match prepared {
            Ok((prepared, mut settings)) => {
                settings.deliverable = deliverable && topics.contains(&settings.topic);
                let old = self.0.get(&webhook_id);
                let live = live(&settings, prepared, old.map(Arc::as_ref), now);
                if !settings.deliverable {
                    live.stop();
                }
                self.0.insert(webhook_id, Arc::new(live));
                loaded.held.extend(settings.held_for.map(|hold| (webhook_id, hold)));
                loaded.changed.insert(webhook_id, Arc::new(endpoint(settings)));
            }
            Err(reason) => {
                self.remove(webhook_id);
                loaded.removed.push(webhook_id);
                if deliverable {
                    loaded.unusable.push(Unusable { webhook_id, version, reason });
                }
            }
        }
    }

    fn remove(&mut self, webhook_id: i64) {
        self.stop(webhook_id);
        self.0.remove(&webhook_id);
    }
}

/// What the engine must know of a webhook.
fn endpoint(target: Target) -> Endpoint {
    Endpoint {
        topic: target.topic,
        deliverable: target.deliverable,
        batch_size: target.batch_size,
        policy: target.policy,
        rate_limit_per_second: target.rate_limit_per_second,
        breaker: target.breaker,
    }
}

/// The new value for a webhook. It takes over from `old` the rate limit, and the stop flag unless that
/// is set.
fn live(
    settings: &Target,
    prepared: PreparedTarget,
    old: Option<&LiveEndpoint>,
    now: Instant,
) -> LiveEndpoint {
    let rate = settings.rate_limit_per_second;
    let rate_limit = old.map(|old| {
        old.rate_limit().lower(rate, now);
        Arc::clone(&old.rate_limit)
    });
    let stopped = old.filter(|old| !old.is_stopped()).map(|old| Arc::clone(&old.stopped));
    LiveEndpoint {
        prepared,
        timeout: settings.policy.timeout,
        max_age: settings.policy.max_age,
        series: WebhookSeries::new(&settings.topic, &settings.name),
        stopped: stopped.unwrap_or_default(),
        rate_limit: rate_limit.unwrap_or_else(|| Arc::new(Mutex::new(RateLimit::new(rate, now)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        breaker::BreakerPolicy,
        policy::{OnExhausted, Policy},
        target::UnreadableTarget,
        webhook::Format,
    };

    fn row(webhook_id: i64, deliverable: bool, url: &str) -> TargetRow {
        let policy = Policy {
            max_retries: 5,
            backoff_factor: 2.0,
            max_backoff: Duration::from_hours(1),
            retry_schedule: Vec::new(),
            permanent_statuses: Vec::new(),
            timeout: Duration::from_secs(5),
            on_exhausted: OnExhausted::DeadLetter,
            max_in_flight: None,
            max_age: None,
            latest_only: false,
        };
        let target = Target {
            webhook_id,
            source: "pgtopic".into(),
            name: "billing".to_owned(),
            topic: "orders".to_owned(),
            ordered: true,
            url: url.to_owned(),
            secrets: vec!["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()],
            headers: Vec::new(),
            format: Format::Raw,
            batch_size: 1,
            policy,
            rate_limit_per_second: None,
            held_for: None,
            breaker: BreakerPolicy::Auto,
            deliverable,
        };
        let version = format!("{webhook_id} {deliverable} {url}");
        TargetRow { webhook_id, deliverable, version, target: Ok(target) }
    }

    fn change(endpoints: &mut Endpoints, changed: Vec<TargetRow>) -> LoadedWebhooks {
        endpoints.apply(ChangedTargets { changed, gone: Vec::new() }, &TopicScope::All, Instant::now())
    }

    #[test]
    fn a_webhook_that_no_request_can_be_made_for_is_named_with_its_reason_if_it_could_be_claimed() {
        let unreadable = |deliverable| TargetRow {
            target: Err(UnreadableTarget::Headers),
            ..row(3, deliverable, "http://a/")
        };
        let mut endpoints = Endpoints::default();
        let current = vec![row(1, true, "http://a/"), row(2, true, "ftp://a/"), unreadable(true)];
        let loaded = change(&mut endpoints, current);
        assert_eq!(loaded.changed.keys().collect::<Vec<_>>(), [&1]);
        assert_eq!(loaded.removed, [2, 3]);
        let named: Vec<(i64, &str)> =
            loaded.unusable.iter().map(|unusable| (unusable.webhook_id, unusable.reason.as_str())).collect();
        let headers = "the webhook's headers are not a JSON object whose values are strings";
        assert_eq!(named, [(2, "url must start with http:// or https://"), (3, headers)]);

        let current = vec![row(2, false, "ftp://a/"), unreadable(false)];
        assert_eq!(change(&mut endpoints, current).unusable, []);
    }

    #[test]
    fn only_a_webhook_that_is_gone_is_deleted() {
        let mut endpoints = Endpoints::default();
        assert!(!change(&mut endpoints, vec![row(1, true, "http://a/"), row(2, true, "")]).deleted);
        let gone = ChangedTargets { changed: Vec::new(), gone: vec![1] };
        let loaded = endpoints.apply(gone, &TopicScope::All, Instant::now());
        assert_eq!((loaded.deleted, &*loaded.removed), (true, &[1][..]));
    }

    /// A burst may last longer than a webhook's settings.
    #[test]
    fn a_burst_stops_with_its_webhook_however_often_that_was_read_meanwhile() {
        let (usable, paused, unusable) =
            (row(1, true, "http://a/"), row(1, false, "http://a/"), row(1, true, ""));
        for stopping in [Some(paused), Some(unusable), None] {
            let mut endpoints = Endpoints::default();
            change(&mut endpoints, vec![usable.clone()]);
            let running = endpoints.get(1).unwrap();
            change(&mut endpoints, vec![row(1, true, "http://b/")]);
            assert!(!running.is_stopped());
            let gone = if stopping.is_none() { vec![1] } else { Vec::new() };
            endpoints.apply(
                ChangedTargets { changed: stopping.into_iter().collect(), gone },
                &TopicScope::All,
                Instant::now(),
            );
            assert!(running.is_stopped());
            change(&mut endpoints, vec![usable.clone()]);
            assert!(running.is_stopped() && !endpoints.get(1).unwrap().is_stopped(), "a new burst may start");
        }
    }
}
