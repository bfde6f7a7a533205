//! Which webhooks have a lane to claim. The rule is in
//! `sql/functions/engine/list_due_webhooks.sql`.

use jiff::Timestamp;

use super::{Store, error::StoreError, statement::sql};

/// The most webhooks that one call looks at, and so the most that it returns.
pub const DUE_WEBHOOKS_MAX: i32 = 1_000;

/// A webhook with a lane to claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueWebhook {
    /// The webhook.
    pub webhook_id: i64,
    /// The earliest `due_at` of its lanes that can be claimed. A claim may begin here.
    pub due_at: Timestamp,
}

/// The answer to one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueWebhooks {
    /// By rising id.
    pub webhooks: Vec<DueWebhook>,
    /// After which webhook the next call begins; `None` if all were looked at.
    pub next: Option<i64>,
}

impl Store {
    /// Lists webhooks that have a lane to claim, in the order of their ids. It begins after a
    /// webhook, or at the first one, and looks at [`DUE_WEBHOOKS_MAX`] webhooks at most: only
    /// webhooks with an unclaimed lane count. `sweep`: lanes whose holder is gone count as
    /// unclaimed.
    ///
    /// Webhooks that are paused, disabled or starting, or whose topic is on hold, are left out.
    pub async fn list_due_webhooks(
        &self,
        after: Option<i64>,
        sweep: bool,
    ) -> Result<DueWebhooks, StoreError> {
        let rows = self.call(sql!("lanes/list_due_webhooks"), &[&after, &DUE_WEBHOOKS_MAX, &sweep]).await?;
        let mut due = DueWebhooks { webhooks: Vec::new(), next: None };
        for row in rows {
            let webhook_id = row.try_get(0)?;
            if let Some(due_at) = row.try_get(1)? {
                due.webhooks.push(DueWebhook { webhook_id, due_at });
            }
            if !row.try_get::<_, bool>(2)? {
                due.next = Some(webhook_id);
            }
        }
        Ok(due)
    }
}
