//! What is too old for its webhook.

use super::{LeaderStore, error::StoreError, statement::sql};
use crate::domain::lane::LaneKey;

/// How many lanes one step looks at, and how many messages it gives up at most.
const PORTION: i32 = 1_000;

/// What one step has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expired {
    /// The last lane that was looked at; `None` if the end was reached.
    pub last: Option<LaneKey>,
    /// How many messages became dead letters.
    pub messages: u64,
    /// Whether more of them are known to be too old.
    pub more: bool,
}

impl LeaderStore {
    /// Looks at the lanes after this one that no worker holds, at most 1,000 of them, and gives up
    /// what is too old for their webhooks.
    pub async fn expire_deliveries(&self, after: LaneKey) -> Result<Expired, StoreError> {
        let parameters: super::Parameters<'_> = &[&after.webhook_id, &after.lane, &PORTION, &"leader"];
        let row = self.query_one(sql!("maintenance/expire_deliveries"), parameters).await?;
        let (webhook_id, lane): (Option<i64>, Option<i64>) =
            (row.try_get("last_webhook")?, row.try_get("last_lane")?);
        Ok(Expired {
            last: webhook_id.zip(lane).map(|(webhook_id, lane)| LaneKey { webhook_id, lane }),
            messages: row.try_get::<_, i64>("expired")?.unsigned_abs(),
            more: row.try_get("more")?,
        })
    }
}
