//! When a failed delivery is tried again, and when it is given up.

use std::time::Duration;

use super::policy::{OnExhausted, Policy};

/// The most that jitter adds to a delay, as a share of it.
pub const JITTER: f64 = 0.2;

/// What happens to a lane's head after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailure {
    /// The lane waits this long, then tries its head again.
    Retry(Duration),
    /// The head moves to the dead letters and the lane goes on.
    DeadLetter,
    /// The lane halts until an operator acts.
    Halt,
}

/// Decides what follows when the head of a lane has failed for the `failures`-th time; 1 is the
/// first.
///
/// `random` is uniform in 0..1. It lengthens the delay by up to [`JITTER`]. `retry_after` is what
/// the receiver asked for. It may lengthen the delay and never shortens it. No delay is longer than
/// the policy's `max_backoff`.
pub fn after_failure(
    policy: &Policy,
    failures: u32,
    retry_after: Option<Duration>,
    random: f64,
) -> AfterFailure {
    if failures >= policy.max_retries {
        return match policy.on_exhausted {
            OnExhausted::DeadLetter => AfterFailure::DeadLetter,
            OnExhausted::Halt => AfterFailure::Halt,
        };
    }
    AfterFailure::Retry(
        backoff(policy, failures, random).max(retry_after.unwrap_or_default()).min(policy.max_backoff),
    )
}

/// The delay after the `failures`-th failure: `factor^failures` seconds, and up to a fifth more. It
/// is never longer than `max_backoff`.
fn backoff(policy: &Policy, failures: u32, random: f64) -> Duration {
    let seconds = policy.backoff_factor.powf(f64::from(failures)) * (1.0 + JITTER * random);
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
            timeout: Duration::from_secs(10),
            on_exhausted,
            max_in_flight: None,
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
        let delays: Vec<_> = (1..5).map(|n| delay(after_failure(&policy, n, None, 0.0)).as_secs()).collect();
        assert_eq!(delays, [2, 4, 8, 16]);
        assert_eq!(after_failure(&policy, 5, None, 0.0), AfterFailure::DeadLetter);
    }

    proptest! {
        #[test]
        fn a_retry_never_exceeds_the_cap_and_never_undercuts_the_factor(
            failures in 1u32..2000, factor in 1.0f64..10.0, cap in 1u64..100_000, random in 0.0f64..1.0,
        ) {
            let policy = policy(u32::MAX, factor, cap, OnExhausted::DeadLetter);
            let cap = Duration::from_secs(cap);
            let delay = delay(after_failure(&policy, failures, None, random));
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
            let plain = delay(after_failure(&policy, failures, None, random));
            let asked = Duration::from_secs(asked);
            let delay = delay(after_failure(&policy, failures, Some(asked), random));
            prop_assert_eq!(delay, plain.max(asked).min(Duration::from_hours(1)));
        }

        #[test]
        fn the_last_attempt_ends_it(max_retries in 1u32..50, beyond in 0u32..50, halt: bool) {
            let on_exhausted = if halt { OnExhausted::Halt } else { OnExhausted::DeadLetter };
            let policy = policy(max_retries, 2.0, 3600, on_exhausted);
            let expected = if halt { AfterFailure::Halt } else { AfterFailure::DeadLetter };
            prop_assert_eq!(after_failure(&policy, max_retries + beyond, None, 0.5), expected);
        }
    }
}
