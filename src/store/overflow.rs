//! Webhooks that are owed more than they may be.

use std::time::Duration;

use super::{LeaderStore, error::StoreError, statement::sql};

/// About how long one look at backlogs may take.
const TAKES: Duration = Duration::from_millis(200);

/// What a look at a webhook's backlog has found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CheckedBacklog {
    /// The webhook.
    pub webhook_id: i64,
    /// How many messages are to be given up for it now; 0 if it has them refused.
    pub excess: u64,
    /// Whether it overflows.
    pub overflows: bool,
    /// Whether that is new.
    pub changed: bool,
    /// How long the look took.
    pub took: Duration,
}

/// What one step has given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedOverflow {
    /// How many messages became dead letters.
    pub messages: u64,
    /// The lanes of those that did not: somebody has locked something, or holds the lane.
    pub left_lanes: Vec<i64>,
}

impl LeaderStore {
    /// Looks at the webhooks after this one that have a limit, apart from those left out, and notes
    /// which of them overflow. No answer: there are none.
    pub async fn check_backlogs(
        &self,
        after: i64,
        left_out: &[i64],
    ) -> Result<Vec<CheckedBacklog>, StoreError> {
        let parameters: super::Parameters<'_> = &[&after, &left_out, &TAKES.as_secs_f64(), &"leader"];
        let rows = self.query(sql!("maintenance/check_backlogs"), parameters).await?;
        let checked = |row: &tokio_postgres::Row| {
            Ok(CheckedBacklog {
                webhook_id: row.try_get("webhook_id")?,
                excess: row.try_get::<_, i64>("excess")?.unsigned_abs(),
                overflows: row.try_get("overflows")?,
                changed: row.try_get("changed")?,
                took: Duration::try_from_secs_f64(row.try_get("seconds")?).unwrap_or_default(),
            })
        };
        rows.iter().map(checked).collect()
    }

    /// The messages that an overflowing webhook gives up first, and their lanes.
    pub async fn list_overflow(
        &self,
        webhook_id: i64,
        at_most: u64,
        left_out: &[i64],
    ) -> Result<Vec<(i64, i64)>, StoreError> {
        let at_most = i64::try_from(at_most).unwrap_or(i64::MAX);
        let rows = self.query(sql!("maintenance/list_overflow"), &[&webhook_id, &at_most, &left_out]).await?;
        rows.iter().map(|row| Ok((row.try_get("message_id")?, row.try_get("lane")?))).collect()
    }

    /// Gives up some messages of an overflowing webhook, at most 1,000.
    pub async fn drop_overflow(
        &self,
        webhook_id: i64,
        messages: &[(i64, i64)],
    ) -> Result<DroppedOverflow, StoreError> {
        let (ids, lanes): (Vec<i64>, Vec<i64>) = messages.iter().copied().unzip();
        let parameters: super::Parameters<'_> = &[&webhook_id, &ids, &lanes, &"leader"];
        let row = self.query_one(sql!("maintenance/drop_overflow"), parameters).await?;
        Ok(DroppedOverflow {
            messages: row.try_get::<_, i64>("dropped")?.unsigned_abs(),
            left_lanes: row.try_get("left_lanes")?,
        })
    }
}
