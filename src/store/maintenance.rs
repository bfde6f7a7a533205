//! The statements of background work.

use jiff::Timestamp;

use super::{Store, error::StoreError, statement::sql};

/// How many rows one statement deletes at most, so that none takes long.
const PORTION: i64 = 10_000;

/// The result of deleting orphans.
pub struct Orphans {
    /// How many deliveries were deleted.
    pub deliveries: u64,
    /// Whether deliveries or lanes are left, because somebody has locked them.
    pub left: bool,
}

impl Store {
    /// Makes the partitions of `attempts` for `days` days ahead. Returns how many were missing.
    pub async fn make_attempt_partitions(&self, days: i32) -> Result<i32, StoreError> {
        Ok(self.query_one(sql!("maintenance/make_attempt_partitions"), &[&days]).await?.try_get(0)?)
    }

    /// Drops the partitions of `attempts` that are older than `days` days. Returns how many.
    pub async fn drop_attempt_partitions(&self, days: i32) -> Result<i32, StoreError> {
        Ok(self.query_one(sql!("maintenance/drop_attempt_partitions"), &[&days]).await?.try_get(0)?)
    }

    /// Deletes messages that are past their topic's retention, are not owed, and are no dead
    /// letters. Returns how many.
    pub async fn delete_expired_messages(&self) -> Result<u64, StoreError> {
        let mut deleted = 0;
        for row in self.query(sql!("maintenance/list_retentions"), &[]).await? {
            let (topic, limit): (i64, Timestamp) = (row.try_get(0)?, row.try_get(1)?);
            loop {
                let statement = sql!("maintenance/delete_expired_messages");
                let portion = self.execute(statement, &[&topic, &limit, &PORTION]).await?;
                deleted += portion;
                if portion < PORTION.unsigned_abs() {
                    break;
                }
            }
        }
        Ok(deleted)
    }

    /// Counts the messages that arrived while triggers were switched off. They were not published
    /// here.
    pub async fn count_arrived_messages(&self) -> Result<i64, StoreError> {
        Ok(self.query_one(sql!("maintenance/count_arrived_messages"), &[]).await?.try_get(0)?)
    }

    /// Deletes deliveries, lanes and dead letters of webhooks that were deleted, in portions.
    /// Locked rows are left: a worker may be releasing the lane at this moment.
    pub async fn delete_orphans(&self) -> Result<Orphans, StoreError> {
        let mut deliveries = 0;
        loop {
            let portion = self.execute(sql!("maintenance/delete_orphans"), &[&PORTION]).await?;
            let lanes = self.execute(sql!("maintenance/delete_orphan_lanes"), &[&PORTION]).await?;
            deliveries += portion;
            if portion + lanes == 0 {
                let left = self.query_one(sql!("maintenance/find_orphans"), &[]).await?.try_get(0)?;
                return Ok(Orphans { deliveries, left });
            }
        }
    }

    /// Deletes messages whose topic was deleted, at most 10,000. Returns how many. Reads the whole
    /// table.
    pub async fn delete_orphan_messages(&self) -> Result<u64, StoreError> {
        self.execute(sql!("maintenance/delete_orphan_messages"), &[&PORTION]).await
    }
}
