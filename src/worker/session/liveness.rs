//! Whether this worker may still send.
//!
//! Another worker takes over this worker's lanes if its lock was free for `TAKEOVER_AFTER`, or if
//! its heartbeat stood still for its lease. So this worker sends only while both are true:
//! - Its session, which holds the lock, answered a round trip that was sent less than `ALIVE_FOR`
//!   ago.
//! - Its lease lasts longer than the request can.
//!
//! Both are counted on the monotonic clock, from before the question was sent. So sending may stop
//! too early, but never too late, and no step of any clock can lengthen it.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use super::super::tuning::{ALIVE_FOR, LEASE_MIN};

/// The lease that requests with this timeout need. It covers two of them, so that one can always be
/// started after the claim.
pub fn lease(timeout: Duration) -> Duration {
    (timeout * 2).max(LEASE_MIN)
}

/// Until when this worker may send. Its heartbeat and its bursts share this.
#[derive(Debug)]
pub struct Liveness {
    origin: Instant,
    /// Nanoseconds since `origin`.
    alive_until: AtomicU64,
    leased_until: AtomicU64,
}

impl Liveness {
    /// For a worker that was just registered with `lease`, by a question that was sent at `asked`.
    pub fn new(asked: Instant, lease: Duration) -> Self {
        let liveness =
            Self { origin: asked, alive_until: AtomicU64::new(0), leased_until: AtomicU64::new(0) };
        liveness.answered(asked, Some(lease));
        liveness
    }

    /// A round trip that was sent at `asked` was answered. `lease` is what it wrote to the worker's
    /// row, if it did.
    pub fn answered(&self, asked: Instant, lease: Option<Duration>) {
        let asked = asked.saturating_duration_since(self.origin);
        self.alive_until.fetch_max(nanoseconds(asked + ALIVE_FOR), Ordering::Relaxed);
        if let Some(lease) = lease {
            // Not the maximum: a shorter lease must count as soon as other workers may act on it.
            self.leased_until.store(nanoseconds(asked + lease), Ordering::Relaxed);
        }
    }

    /// Whether a request that may take `timeout` may be started at `now`.
    pub fn may_send(&self, now: Instant, timeout: Duration) -> bool {
        let now = now.saturating_duration_since(self.origin);
        nanoseconds(now) < self.alive_until.load(Ordering::Relaxed)
            && nanoseconds(now + timeout) < self.leased_until.load(Ordering::Relaxed)
    }

    /// When this worker must stop sending unless another round trip is answered.
    pub fn alive_until(&self) -> Instant {
        self.origin + Duration::from_nanos(self.alive_until.load(Ordering::Relaxed))
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::super::tuning::TAKEOVER_AFTER, *};

    proptest! {
        /// Whatever the order of answers, sending ends before anybody may take over.
        #[test]
        fn never_sends_when_another_may_take_over(
            answers in prop::collection::vec((0u64..5_000, prop::bool::ANY), 1..20),
            at in 0u64..60_000,
            timeout in 1u64..20_000,
        ) {
            let origin = Instant::now();
            let lease = Duration::from_secs(20);
            let liveness = Liveness::new(origin, lease);
            let mut asked = 0;
            let mut written = 0;
            for (after, write) in answers {
                asked += after;
                if write {
                    written = asked;
                }
                liveness.answered(origin + Duration::from_millis(asked), write.then_some(lease));
            }
            let now = origin + Duration::from_millis(at);
            let timeout = Duration::from_millis(timeout);
            if liveness.may_send(now, timeout) {
                // The lock was still held when the last answered round trip was sent. Nobody takes
                // over before this.
                prop_assert!(now < origin + Duration::from_millis(asked) + TAKEOVER_AFTER);
                prop_assert!(now + timeout < origin + Duration::from_millis(written) + lease);
            }
        }
    }

    #[test]
    fn a_request_longer_than_the_lease_is_never_started() {
        let origin = Instant::now();
        let liveness = Liveness::new(origin, Duration::from_secs(10));
        assert!(liveness.may_send(origin, Duration::from_secs(9)));
        assert!(!liveness.may_send(origin, Duration::from_secs(10)));
    }
}
