//! Endpoints: webhooks as this worker delivers to them ("target" in the code).

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    delivery::PreparedTarget,
    domain::target::{Target, TargetRow, UnreadableTarget},
};

/// The shortest lease. Without it, if all timeouts are short, a slow database would make a worker
/// look hung.
pub(super) const LEASE_MIN: Duration = Duration::from_secs(10);

/// The longest time between two requests, however low the rate.
const SPACING_MAX: Duration = Duration::from_hours(1);

/// How long a burst may keep its slot while it waits for its webhook's rate limit.
const RATE_WAIT_MAX: Duration = Duration::from_secs(1);

/// A webhook's settings, and what is prepared from them once.
pub(super) struct LiveTarget {
    pub(super) settings: Target,
    pub(super) prepared: PreparedTarget,
    /// Set when no request may be started any more: the webhook was paused, disabled or deleted.
    /// When the settings are reloaded, the new value shares this flag with the old one. So a burst
    /// that began under earlier settings stops too.
    stopped: Arc<AtomicBool>,
    /// When the next request may start, if the webhook has a rate limit.
    next_start: Mutex<Instant>,
}

impl LiveTarget {
    /// Whether requests may be started.
    pub(super) fn deliverable(&self) -> bool {
        self.settings.deliverable && !self.stopped.load(Ordering::Relaxed)
    }

    /// No request may be started any more.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// The lease that this webhook's requests need.
    pub(super) fn lease(&self) -> Duration {
        lease(self.settings.policy.timeout)
    }

    /// How many lanes the webhook's own settings let one worker have in flight; `None`: as many as
    /// it likes.
    pub(super) fn own_limit(&self) -> Option<usize> {
        let limit = self.settings.policy.max_in_flight.map(|limit| limit as usize);
        // No more lanes than requests a second: further lanes would only wait for the rate, and
        // hold slots that others need.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and a huge rate is no limit"
        )]
        let rate = self.settings.rate_limit_per_second.map(|rate| rate.ceil() as usize);
        match (limit, rate) {
            (Some(limit), Some(rate)) => Some(limit.min(rate)),
            (limit, rate) => limit.or(rate),
        }
    }

    /// Reserves the next request of the webhook's rate limit. `Ok` is how long to wait before it
    /// starts, at most [`RATE_WAIT_MAX`]. `Err`: nothing was reserved, and how long to wait before
    /// asking again.
    pub(super) fn reserve_start(&self, now: Instant) -> Result<Duration, Duration> {
        let Some(spacing) = self.spacing() else { return Ok(Duration::ZERO) };
        let mut next = self.next_start.lock().unwrap_or_else(PoisonError::into_inner);
        let start = (*next).max(now);
        let wait = start.duration_since(now);
        if wait > RATE_WAIT_MAX {
            return Err(wait);
        }
        *next = start + spacing;
        Ok(wait)
    }

    /// The time between two requests; `None` without a rate limit.
    fn spacing(&self) -> Option<Duration> {
        let rate = self.settings.rate_limit_per_second?;
        Some(Duration::try_from_secs_f64(1.0 / rate).unwrap_or(SPACING_MAX).min(SPACING_MAX))
    }
}

/// The lease that requests with this timeout need. It covers two of them, so that one can always be
/// started after the claim.
pub(super) fn lease(timeout: Duration) -> Duration {
    (timeout * 2).max(LEASE_MIN)
}

/// All webhooks by id.
pub(super) type Targets = HashMap<i64, Arc<LiveTarget>>;

/// What became of the webhooks that this worker knew.
#[derive(Debug, Default)]
pub(super) struct Replaced {
    /// Whether one of them was deleted.
    pub(super) gone: bool,
    /// Webhooks that could be claimed, but no request can be made for them. They are to be
    /// disabled.
    pub(super) unusable: Vec<Unusable>,
}

/// A webhook that no request can be made for: its row was written in SQL, past the API's checks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unusable {
    pub(super) webhook_id: i64,
    /// Which version of the row was read (its `xmin`).
    pub(super) version: String,
    /// Why, in one line. It shows no secret.
    pub(super) reason: String,
}

/// Replaces the webhooks that this worker knows by those that the database has now.
///
/// Bursts under way keep their settings. Lanes of a webhook that stopped are released as the engine
/// comes to them. A webhook that no request can be made for is left out. It is named as unusable
/// only while it could be claimed, so that a disabled or paused one is not named again and again.
pub(super) fn replace(known: &mut Targets, current: Vec<TargetRow>) -> Replaced {
    let now = Instant::now();
    let listed: HashSet<i64> = current.iter().map(|row| row.webhook_id).collect();
    let mut targets = Targets::with_capacity(current.len());
    let mut unusable = Vec::new();
    for TargetRow { webhook_id, deliverable, version, target } in current {
        match prepare(target) {
            Ok((settings, prepared)) => {
                let target = live(settings, prepared, known.get(&webhook_id).map(Arc::as_ref), now);
                targets.insert(webhook_id, Arc::new(target));
            }
            Err(reason) if deliverable => unusable.push(Unusable { webhook_id, version, reason }),
            Err(_) => {}
        }
    }
    for (id, old) in known.iter() {
        if !targets.get(id).is_some_and(|new| new.deliverable()) {
            old.stop();
        }
    }
    let gone = known.keys().any(|id| !listed.contains(id));
    *known = targets;
    Replaced { gone, unusable }
}

/// A webhook's settings and what is prepared from them, or why no request can be made.
fn prepare(target: Result<Target, UnreadableTarget>) -> Result<(Target, PreparedTarget), String> {
    let settings = target.map_err(|error| error.to_string())?;
    let prepared = PreparedTarget::new(&settings).map_err(|error| error.to_string())?;
    Ok((settings, prepared))
}

/// The new value for a webhook. It takes over from `old` the next start of its rate limit, and the
/// stop flag unless that is set.
fn live(settings: Target, prepared: PreparedTarget, old: Option<&LiveTarget>, now: Instant) -> LiveTarget {
    let next_start = old.map_or(now, |old| *old.next_start.lock().unwrap_or_else(PoisonError::into_inner));
    let stopped = old.map(|old| &old.stopped).filter(|stopped| !stopped.load(Ordering::Relaxed));
    let target = LiveTarget {
        settings,
        prepared,
        stopped: stopped.cloned().unwrap_or_default(),
        next_start: Mutex::new(next_start),
    };
    // What was reserved under a lower rate must not hold up the new rate.
    if let Some(spacing) = target.spacing() {
        let mut next = target.next_start.lock().unwrap_or_else(PoisonError::into_inner);
        *next = (*next).min(now + spacing.max(RATE_WAIT_MAX));
    }
    target
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        policy::{OnExhausted, Policy},
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
        TargetRow { webhook_id, deliverable, version: format!("v{webhook_id}"), target: Ok(target) }
    }

    #[test]
    fn a_webhook_that_no_request_can_be_made_for_is_named_with_its_reason_while_it_could_be_claimed() {
        let unreadable = |deliverable| TargetRow {
            target: Err(UnreadableTarget::Headers),
            ..row(3, deliverable, "http://a/")
        };
        let mut known = Targets::new();
        let current = vec![row(1, true, "http://a/"), row(2, true, "ftp://a/"), unreadable(true)];
        let replaced = replace(&mut known, current);
        assert_eq!(known.keys().collect::<Vec<_>>(), [&1]);
        let named = |webhook_id, reason: &str| Unusable {
            webhook_id,
            version: format!("v{webhook_id}"),
            reason: reason.to_owned(),
        };
        let headers = "the webhook's headers are not a JSON object whose values are strings";
        assert_eq!(
            replaced.unusable,
            [named(2, "url must start with http:// or https://"), named(3, headers)]
        );

        let current = vec![row(1, true, "http://a/"), row(2, false, "ftp://a/"), unreadable(false)];
        assert_eq!(replace(&mut known, current).unusable, []);
    }

    #[test]
    fn only_a_webhook_that_is_deleted_is_gone() {
        let mut known = Targets::new();
        assert!(!replace(&mut known, vec![row(1, true, "http://a/"), row(2, true, "http://a/")]).gone);
        assert!(!replace(&mut known, vec![row(1, true, ""), row(2, false, "http://a/")]).gone);
        assert!(replace(&mut known, vec![row(1, true, "")]).gone);
    }

    /// Webhooks are reloaded every few seconds. A burst may last longer.
    #[test]
    fn a_run_stops_with_its_webhook_however_often_that_was_read_meanwhile() {
        let (usable, paused, unusable) =
            (row(1, true, "http://a/"), row(1, false, "http://a/"), row(1, true, ""));
        for stopping in [vec![paused], vec![unusable], Vec::new()] {
            let mut known = Targets::new();
            replace(&mut known, vec![usable.clone()]);
            let running = Arc::clone(&known[&1]);
            replace(&mut known, vec![usable.clone()]);
            assert!(running.deliverable());
            replace(&mut known, stopping);
            assert!(!running.deliverable());
            replace(&mut known, vec![usable.clone()]);
            assert_eq!(
                (running.deliverable(), known[&1].deliverable()),
                (false, true),
                "a new run may start"
            );
        }
    }
}
