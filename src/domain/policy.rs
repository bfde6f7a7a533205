//! A webhook's policy: attempts, back-off, limits.
//!
//! The ranges of the numbers are here and nowhere else in the code. The database has a CHECK for
//! each, and a test compares the two.

use std::{fmt::Display, ops::RangeInclusive, time::Duration};

use super::{violation::Violations, words::stored_words};

/// How many consecutive messages of a lane one request may carry.
pub const BATCH_SIZE: RangeInclusive<i32> = 1..=1000;
/// How many attempts are made before a delivery is given up, the first one included.
pub const MAX_RETRIES: RangeInclusive<i32> = 1..=1000;
/// The back-off: the delay after the n-th failure is this number to the power of n, in seconds.
pub const BACKOFF_FACTOR: RangeInclusive<f64> = 1.0..=100.0;
/// The longest delay, in seconds; up to thirty days.
pub const MAX_BACKOFF_SECONDS: RangeInclusive<i32> = 1..=30 * 24 * 3600;
/// How long one request may take, the answer's body included, in seconds.
pub const TIMEOUT_SECONDS: RangeInclusive<i32> = 1..=600;
/// How many lanes of a webhook each worker may have in flight at once.
pub const MAX_IN_FLIGHT: RangeInclusive<i32> = 1..=10_000;
/// How many requests a second all workers together may send.
pub const RATE_LIMIT_PER_SECOND: RangeInclusive<f64> = 0.001..=1_000_000.0;

stored_words! {
    /// What happens to a lane whose head used up its attempts.
    #[derive(Default)]
    pub enum OnExhausted {
        /// The head moves to the dead letters and the lane goes on.
        #[default]
        DeadLetter = "dead_letter",
        /// The lane halts until an operator acts.
        Halt = "halt",
    }
}

/// A webhook's policy with the defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// How many attempts are made before a delivery is given up, the first one included.
    pub max_retries: u32,
    /// The back-off: the delay after the n-th failure is this number to the power of n, in seconds.
    pub backoff_factor: f64,
    /// The longest delay.
    pub max_backoff: Duration,
    /// How long one request may take, the answer's body included.
    pub timeout: Duration,
    /// What happens to a lane whose head used up its attempts.
    pub on_exhausted: OnExhausted,
    /// How many lanes all workers together may have in flight; `None` leaves it to them.
    pub max_in_flight: Option<u32>,
}

/// The values for what a webhook's own policy leaves open.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PolicyDefaults {
    /// How many attempts are made before a delivery is given up, the first one included.
    pub max_retries: u32,
    /// The back-off: the delay after the n-th failure is this number to the power of n, in seconds.
    pub backoff_factor: f64,
    /// The longest delay.
    pub max_backoff: Duration,
    /// How long one request may take, the answer's body included.
    pub timeout: Duration,
}

impl Default for PolicyDefaults {
    /// Those of `config/pgtopic.toml`.
    fn default() -> Self {
        let (max_backoff, timeout) = (Duration::from_hours(1), Duration::from_secs(10));
        Self { max_retries: 5, backoff_factor: 2.0, max_backoff, timeout }
    }
}

/// Adds a violation of `field` if the value is given and not in its range.
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
