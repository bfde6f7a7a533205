//! A webhook as this worker delivers to it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tracing::error;

use crate::{delivery::PreparedTarget, domain::webhook::Target};

/// The shortest lease, so that many short timeouts do not make a slow database look like a dead worker.
pub(super) const LEASE_MIN: Duration = Duration::from_secs(10);

/// The longest time between two requests, however low the rate.
const SPACING_MAX: Duration = Duration::from_hours(1);

/// How long a run may wait for its webhook's rate with a slot in its hands.
const RATE_WAIT_MAX: Duration = Duration::from_secs(1);

/// A webhook with what is made from its settings once.
pub(super) struct LiveTarget {
    pub(super) settings: Target,
    pub(super) prepared: PreparedTarget,
    /// Set when nothing more may be started: paused, disabled, deleted.
    stopped: AtomicBool,
    /// When the next request may start, where the webhook has a rate limit.
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

    /// How many lanes the webhook's own policy lets one worker have in flight.
    pub(super) fn own_limit(&self) -> Option<usize> {
        let limit = self.settings.policy.max_in_flight.map(|limit| limit as usize);
        // More lanes than requests a second would only wait in line, holding slots that others need.
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

    /// Reserves the next request, if it may start within [`RATE_WAIT_MAX`], and says how long to wait for that; otherwise
    /// says how long to wait before asking again.
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

    /// The time between two requests.
    fn spacing(&self) -> Option<Duration> {
        let rate = self.settings.rate_limit_per_second?;
        Some(Duration::try_from_secs_f64(1.0 / rate).unwrap_or(SPACING_MAX).min(SPACING_MAX))
    }
}

/// A lease covers two requests, so that one can always be started after the claim.
pub(super) fn lease(timeout: Duration) -> Duration {
    (timeout * 2).max(LEASE_MIN)
}

/// All webhooks by id.
pub(super) type Targets = HashMap<i64, Arc<LiveTarget>>;

/// Replaces the webhooks that this worker knows by what the database says now. Says whether any is gone.
///
/// Requests that run go on with what they began with; lanes of a webhook that stopped are released as they come by.
pub(super) fn replace(known: &mut Targets, current: Vec<Target>) -> bool {
    let now = Instant::now();
    let mut targets = Targets::with_capacity(current.len());
    for settings in current {
        let id = settings.webhook_id;
        match PreparedTarget::new(&settings) {
            Ok(prepared) => {
                let next_start = known
                    .get(&id)
                    .map_or(now, |old| *old.next_start.lock().unwrap_or_else(PoisonError::into_inner));
                let target = LiveTarget {
                    settings,
                    prepared,
                    stopped: AtomicBool::new(false),
                    next_start: Mutex::new(next_start),
                };
                // What was reserved under a lower rate does not hold up the new one.
                if let Some(spacing) = target.spacing() {
                    let mut next = target.next_start.lock().unwrap_or_else(PoisonError::into_inner);
                    *next = (*next).min(now + spacing.max(RATE_WAIT_MAX));
                }
                targets.insert(id, Arc::new(target));
            }
            // Only a row written past the API's checks gets here.
            Err(problem) if known.contains_key(&id) || known.is_empty() => {
                error!(webhook_id = id, %problem, "webhook cannot be delivered to: its settings are not valid");
            }
            Err(_) => {}
        }
    }
    for (id, old) in known.iter() {
        if !targets.get(id).is_some_and(|new| new.deliverable()) {
            old.stop();
        }
    }
    let gone = known.keys().any(|id| !targets.contains_key(id));
    *known = targets;
    gone
}
