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
    /// At most `per_second` requests a second. `before`: the limit that it replaces. What was
    /// reserved under that one holds, but not for longer than a burst waits or the new spacing.
    pub(crate) fn new(per_second: Option<f64>, before: Option<&Self>, now: Instant) -> Self {
        let spacing = per_second
            .map(|rate| Duration::try_from_secs_f64(1.0 / rate).unwrap_or(SPACING_MAX).min(SPACING_MAX));
        let next_start = before.map_or(now, |before| before.next_start);
        let latest = now + spacing.unwrap_or_default().max(RATE_WAIT_MAX);
        Self { spacing, next_start: next_start.min(latest) }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_new_rate_is_not_held_up_by_what_an_old_one_has_reserved() {
        let now = Instant::now();
        let mut slow = RateLimit::new(Some(0.001), None, now);
        assert_eq!(slow.reserve(now), Ok(Duration::ZERO));
        assert!(slow.reserve(now).is_err());
        let mut fast = RateLimit::new(Some(100.0), Some(&slow), now);
        assert_eq!(fast.reserve(now), Ok(RATE_WAIT_MAX));
        assert_eq!(RateLimit::new(None, Some(&slow), now).reserve(now), Ok(Duration::ZERO));
    }

    proptest! {
        /// However often it is asked, no second has more starts than the rate, and one more.
        #[test]
        fn starts_keep_the_rate(rate in 1.0f64..500.0, asks in prop::collection::vec(0u64..50_000, 1..300)) {
            let begin = Instant::now();
            let mut limit = RateLimit::new(Some(rate), None, begin);
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
