//! Writes the audit log, where no other statement does.

use uuid::Uuid;

use super::{Store, error::StoreError, statement::sql};
use crate::domain::change::{OutageChange, worker_actor};

impl Store {
    /// Records what a worker has seen of outages. What another worker has recorded before is left
    /// out.
    pub async fn record_outages(&self, worker: Uuid, seen: &[OutageChange]) -> Result<(), StoreError> {
        macro_rules! column {
            ($change:ident => $value:expr) => {
                seen.iter().map(|$change| $value).collect::<Vec<_>>()
            };
        }
        let parameters: super::Parameters<'_> = &[
            &column!(change => change.webhook_id),
            &column!(change => change.kind().as_str()),
            &column!(change => change.reason.replace('\0', "\u{fffd}")),
            &worker_actor(worker),
        ];
        self.execute(sql!("changes/record_outages"), parameters).await?;
        Ok(())
    }
}
