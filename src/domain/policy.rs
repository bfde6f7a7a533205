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
/// How many waits a retry schedule may have.
pub const RETRY_SCHEDULE: RangeInclusive<i32> = 1..=100;
/// How long each of these waits may be, in seconds; up to thirty days.
pub const RETRY_SCHEDULE_SECONDS: RangeInclusive<i32> = MAX_BACKOFF_SECONDS;
/// How many statuses may be permanent failures.
pub const PERMANENT_STATUSES: RangeInclusive<i32> = 1..=100;
/// Which statuses may be permanent failures.
pub const PERMANENT_STATUS: RangeInclusive<i32> = 300..=599;
/// How long one request may take, the answer's body included, in seconds.
pub const TIMEOUT_SECONDS: RangeInclusive<i32> = 1..=600;
/// How many lanes of a webhook each worker may have in flight at once.
pub const MAX_IN_FLIGHT: RangeInclusive<i32> = 1..=10_000;
/// How many requests a second all workers together may send.
pub const RATE_LIMIT_PER_SECOND: RangeInclusive<f64> = 0.001..=1_000_000.0;

/// How old a message may be that is sent, in seconds; up to a year.
pub const MAX_AGE_SECONDS: RangeInclusive<i32> = 1..=366 * 24 * 3600;

/// How many messages a webhook may be owed.
pub const MAX_OWED: RangeInclusive<i32> = 1..=1_000_000;

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

stored_words! {
    /// What happens to a webhook that is owed more than it may be.
    #[derive(Default)]
    pub enum OnOverflow {
        /// Its oldest messages move to the dead letters.
        #[default]
        DeadLetterOldest = "dead_letter_oldest",
        /// Only the newest message of each lane is sent, whether or not there is a limit.
        KeepLatest = "keep_latest",
        /// Its topic refuses messages.
        Refuse = "refuse",
    }
}

/// The rule of a webhook that keeps the latest message.
pub const KEEP_LATEST_SINGLY: &str = "must not be keep_latest where batch_size is more than 1";
/// The rule of a webhook whose topic refuses messages.
pub const REFUSE_NEEDS_LIMIT: &str = "must not be refuse where max_owed is null";

/// A webhook's policy with the defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// How many attempts are made before a delivery is given up, the first one included.
    pub max_retries: u32,
    /// The back-off: the delay after the n-th failure is this number to the power of n, in seconds.
    pub backoff_factor: f64,
    /// The longest delay.
    pub max_backoff: Duration,
    /// The delay after the first failure, after the second, and so on; the last one repeats. If it
    /// is empty, the back-off says how long.
    pub retry_schedule: Vec<Duration>,
    /// Statuses after which a message is not tried again.
    pub permanent_statuses: Vec<u16>,
    /// How long one request may take, the answer's body included.
    pub timeout: Duration,
    /// What happens to a lane whose head used up its attempts.
    pub on_exhausted: OnExhausted,
    /// How many lanes all workers together may have in flight; `None` leaves it to them.
    pub max_in_flight: Option<u32>,
    /// How old a message may be that is sent; `None` is no limit.
    pub max_age: Option<Duration>,
    /// Whether only the newest message of a lane is sent.
    pub latest_only: bool,
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

/// Adds a violation for each rule that a backlog policy breaks. `batch_size` is what is given beside
/// it; `is_limited`: whether there is a limit, if that is known.
pub(super) fn check_overflow(
    on_overflow: Option<OnOverflow>,
    batch_size: Option<i32>,
    is_limited: Option<bool>,
    violations: &mut Violations,
) {
    let latest_of_many =
        on_overflow == Some(OnOverflow::KeepLatest) && batch_size.is_some_and(|size| size > 1);
    violations.require(!latest_of_many, "on_overflow", KEEP_LATEST_SINGLY);
    let refuses_nothing = on_overflow == Some(OnOverflow::Refuse) && is_limited == Some(false);
    violations.require(!refuses_nothing, "on_overflow", REFUSE_NEEDS_LIMIT);
}

/// Adds a violation of `field` if a list is given that is too short or too long, or that holds a
/// number out of range. `what`: what the list holds.
fn check_list(
    field: &str,
    list: Option<&[i32]>,
    [count, numbers]: [&RangeInclusive<i32>; 2],
    what: &str,
    violations: &mut Violations,
) {
    let Some(list) = list else { return };
    let length = i32::try_from(list.len()).unwrap_or(i32::MAX);
    violations.require(
        count.contains(&length) && list.iter().all(|number| numbers.contains(number)),
        field,
        &format!(
            "must be {} to {} {what}, each between {} and {}, or null",
            count.start(),
            count.end(),
            numbers.start(),
            numbers.end()
        ),
    );
}

/// Adds a violation for each rule that a list of permanent statuses breaks.
pub(super) fn check_permanent_statuses(list: Option<&[i32]>, violations: &mut Violations) {
    let limits = [&PERMANENT_STATUSES, &PERMANENT_STATUS];
    check_list("permanent_statuses", list, limits, "statuses", violations);
}

/// Adds a violation for each rule that a retry schedule breaks. `with_backoff`: whether
/// `backoff_factor` or `max_backoff_seconds` is given beside it.
pub(super) fn check_retry_schedule(list: Option<&[i32]>, with_backoff: bool, violations: &mut Violations) {
    let limits = [&RETRY_SCHEDULE, &RETRY_SCHEDULE_SECONDS];
    check_list("retry_schedule", list, limits, "waits in seconds", violations);
    violations.require(list.is_none() || !with_backoff, "retry_schedule", RETRY_SCHEDULE_ALONE);
}

/// The rule of a webhook that has a retry schedule.
pub const RETRY_SCHEDULE_ALONE: &str = "must be null where backoff_factor or max_backoff_seconds is given";
