//! The range of every number.

use std::{fmt::Display, ops::RangeInclusive};

use super::{Config, ConfigError, Pooler, load::Origins};

impl Config {
    /// Checks every range.
    ///
    /// Rules that need more than the number stay with their owner: the URLs and the schema's name with the store, bind
    /// address and tokens with the API.
    pub(super) fn check(&self, origins: &Origins) -> Result<(), ConfigError> {
        let check = Check { origins };
        if self.database.pooler == Pooler::Transaction && self.database.listen_url.is_none() {
            let origin = origins.get("database.pooler").map_or("", String::as_str);
            return Err(ConfigError(format!(
                "database.pooler is transaction (from {origin}), so database.listen_url must name the server itself"
            )));
        }
        check.within("database.pool_size", self.database.pool_size, 2..=1000)?;
        check.within("api.max_body_bytes", self.api.max_body_bytes, 1024..=1024 * 1024 * 1024)?;
        check.within("worker.concurrency", self.worker.concurrency, 1..=10_000)?;
        check.within("worker.shutdown_seconds", self.worker.shutdown_seconds, 0..=3600)?;
        check.within("delivery.max_retries", self.delivery.max_retries, 1..=1000)?;
        check.within("delivery.backoff_factor", self.delivery.backoff_factor, 1.0..=100.0)?;
        check.within(
            "delivery.max_backoff_seconds",
            self.delivery.max_backoff_seconds,
            1..=30 * 24 * 3600,
        )?;
        check.within("delivery.timeout_seconds", self.delivery.timeout_seconds, 1..=600)?;
        Ok(())
    }
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
