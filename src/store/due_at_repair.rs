//! Lanes that a step of the database's clock has left in the future.

use jiff::Timestamp;

use super::{Store, error::StoreError, statement::sql};

/// Where a look at the lanes that are due later ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AheadOf {
    webhook_id: i64,
    due_at: Timestamp,
}

impl AheadOf {
    /// Before all of them.
    pub const BEGINNING: Self = Self { webhook_id: 0, due_at: Timestamp::UNIX_EPOCH };
}

/// What a look at the lanes that are due later has found.
#[derive(Debug, Clone, Copy)]
pub struct Correction {
    /// How many were due later than their wait allows, and are not any more.
    pub corrected: i64,
    /// Where to look on; `None` at the end.
    pub next: Option<AheadOf>,
}

impl Store {
    /// Looks at some of the lanes that are due later, and corrects those that only a step of the
    /// clock explains.
    pub async fn repair_due_at(&self, after: AheadOf, lanes: i32) -> Result<Correction, StoreError> {
        let rows =
            self.call(sql!("lanes/repair_due_at"), &[&after.webhook_id, &after.due_at, &lanes]).await?;
        let [row] = rows.as_slice() else {
            return Err(StoreError::Unexpected(format!("{} rows from repair_due_at", rows.len())));
        };
        let ended = (row.try_get::<_, Option<i64>>(1)?, row.try_get::<_, Option<Timestamp>>(2)?);
        let next = match ended {
            (Some(webhook_id), Some(due_at)) => Some(AheadOf { webhook_id, due_at }),
            _ => None,
        };
        Ok(Correction { corrected: row.try_get(0)?, next })
    }
}
