//! Endpoints: webhooks as this worker sends to them, prepared once for many requests.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
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
    domain::target::{Target, TargetRow},
};

/// What a burst needs of its webhook.
pub(super) struct LiveEndpoint {
    pub(super) prepared: PreparedTarget,
    pub(super) timeout: Duration,
    /// Set when no request may be started any more: the webhook was paused, disabled or deleted.
    /// When the webhook changes, the new value shares this flag with the old one. So a burst that
    /// began under earlier settings stops too.
    stopped: Arc<AtomicBool>,
    rate_limit: Mutex<RateLimit>,
}

impl LiveEndpoint {
    /// Whether no request may be started any more.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Reserves the next request of the webhook's rate limit; as [`RateLimit::reserve`].
    pub(super) fn reserve_start(&self, now: Instant) -> Result<Duration, Duration> {
        self.rate_limit.lock().unwrap_or_else(PoisonError::into_inner).reserve(now)
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

/// A webhook as it was read last.
struct Known {
    /// Which version of the row was read.
    version: String,
    deliverable: bool,
    /// `None`: no request can be made for it.
    live: Option<Arc<LiveEndpoint>>,
}

/// All webhooks, as they were read last.
#[derive(Default)]
pub(super) struct Endpoints {
    known: HashMap<i64, Known>,
}

impl Endpoints {
    /// What a burst needs of its webhook; `None` if no request can be made for it.
    pub(super) fn get(&self, webhook_id: i64) -> Option<Arc<LiveEndpoint>> {
        self.known.get(&webhook_id)?.live.clone()
    }

    /// Starts no further request for a webhook.
    pub(super) fn stop(&self, webhook_id: i64) {
        if let Some(live) = self.known.get(&webhook_id).and_then(|known| known.live.as_ref()) {
            live.stop();
        }
    }

    /// Makes the next read bring a webhook back that was stopped.
    pub(super) fn forget(&mut self, webhook_id: i64) {
        if let Some(known) = self.known.get_mut(&webhook_id) {
            known.version.clear();
        }
    }

    /// Takes in all webhooks as they were read. Returns what the engine must know of those that
    /// have changed.
    ///
    /// Bursts under way keep their settings. A webhook that no request can be made for is named as
    /// unusable only while it could be claimed, so that a disabled or paused one is not named again
    /// and again.
    pub(super) fn replace(&mut self, rows: Vec<TargetRow>, now: Instant) -> LoadedWebhooks {
        let mut loaded = LoadedWebhooks::default();
        let listed: HashSet<i64> = rows.iter().map(|row| row.webhook_id).collect();
        let mut gone: Vec<i64> = self.known.keys().copied().filter(|id| !listed.contains(id)).collect();
        gone.sort_unstable();
        for webhook_id in gone {
            self.stop(webhook_id);
            self.known.remove(&webhook_id);
            loaded.removed.push(webhook_id);
            loaded.deleted = true;
        }
        for row in rows {
            let known = self.known.get(&row.webhook_id);
            let same = |known: &Known| known.version == row.version && known.deliverable == row.deliverable;
            if !known.is_some_and(same) {
                self.change(row, &mut loaded, now);
            }
        }
        loaded
    }

    fn change(&mut self, row: TargetRow, loaded: &mut LoadedWebhooks, now: Instant) {
        let TargetRow { webhook_id, deliverable, version, target } = row;
        let old = self.known.remove(&webhook_id).and_then(|known| known.live);
        let prepared = target.map_err(|error| error.to_string()).and_then(|target| {
            Ok((PreparedTarget::new(&target).map_err(|error| error.to_string())?, target))
        });
        let live = match prepared {
            Ok((prepared, settings)) => {
                let live = live(&settings, prepared, old.as_deref(), now);
                loaded.changed.insert(webhook_id, Arc::new(endpoint(settings)));
                Some(Arc::new(live))
            }
            Err(reason) => {
                if deliverable {
                    loaded.unusable.push(Unusable { webhook_id, version: version.clone(), reason });
                }
                loaded.removed.push(webhook_id);
                None
            }
        };
        if let Some(old) = old
            && !(deliverable && live.is_some())
        {
            old.stop();
        }
        self.known.insert(webhook_id, Known { version, deliverable, live });
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
    }
}

/// The new value for a webhook. It takes over from `old` what its rate limit has reserved, and the
/// stop flag unless that is set.
fn live(
    settings: &Target,
    prepared: PreparedTarget,
    old: Option<&LiveEndpoint>,
    now: Instant,
) -> LiveEndpoint {
    let reserved = old.map(|old| old.rate_limit.lock().unwrap_or_else(PoisonError::into_inner).clone());
    let stopped = old.filter(|old| !old.is_stopped()).map(|old| Arc::clone(&old.stopped));
    LiveEndpoint {
        prepared,
        timeout: settings.policy.timeout,
        stopped: stopped.unwrap_or_default(),
        rate_limit: Mutex::new(RateLimit::new(settings.rate_limit_per_second, reserved.as_ref(), now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        policy::{OnExhausted, Policy},
        target::UnreadableTarget,
        webhook::Format,
    };

    fn row(webhook_id: i64, deliverable: bool, url: &str) -> TargetRow {
        let policy = Policy {
            max_retries: 5,
            backoff_factor: 2.0,
            max_backoff: Duration::from_hours(1),
            timeout: Duration::from_secs(5),
            on_exhausted: OnExhausted::DeadLetter,
            max_in_flight: None,
        };
        let target = Target {
            webhook_id,
            source: "pgtopic".into(),
            topic: "orders".to_owned(),
            ordered: true,
            url: url.to_owned(),
            secrets: vec!["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()],
            headers: Vec::new(),
            format: Format::Raw,
            batch_size: 1,
            policy,
            rate_limit_per_second: None,
            deliverable,
        };
        let version = format!("{webhook_id} {deliverable} {url}");
        TargetRow { webhook_id, deliverable, version, target: Ok(target) }
    }

    fn replace(endpoints: &mut Endpoints, rows: Vec<TargetRow>) -> LoadedWebhooks {
        endpoints.replace(rows, Instant::now())
    }

    #[test]
    fn only_what_has_changed_is_prepared_anew() {
        let mut endpoints = Endpoints::default();
        let rows = || vec![row(1, true, "http://a/"), row(2, true, "http://a/")];
        assert_eq!(replace(&mut endpoints, rows()).changed.len(), 2);
        let before = endpoints.get(1).unwrap();
        let loaded = replace(&mut endpoints, rows());
        assert!(loaded.changed.is_empty() && loaded.removed.is_empty());
        assert!(Arc::ptr_eq(&before, &endpoints.get(1).unwrap()));
        let loaded = replace(&mut endpoints, vec![row(1, true, "http://b/"), row(2, true, "http://a/")]);
        assert_eq!(loaded.changed.keys().collect::<Vec<_>>(), [&1]);
    }

    #[test]
    fn a_webhook_that_no_request_can_be_made_for_is_named_with_its_reason_while_it_could_be_claimed() {
        let unreadable = |deliverable| TargetRow {
            target: Err(UnreadableTarget::Headers),
            ..row(3, deliverable, "http://a/")
        };
        let mut endpoints = Endpoints::default();
        let current = vec![row(1, true, "http://a/"), row(2, true, "ftp://a/"), unreadable(true)];
        let loaded = replace(&mut endpoints, current);
        assert_eq!(loaded.changed.keys().collect::<Vec<_>>(), [&1]);
        let named: Vec<(i64, &str)> =
            loaded.unusable.iter().map(|unusable| (unusable.webhook_id, unusable.reason.as_str())).collect();
        let headers = "the webhook's headers are not a JSON object whose values are strings";
        assert_eq!(named, [(2, "url must start with http:// or https://"), (3, headers)]);

        let current = vec![row(1, true, "http://a/"), row(2, false, "ftp://a/"), unreadable(false)];
        assert_eq!(replace(&mut endpoints, current).unusable, []);
    }

    #[test]
    fn only_a_webhook_that_is_deleted_is_gone() {
        let mut endpoints = Endpoints::default();
        assert!(!replace(&mut endpoints, vec![row(1, true, "http://a/"), row(2, true, "http://a/")]).deleted);
        assert!(!replace(&mut endpoints, vec![row(1, true, ""), row(2, false, "http://a/")]).deleted);
        let loaded = replace(&mut endpoints, vec![row(1, true, "")]);
        assert_eq!((loaded.deleted, &*loaded.removed), (true, &[2][..]));
    }

    /// Webhooks are reloaded every few seconds. A burst may last longer.
    #[test]
    fn a_burst_stops_with_its_webhook_however_often_that_was_read_meanwhile() {
        let (usable, paused, unusable) =
            (row(1, true, "http://a/"), row(1, false, "http://a/"), row(1, true, ""));
        for stopping in [vec![paused], vec![unusable], Vec::new()] {
            let mut endpoints = Endpoints::default();
            replace(&mut endpoints, vec![usable.clone()]);
            let running = endpoints.get(1).unwrap();
            replace(&mut endpoints, vec![row(1, true, "http://b/")]);
            assert!(!running.is_stopped());
            replace(&mut endpoints, stopping);
            assert!(running.is_stopped());
            replace(&mut endpoints, vec![usable.clone()]);
            assert!(running.is_stopped() && !endpoints.get(1).unwrap().is_stopped(), "a new burst may start");
        }
    }

    #[test]
    fn a_webhook_that_could_not_be_disabled_comes_back_with_the_next_read() {
        let mut endpoints = Endpoints::default();
        replace(&mut endpoints, vec![row(1, true, "http://a/")]);
        endpoints.stop(1);
        endpoints.forget(1);
        assert_eq!(replace(&mut endpoints, vec![row(1, true, "http://a/")]).changed.len(), 1);
        assert!(!endpoints.get(1).unwrap().is_stopped());
    }
}
