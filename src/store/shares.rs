//! Shares of the limits that hold for all workers together. The rule is in
//! `sql/functions/engine/share_limits.sql`.

use uuid::Uuid;

use super::{Store, error::StoreError, statement::sql};

/// What a worker says of one webhook when it asks for its share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShareAsk {
    /// The webhook.
    pub webhook_id: i64,
    /// Whether the worker has something to send.
    pub wants: bool,
    /// How many requests are in flight, or may be under the share that it knows.
    pub slots_held: usize,
    /// How many requests a second it may start under the share that it knows.
    pub rate_held: f64,
}

/// A worker's share of the limits of one webhook.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// The webhook.
    pub webhook_id: i64,
    /// How many requests it may have in flight; `None`: the webhook sets no limit.
    pub slots: Option<usize>,
    /// How many requests a second it may start; `None`: the webhook sets no limit.
    pub rate: Option<f64>,
}

impl Store {
    /// Takes a worker's shares, and gives those of `done` back. A webhook without a limit has none,
    /// and one whose row is locked is left out: its share stays as it is.
    ///
    /// # Errors
    /// [`StoreError::is_not_registered`]: the worker must start over.
    pub async fn share_limits(
        &self,
        worker: Uuid,
        asks: &[ShareAsk],
        done: &[i64],
    ) -> Result<Vec<Share>, StoreError> {
        let webhooks: Vec<i64> = asks.iter().map(|ask| ask.webhook_id).collect();
        let wants: Vec<bool> = asks.iter().map(|ask| ask.wants).collect();
        let slots_held: Vec<i32> =
            asks.iter().map(|ask| i32::try_from(ask.slots_held).unwrap_or(i32::MAX)).collect();
        let rate_held: Vec<f64> = asks.iter().map(|ask| ask.rate_held).collect();
        let parameters: super::Parameters<'_> = &[&worker, &webhooks, &wants, &slots_held, &rate_held, &done];
        let rows = self.call(sql!("webhooks/share_limits"), parameters).await?;
        let share = |row: &tokio_postgres::Row| {
            let slots: Option<i32> = row.try_get(1)?;
            Ok(Share {
                webhook_id: row.try_get(0)?,
                slots: slots.map(|slots| usize::try_from(slots).unwrap_or_default()),
                rate: row.try_get(2)?,
            })
        };
        rows.iter().map(share).collect()
    }
}
