//! When a failed delivery is tried again, and when it is given up.

use std::{ops::RangeInclusive, time::Duration};

use super::{
    attempt::{AttemptResult, ErrorClass},
    dead_letter::Reason,
    policy::{OnExhausted, Policy},
};

/// The most that jitter adds to a delay, as a share of it.
pub const JITTER: f64 = 0.2;

/// The statuses whose `Retry-After` holds the whole webhook: the receiver, or what stands before it,
/// has too much to do.
const HOLDING: [u16; 4] = [429, 502, 503, 504];

/// The shortest and the longest hold. Without the first, a receiver that asks for no wait would be
/// asked again at once, and without end.
pub const HOLD: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(1);

/// What happens to a lane's head after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailure {
    /// The lane waits this long, then tries its head again.
    Retry(Duration),
    /// The head moves to the dead letters for this reason, and the lane goes on.
    DeadLetter(Reason),
    /// The lane halts until an operator acts.
    Halt,
}

/// Decides what follows when the head of a lane has failed for the `failures`-th time; 1 is the
/// first. `result` is how it failed.
///
/// A permanent failure ends it at once. `random` is uniform in 0..1. It lengthens the delay by up to
/// [`JITTER`]. `Retry-After` may lengthen the delay, up to the policy's `max_backoff`, and never
/// shortens it.
pub fn after_failure(policy: &Policy, failures: u32, result: &AttemptResult, random: f64) -> AfterFailure {
    let reason = if is_permanent(policy, result) {
        Reason::Permanent
    } else if failures >= policy.max_retries {
        Reason::AttemptsExhausted
    } else {
        let asked = result.retry_after.unwrap_or_default().min(policy.max_backoff);
        return AfterFailure::Retry(delay(policy, failures, random).max(asked));
    };
    match policy.on_exhausted {
        OnExhausted::DeadLetter => AfterFailure::DeadLetter(reason),
        OnExhausted::Halt => AfterFailure::Halt,
    }
}

/// For how long the receiver asks for nothing to be sent to the webhook. `None`: it does not ask.
pub fn asked_hold(policy: &Policy, result: &AttemptResult) -> Option<Duration> {
    let asked = result.retry_after.filter(|_| !is_permanent(policy, result))?;
    let holds = result.status_code.is_some_and(|status| HOLDING.contains(&status));
    holds.then(|| asked.clamp(*HOLD.start(), *HOLD.end()))
}

/// Whether another attempt would fail the same way: no request can be made, or the webhook takes
/// the answer as final.
fn is_permanent(policy: &Policy, result: &AttemptResult) -> bool {
    matches!(result.error_class, Some(ErrorClass::Request | ErrorClass::Forbidden))
        || result.status_code.is_some_and(|status| policy.permanent_statuses.contains(&status))
}

/// The delay after the `failures`-th failure, and up to a fifth more: that of the schedule, or
/// `factor^failures` seconds, but no more than `max_backoff`.
fn delay(policy: &Policy, failures: u32, random: f64) -> Duration {
    let jitter = 1.0 + JITTER * random;
    let number = usize::try_from(failures).unwrap_or(usize::MAX);
    if let Some(delay) = policy.retry_schedule.get(number.saturating_sub(1)).or(policy.retry_schedule.last())
    {
        return delay.mul_f64(jitter);
    }
    let seconds = policy.backoff_factor.powf(f64::from(failures)) * jitter;
    // A power that overflows is infinite, and no `Duration` holds that: then the delay is
    // `max_backoff`.
    Duration::try_from_secs_f64(seconds).unwrap_or(policy.max_backoff).min(policy.max_backoff)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(max_retries: u32, factor: f64, max_backoff: u64, on_exhausted: OnExhausted) -> Policy {
        Policy {
            max_retries,
            backoff_factor: factor,
            max_backoff: Duration::from_secs(max_backoff),
            retry_schedule: Vec::new(),
            permanent_statuses: Vec::new(),
            timeout: Duration::from_secs(10),
            on_exhausted,
            max_in_flight: None,
            max_age: None,
            latest_only: false,
        }
    }

    /// An answer 500, and how long it asked to wait.
    fn asking(seconds: Option<u64>) -> AttemptResult {
        AttemptResult {
            status_code: Some(500),
            error_class: Some(ErrorClass::Status),
            retry_after: seconds.map(Duration::from_secs),
            ..AttemptResult::no_request(String::new())
        }
    }

    fn delay(after: AfterFailure) -> Duration {
        match after {
            AfterFailure::Retry(delay) => delay,
            other => panic!("expected a retry, got {other:?}"),
        }
    }

    #[test]
    fn default_policy_waits_2_4_8_16_then_gives_up() {
        let policy = policy(5, 2.0, 3600, OnExhausted::DeadLetter);
        let delays: Vec<_> =
            (1..5).map(|n| delay(after_failure(&policy, n, &asking(None), 0.0)).as_secs()).collect();
        assert_eq!(delays, [2, 4, 8, 16]);
        assert_eq!(
            after_failure(&policy, 5, &asking(None), 0.0),
            AfterFailure::DeadLetter(Reason::AttemptsExhausted)
        );
    }

    #[test]
    fn a_schedule_takes_the_place_of_the_back_off_and_its_last_wait_repeats() {
        let schedule = [1, 30, 7200].map(Duration::from_secs).to_vec();
        let policy = Policy { retry_schedule: schedule, ..policy(6, 2.0, 60, OnExhausted::DeadLetter) };
        let waits = |asked, random| {
            let after = |n| delay(after_failure(&policy, n, &asking(asked), random)).as_secs();
            (1..6).map(after).collect::<Vec<_>>()
        };
        assert_eq!(waits(None, 0.0), [1, 30, 7200, 7200, 7200]);
        assert_eq!(waits(None, 1.0), [1, 36, 8640, 8640, 8640], "up to a fifth more");
        assert_eq!(waits(Some(600), 0.0), [60, 60, 7200, 7200, 7200], "Retry-After: up to max_backoff");
        let last = after_failure(&policy, 6, &asking(None), 0.0);
        assert_eq!(last, AfterFailure::DeadLetter(Reason::AttemptsExhausted));
    }

    #[test]
    fn a_permanent_failure_ends_it_at_once() {
        let statuses =
            |on_exhausted| Policy { permanent_statuses: vec![400, 503], ..policy(5, 2.0, 60, on_exhausted) };
        let policy = statuses(OnExhausted::DeadLetter);
        let answered = |status| AttemptResult { status_code: Some(status), ..asking(Some(9)) };
        let failed = |class| AttemptResult { status_code: None, error_class: Some(class), ..asking(None) };
        let permanent = AfterFailure::DeadLetter(Reason::Permanent);
        for result in
            [answered(400), answered(503), failed(ErrorClass::Request), failed(ErrorClass::Forbidden)]
        {
            assert_eq!(after_failure(&policy, 1, &result, 0.0), permanent, "{result:?}");
            assert_eq!(after_failure(&policy, 5, &result, 0.0), permanent, "the last attempt");
            let halts = after_failure(&statuses(OnExhausted::Halt), 1, &result, 0.0);
            assert_eq!(halts, AfterFailure::Halt);
        }
        for result in [answered(401), answered(500), failed(ErrorClass::Connect)] {
            assert!(matches!(after_failure(&policy, 1, &result, 0.0), AfterFailure::Retry(_)), "{result:?}");
        }
    }

    #[test]
    fn a_receiver_that_asks_for_a_pause_gets_one_between_a_second_and_a_minute() {
        let policy =
            Policy { permanent_statuses: vec![504], ..policy(5, 2.0, 3600, OnExhausted::DeadLetter) };
        let hold = |status, asked| {
            let result = AttemptResult { status_code: Some(status), ..asking(asked) };
            asked_hold(&policy, &result).map(|hold| hold.as_secs())
        };
        for status in [429, 502, 503] {
            let holds = [0, 1, 30, 60, 61, 31_000_000].map(|asked| hold(status, Some(asked)));
            assert_eq!(holds, [1, 1, 30, 60, 60, 60].map(Some), "{status}");
            assert_eq!(hold(status, None), None);
        }
        for status in [400, 408, 500, 501, 505, 504] {
            assert_eq!(hold(status, Some(30)), None, "{status}");
        }
    }

    proptest! {
        #[test]
        fn a_retry_never_exceeds_the_cap_and_never_undercuts_the_factor(
            failures in 1u32..2000, factor in 1.0f64..10.0, cap in 1u64..100_000, random in 0.0f64..1.0,
        ) {
            let policy = policy(u32::MAX, factor, cap, OnExhausted::DeadLetter);
            let cap = Duration::from_secs(cap);
            let delay = delay(after_failure(&policy, failures, &asking(None), random));
            let plain = Duration::try_from_secs_f64(factor.powf(f64::from(failures))).unwrap_or(cap).min(cap);
            prop_assert!(delay <= cap);
            prop_assert!(delay >= plain, "{delay:?} < {plain:?}");
            prop_assert!(delay.as_secs_f64() <= plain.as_secs_f64() * (1.0 + JITTER) + 1e-6);
        }

        #[test]
        fn retry_after_only_lengthens(
            failures in 1u32..20, random in 0.0f64..1.0, asked in 0u64..10_000,
        ) {
            let policy = policy(u32::MAX, 2.0, 3600, OnExhausted::DeadLetter);
            let plain = delay(after_failure(&policy, failures, &asking(None), random));
            let delay = delay(after_failure(&policy, failures, &asking(Some(asked)), random));
            prop_assert_eq!(delay, plain.max(Duration::from_secs(asked)).min(Duration::from_hours(1)));
        }

        #[test]
        fn the_last_attempt_ends_it(max_retries in 1u32..50, beyond in 0u32..50, halt: bool) {
            let on_exhausted = if halt { OnExhausted::Halt } else { OnExhausted::DeadLetter };
            let policy = policy(max_retries, 2.0, 3600, on_exhausted);
            let expected = if halt { AfterFailure::Halt } else { AfterFailure::DeadLetter(Reason::AttemptsExhausted) };
            prop_assert_eq!(after_failure(&policy, max_retries + beyond, &asking(None), 0.5), expected);
        }
    }
}
