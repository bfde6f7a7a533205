//! The history of a lane: its messages, their attempts, and what has changed.

use tokio_postgres::Row;

use super::{Store, deliveries::attempt, error::StoreError, optional_word, statement::sql};
use crate::domain::{
    change::ChangeKind,
    dead_letter,
    delivery::AttemptRecord,
    lane_history::{ATTEMPTS_SHOWN, CHANGES_SHOWN, LaneChange, LaneMessage, OTHERS_SHOWN, OWED_SHOWN},
};

/// How many messages are looked at for those of the lane that it does not owe.
const SCANNED: i64 = 10_000;

impl Store {
    /// The first messages that a lane owes, and the newest others that are found; by rising id.
    pub async fn list_lane_messages(
        &self,
        webhook_id: i64,
        lane: i64,
    ) -> Result<Vec<LaneMessage>, StoreError> {
        let parameters: super::Parameters<'_> = &[&webhook_id, &lane, &OWED_SHOWN, &SCANNED, &OTHERS_SHOWN];
        let rows = self.query(sql!("lanes/list_messages"), parameters).await?;
        rows.iter().map(message).collect()
    }

    /// The newest attempts of some messages, with the message of each, oldest first.
    pub async fn list_lane_attempts(
        &self,
        webhook_id: i64,
        message_ids: &[i64],
    ) -> Result<Vec<(i64, AttemptRecord)>, StoreError> {
        let parameters: super::Parameters<'_> = &[&webhook_id, &message_ids, &ATTEMPTS_SHOWN];
        let rows = self.query(sql!("lanes/list_attempts"), parameters).await?;
        rows.iter().map(|row| Ok((row.try_get("message_id")?, attempt(row)?))).collect()
    }

    /// The newest changes of a lane, of its webhook and of its topic, oldest first.
    pub async fn list_lane_changes(&self, webhook_id: i64, lane: i64) -> Result<Vec<LaneChange>, StoreError> {
        let parameters: super::Parameters<'_> = &[&webhook_id, &lane, &CHANGES_SHOWN];
        let rows = self.query(sql!("changes/list_of_lane"), parameters).await?;
        let change = |row: &Row| {
            Ok(LaneChange {
                kind: super::word(row, "kind", ChangeKind::parse)?,
                reason: row.try_get("reason")?,
                by: row.try_get("changed_by")?,
                at: row.try_get("created_at")?,
            })
        };
        rows.iter().map(change).collect()
    }
}

fn message(row: &Row) -> Result<LaneMessage, StoreError> {
    let reason = optional_word(row, "dead_reason", dead_letter::Reason::parse)?;
    Ok(LaneMessage {
        message_id: row.try_get("message_id")?,
        created_at: row.try_get("created_at")?,
        owed: row.try_get("owed")?,
        replayed_at: row.try_get("replayed_at")?,
        given_up: reason.zip(row.try_get("dead_at")?),
    })
}
