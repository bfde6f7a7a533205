//! Deliveries: list, read, list attempts.

use tokio_postgres::Row;

use super::{Store, error::StoreError, statement::sql};
use crate::domain::{
    attempt::{ErrorClass, Outcome},
    delivery::{AttemptRecord, Delivery, DeliveryFilter, DeliveryStatus},
    page::{Items, List, Page},
};

/// How many messages one page looks at. Messages of other topics count too.
const MESSAGES_SCANNED: i64 = 10_000;

impl Store {
    /// A page of a webhook's deliveries, newest first: those that are owed, and those that were
    /// accepted or given up. `None` if there is no such webhook.
    pub async fn list_deliveries(
        &self,
        webhook_id: i64,
        filter: &DeliveryFilter,
        page: Page,
    ) -> Result<Option<Items<Delivery>>, StoreError> {
        self.deliveries(webhook_id, filter, page, MESSAGES_SCANNED).await
    }

    /// The delivery of one message to one webhook; `None` if the webhook never was owed the
    /// message.
    pub async fn get_delivery(
        &self,
        webhook_id: i64,
        message_id: i64,
    ) -> Result<Option<Delivery>, StoreError> {
        // A page of one item that begins at this message and looks at no other.
        let page = Page::first(List::Deliveries, 1).after(message_id.saturating_add(1));
        let found = self.deliveries(webhook_id, &DeliveryFilter::default(), page, 1).await?;
        Ok(found
            .and_then(|page| page.items.into_iter().next())
            .filter(|delivery| delivery.message_id == message_id))
    }

    async fn deliveries(
        &self,
        webhook_id: i64,
        filter: &DeliveryFilter,
        page: Page,
        scanned: i64,
    ) -> Result<Option<Items<Delivery>>, StoreError> {
        let parameters: super::Parameters<'_> = &[
            &webhook_id,
            &page.falling_from(),
            &page.limit,
            &scanned,
            &filter.status.map(DeliveryStatus::as_str),
            &filter.partition_key,
        ];
        let rows = self.query(sql!("deliveries/list"), parameters).await?;
        let Some(items) = super::rows_under_parent(&rows, "message_id", delivery)? else { return Ok(None) };
        super::scanned_page(&rows, items, page, |delivery| delivery.message_id).map(Some)
    }

    /// A page of the attempts of one delivery, oldest first. The first `page.after` of them are
    /// skipped. `None` if the webhook's topic has no such message.
    pub async fn list_attempts(
        &self,
        webhook_id: i64,
        message_id: i64,
        page: Page,
    ) -> Result<Option<Items<AttemptRecord>>, StoreError> {
        let skipped = page.after.map_or(0, |(skipped, _)| skipped.max(0));
        let rows = self
            .query(sql!("deliveries/list_attempts"), &[&webhook_id, &message_id, &skipped, &page.limit])
            .await?;
        let items = super::rows_under_parent(&rows, "message_id", attempt)?;
        Ok(items.map(|items| Items::full(items, page, |_| skipped + page.limit)))
    }
}

fn delivery(row: &Row) -> Result<Delivery, StoreError> {
    Ok(Delivery {
        message_id: row.try_get("message_id")?,
        partition_key: row.try_get("partition_key")?,
        status: super::word(row, "status", DeliveryStatus::parse)?,
        attempts: row.try_get("attempts")?,
        last_status_code: row.try_get("last_status_code")?,
        last_error: row.try_get("last_error")?,
        next_attempt_at: row.try_get("next_attempt_at")?,
        created_at: row.try_get("created_at")?,
        settled_at: row.try_get("settled_at")?,
    })
}

fn attempt(row: &Row) -> Result<AttemptRecord, StoreError> {
    let microseconds: i64 = row.try_get("duration_us")?;
    #[expect(
        clippy::cast_precision_loss,
        reason = "a request lasts minutes, not the 285 years an f64 holds exactly"
    )]
    let duration_ms = microseconds as f64 / 1000.0;
    let error_class = match row.try_get::<_, Option<&str>>("error_class")? {
        Some(_) => Some(super::word(row, "error_class", ErrorClass::parse)?),
        None => None,
    };
    let batch: (Option<i64>, Option<i64>) = (row.try_get("batch_first")?, row.try_get("batch_last")?);
    Ok(AttemptRecord {
        attempt: row.try_get("attempt")?,
        batch: batch.0.zip(batch.1),
        outcome: super::word(row, "outcome", Outcome::parse)?,
        status_code: row.try_get("status_code")?,
        error_class,
        error: row.try_get("error")?,
        duration_ms,
        response_excerpt: row.try_get("response_excerpt")?,
        worker_id: row.try_get("worker_id")?,
        attempted_at: row.try_get("attempted_at")?,
        probe: row.try_get("probe")?,
        replay: row.try_get("replay")?,
    })
}
