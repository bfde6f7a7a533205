//! When the next request of a webhook with a rate limit may start.

use std::time::{Duration, Instant};

/// The longest time between two requests, however low the rate.
const SPACING_MAX: Duration = Duration::from_hours(1);

/// How long a burst may keep its slot while it waits for its webhook's rate limit.
const RATE_WAIT_MAX: Duration = Duration::from_secs(1);

/// The rate limit of one webhook: requests start evenly.
#[derive(Debug, Clone)]
pub(crate) struct RateLimit {
    /// The time between two requests; `None` without a limit.
    spacing: Option<Duration>,
    next_start: Instant,
}

impl RateLimit {
    /// At most `per_second` requests a second.
    pub(crate) fn new(per_second: Option<f64>, now: Instant) -> Self {
        Self { spacing: per_second.map(spacing), next_start: now }
    }

    /// Sets another rate. What was reserved under the old one holds, but not for longer than a burst
    /// waits or the new spacing.
    pub(crate) fn set(&mut self, per_second: Option<f64>, now: Instant) {
        self.spacing = per_second.map(spacing);
        let latest = now + self.spacing.unwrap_or_default().max(RATE_WAIT_MAX);
        self.next_start = self.next_start.min(latest);
    }

    /// Sets another rate, unless the one that holds is lower.
    pub(crate) fn lower(&mut self, per_second: Option<f64>, now: Instant) {
        if self.spacing.is_none() || per_second.is_none_or(|rate| Some(spacing(rate)) > self.spacing) {
            self.set(per_second, now);
        }
    }

    /// Reserves the next request. `Ok` is how long to wait before it starts, at most
    /// [`RATE_WAIT_MAX`]. `Err`: nothing was reserved, and how long to wait before asking again.
    pub(crate) fn reserve(&mut self, now: Instant) -> Result<Duration, Duration> {
        let Some(spacing) = self.spacing else { return Ok(Duration::ZERO) };
        let start = self.next_start.max(now);
        let wait = start.duration_since(now);
        if wait > RATE_WAIT_MAX {
            return Err(wait);
        }
        self.next_start = start + spacing;
        Ok(wait)
    }
}

/// The time between two requests at this rate.
fn spacing(per_second: f64) -> Duration {
    Duration::try_from_secs_f64(1.0 / per_second).unwrap_or(SPACING_MAX).min(SPACING_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_new_rate_is_not_held_up_by_what_an_old_one_has_reserved() {
        let now = Instant::now();
        let mut limit = RateLimit::new(Some(0.001), now);
        assert_eq!(limit.reserve(now), Ok(Duration::ZERO));
        assert!(limit.reserve(now).is_err());
        limit.set(Some(100.0), now);
        assert_eq!(limit.reserve(now), Ok(RATE_WAIT_MAX));
        limit.set(None, now);
        assert_eq!(limit.reserve(now), Ok(Duration::ZERO));
    }

    #[test]
    fn a_limit_that_is_read_anew_leaves_a_lower_share() {
        let (now, tenth) = (Instant::now(), Duration::from_millis(100));
        for (share, limit, spacing) in [
            (Some(10.0), Some(20.0), Some(tenth)),
            (Some(20.0), Some(10.0), Some(tenth)),
            (None, Some(10.0), Some(tenth)),
            (Some(10.0), None, None),
        ] {
            let mut rate = RateLimit::new(share, now);
            rate.lower(limit, now);
            assert_eq!(rate.spacing, spacing);
        }
    }

    proptest! {
        /// However often it is asked, no second has more starts than the rate, and one more.
        #[test]
        fn starts_keep_the_rate(rate in 1.0f64..500.0, asks in prop::collection::vec(0u64..50_000, 1..300)) {
            let begin = Instant::now();
            let mut limit = RateLimit::new(Some(rate), begin);
            let (mut now, mut starts) = (begin, Vec::new());
            for microseconds in asks {
                now += Duration::from_micros(microseconds);
                if let Ok(wait) = limit.reserve(now) {
                    prop_assert!(wait <= RATE_WAIT_MAX);
                    starts.push(now + wait);
                }
            }
            for (at, start) in starts.iter().enumerate() {
                let within = starts[at..].iter().filter(|later| **later - *start < Duration::from_secs(1)).count();
                let within = u32::try_from(within).unwrap_or(u32::MAX);
                prop_assert!(f64::from(within) <= rate.ceil() + 1.0, "{} in a second", within);
            }
        }
    }
}
