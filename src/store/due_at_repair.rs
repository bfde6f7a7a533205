//! Repairs the `due_at` of lanes after the database's clock was stepped back. The rule is in
//! `sql/functions/engine/repair_due_at.sql`.

use jiff::Timestamp;

use super::{Store, error::StoreError, statement::sql};

/// How far a round over the waiting lanes has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AheadOf {
    webhook_id: i64,
    due_at: Timestamp,
}

impl AheadOf {
    /// Before all lanes.
    pub const BEGINNING: Self = Self { webhook_id: 0, due_at: Timestamp::UNIX_EPOCH };
}

/// The result of one step of a round over the waiting lanes.
#[derive(Debug, Clone, Copy)]
pub struct Correction {
    /// How many lanes were due later than their wait allows, and were corrected.
    pub corrected: i64,
    /// Where the next step begins; `None` if the round is complete.
    pub next: Option<AheadOf>,
}

impl Store {
    /// Looks at the next waiting lanes after `after`, at most `lanes`. A lane that is due later
    /// than its wait allows is corrected: only a step of the clock explains that.
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
