//! Events: changes of state that are published to the topic `pgtopic.events`.

use super::{LeaderStore, error::StoreError, statement::sql};

/// How many events one step publishes at most. The others wait for the next one.
const EVENTS_PUBLISHED_MAX: i32 = 500;

/// How many dead letters one step looks at.
const DEAD_LETTERS_LOOKED_AT: i32 = 10_000;

impl LeaderStore {
    /// Publishes events, by rising id. Returns how many.
    pub async fn publish_events(&self) -> Result<u64, StoreError> {
        let row = self.query_one(sql!("background/publish_events"), &[&EVENTS_PUBLISHED_MAX]).await?;
        Ok(u64::try_from(row.try_get::<_, i32>(0)?).unwrap_or_default())
    }

    /// Records that deliveries were given up since the last call, one change for each webhook.
    pub async fn record_exhausted(&self) -> Result<(), StoreError> {
        self.query_one(sql!("background/record_exhausted"), &[&DEAD_LETTERS_LOOKED_AT]).await?;
        Ok(())
    }
}
