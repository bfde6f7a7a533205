//! What must be done now and then.

use super::{Store, error::StoreError, statement::sql};

/// How many messages one statement deletes at most.
const DELETE_MAX: i64 = 10_000;

impl Store {
    /// Makes the partitions of `attempts` for some days ahead; says how many were missing.
    pub async fn make_attempt_partitions(&self, days: i32) -> Result<i32, StoreError> {
        Ok(self.query_one(sql!("maintenance/make_attempt_partitions"), &[&days]).await?.try_get(0)?)
    }

    /// Drops the partitions of `attempts` older than some days; says how many.
    pub async fn drop_attempt_partitions(&self, days: i32) -> Result<i32, StoreError> {
        Ok(self.query_one(sql!("maintenance/drop_attempt_partitions"), &[&days]).await?.try_get(0)?)
    }

    /// Deletes messages past their topic's retention that are owed to nobody; says how many, at most 10,000.
    pub async fn delete_expired_messages(&self) -> Result<u64, StoreError> {
        self.execute(sql!("maintenance/delete_expired_messages"), &[&DELETE_MAX]).await
    }

    /// Deletes what is owed to webhooks that are gone; says how many deliveries.
    pub async fn delete_orphans(&self) -> Result<u64, StoreError> {
        self.execute(sql!("maintenance/delete_orphans"), &[]).await
    }

    /// Deletes messages whose topic is gone; says how many, at most 10,000. Reads the whole table.
    pub async fn delete_orphan_messages(&self) -> Result<u64, StoreError> {
        self.execute(sql!("maintenance/delete_orphan_messages"), &[&DELETE_MAX]).await
    }
}
