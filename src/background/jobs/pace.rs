//! How much the next step of a job may deal with, and when. Pure.

use std::time::{Duration, Instant};

/// How long a job that can only wait is left alone.
const WAIT: Duration = Duration::from_millis(200);

/// How long a job is left alone after a step that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// After so many failed steps in a row the job has failed.
const FAILURES_MAX: u32 = 5;

/// The longest pause between two looks at a job.
const LONGEST: Duration = Duration::from_millis(500);

/// When a job may go on, and how far.
#[derive(Debug)]
pub(super) struct Pace {
    /// How many a second; `None` is no limit.
    limit: Option<f64>,
    /// How many it may deal with now. Less than 0 if the last step dealt with more than it might.
    allowance: f64,
    counted_at: Instant,
    not_before: Instant,
    failures: u32,
}

/// What follows from a failed step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    /// It is tried again.
    Again,
    /// Too many failed in a row.
    TooOften,
}

impl Pace {
    pub(super) fn new(limit: Option<f64>, now: Instant) -> Self {
        Self { limit, allowance: 0.0, counted_at: now, not_before: now, failures: 0 }
    }

    /// How many the next step may deal with: at most `step_size`. `None`: the job may not go on yet.
    pub(super) fn may(&mut self, now: Instant, step_size: i32) -> Option<i32> {
        if now < self.not_before {
            return None;
        }
        let Some(limit) = self.limit else { return Some(step_size) };
        // What was not used up in a second is lost: a job that has waited does not catch up.
        let grown = self.allowance + limit * now.duration_since(self.counted_at).as_secs_f64();
        self.allowance = grown.min(limit.max(1.0));
        self.counted_at = now;
        #[expect(clippy::cast_possible_truncation, reason = "at most step_size")]
        let whole = self.allowance.clamp(0.0, f64::from(step_size)) as i32;
        (whole > 0).then_some(whole)
    }

    pub(super) fn stepped(&mut self, now: Instant, did: u64, waits: bool) {
        self.failures = 0;
        #[expect(clippy::cast_precision_loss, reason = "a step is small")]
        let used = did as f64;
        self.allowance -= used;
        if waits {
            self.not_before = now + WAIT;
        }
    }

    pub(super) fn failed(&mut self, now: Instant) -> Failed {
        self.failures += 1;
        self.not_before = now + AFTER_FAILURE;
        if self.failures >= FAILURES_MAX { Failed::TooOften } else { Failed::Again }
    }

    /// How long to leave the job alone.
    pub(super) fn pause(&self, now: Instant) -> Duration {
        let missing = self.limit.map_or(0.0, |limit| (1.0 - self.allowance).max(0.0) / limit);
        let until_allowed = Duration::try_from_secs_f64(missing).unwrap_or(LONGEST);
        until_allowed.max(self.not_before.saturating_duration_since(now)).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_without_a_limit_goes_on_at_once() {
        let now = Instant::now();
        let mut pace = Pace::new(None, now);
        for _ in 0..3 {
            assert_eq!(pace.may(now, 1000), Some(1000));
            pace.stepped(now, 1000, false);
            assert_eq!(pace.pause(now), Duration::ZERO);
        }
    }

    #[test]
    fn a_limit_holds_over_any_time() {
        for (limit, step) in [(100.0, 7), (0.5, 100), (3_000.0, 10)] {
            let begun = Instant::now();
            let mut pace = Pace::new(Some(limit), begun);
            let mut did = 0;
            for tick in 0..4000_u64 {
                let now = begun + Duration::from_millis(tick * step);
                if let Some(at_most) = pace.may(now, 1000) {
                    let at_most = u64::try_from(at_most).unwrap();
                    did += at_most;
                    pace.stepped(now, at_most, false);
                }
            }
            let expected = limit * Duration::from_millis(4000 * step).as_secs_f64();
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let did = did as f64;
            assert!(did <= expected && did > expected * 0.9 - 1.0, "{limit}: {did} of {expected}");
        }
    }

    #[test]
    fn what_was_left_and_comes_at_once_is_made_up_for() {
        let now = Instant::now();
        let mut pace = Pace::new(Some(10.0), now);
        let later = now + Duration::from_secs(1);
        assert_eq!(pace.may(later, 1000), Some(10));
        pace.stepped(later, 30, false);
        assert_eq!(pace.may(later + Duration::from_secs(2), 1000), None);
        assert_eq!(pace.may(later + Duration::from_secs(3), 1000), Some(10));
    }

    #[test]
    fn a_job_that_waits_or_fails_is_left_alone_for_a_while() {
        let now = Instant::now();
        let mut pace = Pace::new(None, now);
        pace.stepped(now, 0, true);
        assert_eq!((pace.may(now, 10), pace.pause(now)), (None, WAIT));
        assert_eq!(pace.may(now + WAIT, 10), Some(10));
        let failed: Vec<Failed> = (0..5).map(|_| pace.failed(now)).collect();
        assert_eq!(failed, [Failed::Again, Failed::Again, Failed::Again, Failed::Again, Failed::TooOften]);
        pace.stepped(now, 1, false);
        assert_eq!(pace.failed(now), Failed::Again, "in a row");
    }
}
