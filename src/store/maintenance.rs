//! The statements of maintenance, which is background work.

use super::{CHANGES_KEPT_DAYS, JOBS_KEPT_DAYS, LeaderStore, error::StoreError, statement::sql};

/// How many rows one statement deletes at most, so that none takes long.
const PORTION: i32 = 10_000;

/// What was found among some messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessagePortion {
    /// The highest id; `None` if there was no message.
    pub last_id: Option<i64>,
    /// Whether no message comes after these.
    pub is_last: bool,
    /// How many were deleted.
    pub deleted: u64,
    /// Whether one of them is older than the shortest retention of any topic.
    pub any_old: bool,
}

/// The result of deleting orphans.
pub struct Orphans {
    /// How many deliveries were deleted.
    pub deliveries: u64,
    /// Whether deliveries or lanes are left, because somebody has locked them.
    pub left: bool,
}

impl LeaderStore {
    /// Makes the partitions of `attempts` for `days` days ahead. Returns how many were missing.
    pub async fn make_attempt_partitions(&self, days: i32) -> Result<i32, StoreError> {
        Ok(self.query_one(sql!("maintenance/make_attempt_partitions"), &[&days]).await?.try_get(0)?)
    }

    /// Drops the partitions of `attempts` that are older than `days` days. Returns how many.
    pub async fn drop_attempt_partitions(&self, kept_days: u32) -> Result<i32, StoreError> {
        let statement = sql!("maintenance/drop_attempt_partitions");
        Ok(self.query_one(statement, &[&days(kept_days)]).await?.try_get(0)?)
    }

    /// Looks at the messages after an id, at most 10,000 of them. Deletes those that are past
    /// their retention and those whose topic is gone, if they are not owed and no dead letters.
    /// `default_days` is the retention of topics that do not say; 0 keeps their messages for ever.
    pub async fn delete_old_messages(
        &self,
        after: i64,
        default_days: u32,
    ) -> Result<MessagePortion, StoreError> {
        let parameters: super::Parameters<'_> = &[&after, &PORTION, &days(default_days)];
        let row = self.query_one(sql!("maintenance/delete_old_messages"), parameters).await?;
        Ok(MessagePortion {
            last_id: row.try_get("last_id")?,
            is_last: row.try_get::<_, i64>("seen")? < i64::from(PORTION),
            deleted: row.try_get::<_, i64>("deleted")?.unsigned_abs(),
            any_old: row.try_get("any_old")?,
        })
    }

    /// Deletes dead letters that are older than some days, at most 10,000. Returns how many.
    pub async fn delete_old_dead_letters(&self, kept_days: u32) -> Result<u64, StoreError> {
        self.delete_old(sql!("maintenance/delete_old_dead_letters"), days(kept_days)).await
    }

    /// Deletes jobs that ended more than [`JOBS_KEPT_DAYS`] ago, at most 10,000. Returns how many.
    pub async fn delete_old_jobs(&self) -> Result<u64, StoreError> {
        self.delete_old(sql!("maintenance/delete_old_jobs"), JOBS_KEPT_DAYS).await
    }

    /// Deletes rows of the audit log that are older than [`CHANGES_KEPT_DAYS`], at most 10,000.
    /// Returns how many.
    pub async fn delete_old_changes(&self) -> Result<u64, StoreError> {
        self.delete_old(sql!("maintenance/delete_old_changes"), CHANGES_KEPT_DAYS).await
    }

    async fn delete_old(&self, statement: &'static str, days: i32) -> Result<u64, StoreError> {
        Ok(self.query_one(statement, &[&days, &PORTION]).await?.try_get::<_, i64>(0)?.unsigned_abs())
    }

    /// Counts the messages that arrived while triggers were switched off. They were not published
    /// here.
    pub async fn count_arrived_messages(&self) -> Result<i64, StoreError> {
        Ok(self.store().query_one(sql!("maintenance/count_arrived_messages"), &[]).await?.try_get(0)?)
    }

    /// Deletes deliveries, lanes and dead letters of webhooks that were deleted, in portions.
    /// Locked rows are left: a worker may be releasing the lane at this moment.
    pub async fn delete_orphans(&self) -> Result<Orphans, StoreError> {
        let mut deliveries = 0;
        loop {
            let portion = self.execute(sql!("maintenance/delete_orphans"), &[&i64::from(PORTION)]).await?;
            let lanes = self.execute(sql!("maintenance/delete_orphan_lanes"), &[&i64::from(PORTION)]).await?;
            deliveries += portion;
            if portion + lanes == 0 {
                let left = self.store().query_one(sql!("maintenance/find_orphans"), &[]).await?.try_get(0)?;
                return Ok(Orphans { deliveries, left });
            }
        }
    }
}

fn days(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
