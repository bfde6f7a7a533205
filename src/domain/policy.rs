//! A webhook's policy: attempts, back-off, limits. What each number may be stands here alone; the
//! database holds a CHECK for each, and a test compares the two.

use std::{fmt::Display, ops::RangeInclusive, time::Duration};

use super::violation::Violations;

/// Consecutive messages of a lane that one request may carry.
pub const BATCH_SIZE: RangeInclusive<i32> = 1..=1000;
/// Attempts in all, before the dead letter.
pub const MAX_RETRIES: RangeInclusive<i32> = 1..=1000;
/// The delay after the n-th failure is this to the power of n, in seconds.
pub const BACKOFF_FACTOR: RangeInclusive<f64> = 1.0..=100.0;
/// The longest delay, in seconds: up to thirty days.
pub const MAX_BACKOFF_SECONDS: RangeInclusive<i32> = 1..=30 * 24 * 3600;
/// One request, body included, in seconds.
pub const TIMEOUT_SECONDS: RangeInclusive<i32> = 1..=600;
/// Lanes in flight at once in one worker.
pub const MAX_IN_FLIGHT: RangeInclusive<i32> = 1..=10_000;
/// Requests a second in each worker.
pub const RATE_LIMIT_PER_SECOND: RangeInclusive<f64> = 0.001..=1_000_000.0;

/// What happens to a lane whose head used up its attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnExhausted {
    /// The head moves to the dead letters and the lane goes on.
    #[default]
    DeadLetter,
    /// The lane stops until an operator retries, skips or discards its head.
    Halt,
}

impl OnExhausted {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::DeadLetter, Self::Halt];

    /// The word stored in `webhooks.on_exhausted`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeadLetter => "dead_letter",
            Self::Halt => "halt",
        }
    }

    /// The choice that a stored word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|choice| choice.as_str() == word)
    }
}

/// A webhook's policy with the defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Attempts before the dead letter, the first one included.
    pub max_retries: u32,
    /// The delay after the n-th failure is this to the power of n, in seconds.
    pub backoff_factor: f64,
    /// Cap of one delay.
    pub max_backoff: Duration,
    /// One request, body included.
    pub timeout: Duration,
    /// What happens when the attempts are used up.
    pub on_exhausted: OnExhausted,
    /// Lanes in flight at once in one worker; `None` leaves it to the worker.
    pub max_in_flight: Option<u32>,
}

/// What holds where a webhook's own policy says nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PolicyDefaults {
    /// Attempts before the dead letter, the first one included.
    pub max_retries: u32,
    /// The delay after the n-th failure is this to the power of n, in seconds.
    pub backoff_factor: f64,
    /// Cap of one delay.
    pub max_backoff: Duration,
    /// One request, body included.
    pub timeout: Duration,
}

/// Notes the rule that a number breaks, under its field's name.
pub(super) fn check_range<T: PartialOrd + Display>(
    field: &str,
    value: Option<T>,
    range: &RangeInclusive<T>,
    violations: &mut Violations,
) {
    violations.require(
        value.is_none_or(|value| range.contains(&value)),
        field,
        &format!("must be between {} and {}", range.start(), range.end()),
    );
}
