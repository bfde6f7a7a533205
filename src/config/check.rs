//! Checks that every number is in its range.

use std::{fmt::Display, ops::RangeInclusive};

use super::{Config, Pooler, load::Origins, worker};
use crate::domain::{
    policy,
    scope::TopicPattern,
    target::{SOURCE_MAX, is_source},
};

impl Config {
    /// Checks the range of every number, and that a transaction pooler has a direct connection
    /// beside it. Returns a line for each broken rule. It names the key and the source.
    ///
    /// Other rules are checked where the setting is used: URLs and the schema's name by the store,
    /// bind address and tokens by the API, the filter of the log by the log.
    pub(super) fn check(&self, origins: &Origins) -> Vec<String> {
        let mut check = Check { origins, problems: Vec::new() };
        if self.database.pooler == Pooler::Transaction && self.database.listen_url.is_none() {
            let origin = origins.get("database.pooler").map_or("", String::as_str);
            check.problems.push(format!(
                "database.pooler is transaction (from {origin}), so database.listen_url must name the server itself"
            ));
        }
        if !is_source(&self.database.source) {
            let origin = origins.get("database.source").map_or("", String::as_str);
            check.problems.push(format!(
                "database.source must be 1 to {SOURCE_MAX} visible ASCII characters without spaces (from {origin})"
            ));
        }
        check.within("database.pool_size", self.database.pool_size, 2..=1000);
        check.within("api.max_connections", self.api.max_connections, 0..=1_000_000);
        check.within("api.max_body_bytes", self.api.max_body_bytes, 1024..=1024 * 1024 * 1024);
        check.within("api.max_bodies_bytes", self.api.max_bodies_bytes, 1024..=1024 * 1024 * 1024 * 1024);
        check.within("worker.concurrency", self.worker.concurrency, 1..=10_000);
        check.within("worker.shutdown_seconds", self.worker.shutdown_seconds, 0..=3600);
        let topics = &self.worker.topics;
        if topics.len() > worker::TOPICS_MAX
            || topics.iter().any(|topic| TopicPattern::parse(topic).is_none())
        {
            let origin = origins.get("worker.topics").map_or("", String::as_str);
            check.problems.push(format!(
                "worker.topics must be at most {} names of topics, or beginnings of names with * at the end (from {origin})",
                worker::TOPICS_MAX
            ));
        }
        check.within("delivery.max_retries", self.delivery.max_retries, widen(&policy::MAX_RETRIES));
        check.within("delivery.backoff_factor", self.delivery.backoff_factor, policy::BACKOFF_FACTOR);
        check.within(
            "delivery.max_backoff_seconds",
            self.delivery.max_backoff_seconds,
            widen(&policy::MAX_BACKOFF_SECONDS),
        );
        check.within(
            "delivery.timeout_seconds",
            self.delivery.timeout_seconds,
            widen(&policy::TIMEOUT_SECONDS),
        );
        check.within("retention.messages_days", self.retention.messages_days, 0..=DAYS_MAX);
        check.within("retention.attempts_days", self.retention.attempts_days, 0..=DAYS_MAX);
        check.within("retention.dead_letters_days", self.retention.dead_letters_days, 0..=DAYS_MAX);
        check.within("retention.activity_days", self.retention.activity_days, 0..=DAYS_MAX);
        check.problems
    }
}

/// The most days of retention: about a hundred years, as for a topic.
pub const DAYS_MAX: u32 = 36_600;

/// The range of a column as the range of a setting.
fn widen<T: From<u32>>(range: &RangeInclusive<i32>) -> RangeInclusive<T> {
    let bound = |bound: &i32| T::from(bound.unsigned_abs());
    bound(range.start())..=bound(range.end())
}

struct Check<'a> {
    origins: &'a Origins,
    problems: Vec<String>,
}

impl Check<'_> {
    fn within<T: PartialOrd + Display + Copy>(&mut self, key: &str, value: T, range: RangeInclusive<T>) {
        if range.contains(&value) {
            return;
        }
        self.problems.push(format!(
            "{key} must be {} to {}, not {value} (from {})",
            range.start(),
            range.end(),
            self.origins.get(key).map_or("", String::as_str)
        ));
    }
}
