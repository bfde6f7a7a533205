//! When a session discards the plans that it keeps.
//!
//! A session keeps the plans of the engine's functions as long as it lives. A plan that was made for
//! small tables is bad for large ones. So after a slow call the session discards its plans, with its
//! next call. Nobody waits for that.
//!
//! A call may also be slow because the server is busy, or because it has waited for a lock. This
//! side cannot tell. Making plans anew costs time, and on a busy server every call is slow. So plans
//! are discarded once in [`FIRST_PAUSE`] at most, and less often while that does not help.

use std::time::{Duration, Instant};

/// A call that takes longer may have a bad plan.
const SLOW_CALL: Duration = Duration::from_millis(50);

/// The shortest time from one discard to the next one of the same session.
const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// While calls stay slow, the time doubles up to this. So long a bad plan may be kept on a server
/// where calls are slow for other reasons too.
const MAX_PAUSE: Duration = Duration::from_mins(1);

/// Decides for one session.
#[derive(Debug, Default)]
pub(super) struct PlanDiscards {
    /// Whether the next call is to discard the plans.
    due: bool,
    discarded_at: Option<Instant>,
    /// When a slow call ended last.
    slow_at: Option<Instant>,
    /// The time from `discarded_at` to the next discard. Zero before the first one.
    pause: Duration,
}

impl PlanDiscards {
    /// Whether the call that begins now discards the plans first. The answer is yes only once.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        if self.due {
            self.discarded_at = Some(now);
        }
        std::mem::take(&mut self.due)
    }

    /// A call has ended at `now`.
    pub(super) fn ended(&mut self, took: Duration, now: Instant) {
        if took <= SLOW_CALL {
            return;
        }
        let passed = |since: Option<Instant>| {
            since.is_none_or(|since| now.saturating_duration_since(since) >= self.pause)
        };
        let (may, quiet) = (passed(self.discarded_at), passed(self.slow_at));
        self.slow_at = Some(now);
        if may {
            self.due = true;
            // If no call was slow for the whole pause, the last discard has helped.
            self.pause = if quiet { FIRST_PAUSE } else { (self.pause * 2).min(MAX_PAUSE) };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SLOW: Duration = Duration::from_millis(51);

    /// Makes a call at each of these times. Returns the times when plans were discarded.
    fn discards(calls: impl IntoIterator<Item = (u64, bool)>) -> Vec<u64> {
        let (origin, mut plans, mut discarded) = (Instant::now(), PlanDiscards::default(), Vec::new());
        for (at, slow) in calls {
            let now = origin + Duration::from_millis(at);
            if plans.begin(now) {
                discarded.push(at);
            }
            plans.ended(if slow { SLOW } else { SLOW_CALL }, now);
        }
        discarded
    }

    #[test]
    fn the_call_after_a_slow_one_discards_the_plans() {
        assert_eq!(discards([(0, false), (1, true), (2, false), (3, false)]), [2]);
    }

    #[test]
    fn the_pause_doubles_while_calls_stay_slow() {
        let seconds: Vec<u64> =
            discards((0..250_000).step_by(100).map(|at| (at, true))).iter().map(|at| at / 1000).collect();
        assert_eq!(seconds, [0, 10, 30, 70, 130, 190]);
    }

    #[test]
    fn when_discarding_has_helped_the_next_slow_call_counts_at_once() {
        let slow = (0..40_000).step_by(100).map(|at| (at, true));
        let quiet = (40_000..140_000).step_by(100).map(|at| (at, false));
        let again = [(140_000, true), (140_100, false), (150_200, true), (150_300, false)];
        let discarded = discards(slow.chain(quiet).chain(again));
        assert_eq!(discarded[discarded.len() - 2..], [140_100, 150_300]);
    }

    proptest! {
        #[test]
        fn discards_are_a_pause_apart(steps in prop::collection::vec((0u64..30_000, any::<bool>()), 0..200)) {
            let mut at = 0;
            let calls = steps.into_iter().map(|(step, slow)| { at += step; (at, slow) });
            let discarded = discards(calls);
            for pair in discarded.windows(2) {
                prop_assert!(Duration::from_millis(pair[1] - pair[0]) >= FIRST_PAUSE, "{discarded:?}");
            }
        }
    }
}
