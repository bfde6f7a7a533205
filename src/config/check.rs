//! Checks that every number is in its range.

use std::{fmt::Display, ops::RangeInclusive};

use super::{Config, ConfigError, Pooler, load::Origins};
use crate::domain::{
    policy,
    target::{SOURCE_MAX, is_source},
};

impl Config {
    /// Checks the range of every number, and that a transaction pooler has a direct connection
    /// beside it.
    ///
    /// Other rules are checked where the setting is used: URLs and the schema's name by the store,
    /// bind address and tokens by the API.
    ///
    /// # Errors
    /// [`ConfigError`] for the first broken rule. It names the key and the source.
    pub(super) fn check(&self, origins: &Origins) -> Result<(), ConfigError> {
        let check = Check { origins };
        if self.database.pooler == Pooler::Transaction && self.database.listen_url.is_none() {
            let origin = origins.get("database.pooler").map_or("", String::as_str);
            return Err(ConfigError(format!(
                "database.pooler is transaction (from {origin}), so database.listen_url must name the server itself"
            )));
        }
        if !is_source(&self.database.source) {
            let origin = origins.get("database.source").map_or("", String::as_str);
            return Err(ConfigError(format!(
                "database.source must be 1 to {SOURCE_MAX} visible ASCII characters without spaces (from {origin})"
            )));
        }
        check.within("database.pool_size", self.database.pool_size, 2..=1000)?;
        check.within("api.max_body_bytes", self.api.max_body_bytes, 1024..=1024 * 1024 * 1024)?;
        check.within("worker.concurrency", self.worker.concurrency, 1..=10_000)?;
        check.within("worker.shutdown_seconds", self.worker.shutdown_seconds, 0..=3600)?;
        check.within("delivery.max_retries", self.delivery.max_retries, widen(&policy::MAX_RETRIES))?;
        check.within("delivery.backoff_factor", self.delivery.backoff_factor, policy::BACKOFF_FACTOR)?;
        check.within(
            "delivery.max_backoff_seconds",
            self.delivery.max_backoff_seconds,
            widen(&policy::MAX_BACKOFF_SECONDS),
        )?;
        check.within(
            "delivery.timeout_seconds",
            self.delivery.timeout_seconds,
            widen(&policy::TIMEOUT_SECONDS),
        )?;
        Ok(())
    }
}

/// The range of a column as the range of a setting.
fn widen<T: From<u32>>(range: &RangeInclusive<i32>) -> RangeInclusive<T> {
    let bound = |bound: &i32| T::from(bound.unsigned_abs());
    bound(range.start())..=bound(range.end())
}

struct Check<'a> {
    origins: &'a Origins,
}

impl Check<'_> {
    fn within<T: PartialOrd + Display + Copy>(
        &self,
        key: &str,
        value: T,
        range: RangeInclusive<T>,
    ) -> Result<(), ConfigError> {
        if range.contains(&value) {
            return Ok(());
        }
        Err(ConfigError(format!(
            "{key} must be {} to {}, not {value} (from {})",
            range.start(),
            range.end(),
            self.origins.get(key).map_or("", String::as_str)
        )))
    }
}
