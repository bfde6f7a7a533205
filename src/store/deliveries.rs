//! Deliveries: list, read, list attempts, replay, cancel.

use tokio_postgres::Row;

use super::{Store, error::StoreError, optional_word, scanned_page_by, statement::sql, topics::like};
use crate::domain::{
    attempt::{ErrorClass, Outcome},
    delivery::{AttemptRecord, Delivery, DeliveryFilter, DeliveryStatus},
    operation::{CancelOutcome, Removal, ReplayOutcome},
    page::{Items, List, Page},
    scope::TopicScope,
};

/// How many messages one page looks at. Messages of other topics count too.
const MESSAGES_SCANNED: i64 = 10_000;

/// How many deliveries or dead letters one page looks at.
const SCANNED: i64 = 1_000;

/// How many lanes one page looks at.
const LANES_SCANNED: i64 = 10_000;

/// Whose deliveries are listed. A field that is `None` excludes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeliveryScope<'a> {
    /// Only this webhook.
    pub webhook_id: Option<i64>,
    /// Only this topic.
    pub topic_id: Option<i64>,
    /// Only these topics.
    pub topics: Option<&'a TopicScope>,
}

impl Store {
    /// A page of deliveries: those that are owed, and those that were accepted or given up. They
    /// come newest message first; but what one webhook still owes comes lane by lane, if the filter
    /// names such a status.
    pub async fn list_deliveries(
        &self,
        scope: DeliveryScope<'_>,
        filter: &DeliveryFilter,
        page: Page,
    ) -> Result<Items<Delivery>, StoreError> {
        match (filter.status, scope.webhook_id) {
            (Some(status), Some(webhook_id)) if status.is_owed() => {
                self.list_owed(webhook_id, status, filter, page).await
            }
            _ => self.deliveries(scope, filter, page, MESSAGES_SCANNED).await,
        }
    }

    /// The delivery of one message to one webhook; `None` if the webhook never was owed the
    /// message.
    pub async fn get_delivery(
        &self,
        webhook_id: i64,
        message_id: i64,
    ) -> Result<Option<Delivery>, StoreError> {
        // A page of one item that begins at this message and looks at no other.
        let page = Page { after: Some((message_id, -1)), ..Page::first(List::Deliveries, 1) };
        let scope = DeliveryScope { webhook_id: Some(webhook_id), ..DeliveryScope::default() };
        let found = self.deliveries(scope, &DeliveryFilter::default(), page, 1).await?;
        Ok(found.items.into_iter().next().filter(|delivery| delivery.message_id == message_id))
    }

    async fn deliveries(
        &self,
        scope: DeliveryScope<'_>,
        filter: &DeliveryFilter,
        page: Page,
        messages_scanned: i64,
    ) -> Result<Items<Delivery>, StoreError> {
        let given_up = filter.status.is_some_and(|status| {
            matches!(status, DeliveryStatus::Dead | DeliveryStatus::Canceled | DeliveryStatus::Superseded)
        });
        let (message_id, webhook_id) = page.after.unwrap_or((i64::MAX, i64::MAX));
        let parameters: super::Parameters<'_> = &[
            &scope.webhook_id,
            &scope.topics.and_then(like),
            &filter.status.map(DeliveryStatus::as_str),
            &filter.partition_key,
            &filter.message_type,
            &scope.topic_id,
            &message_id,
            &webhook_id,
            &page.limit,
            if given_up { &SCANNED } else { &messages_scanned },
            &SCANNED,
        ];
        let rows = if given_up {
            self.query(sql!("deliveries/list_given_up"), &parameters[..10]).await?
        } else {
            self.query(sql!("deliveries/list"), parameters).await?
        };
        let items = super::rows_under_parent(&rows, "message_id", delivery)?.unwrap_or_default();
        scanned_page_by(&rows, items, page, ["scanned_to", "scanned_webhook"], |delivery| {
            (delivery.message_id, delivery.webhook_id)
        })
    }

    async fn list_owed(
        &self,
        webhook_id: i64,
        status: DeliveryStatus,
        filter: &DeliveryFilter,
        page: Page,
    ) -> Result<Items<Delivery>, StoreError> {
        let (lane, message_id) = page.after.unwrap_or((i64::MIN, i64::MIN));
        let parameters: super::Parameters<'_> = &[
            &webhook_id,
            &status.as_str(),
            &filter.partition_key,
            &filter.message_type,
            &lane,
            &message_id,
            &page.limit,
            &LANES_SCANNED,
            &SCANNED,
        ];
        let rows = self.query(sql!("deliveries/list_owed"), parameters).await?;
        let child = |row: &Row| Ok((row.try_get::<_, i64>("lane")?, delivery(row)?));
        let items = super::rows_under_parent(&rows, "message_id", child)?.unwrap_or_default();
        let columns = ["scanned_lane", "scanned_to"];
        let keys = |(lane, delivery): &(i64, Delivery)| (*lane, delivery.message_id);
        Ok(scanned_page_by(&rows, items, page, columns, keys)?.map(|(_, delivery)| delivery))
    }

    /// Delivers messages once more to a webhook, at most 1,000 of them. `waits`: waits for their
    /// stripes, up to a second; for one message only.
    pub async fn replay_deliveries(
        &self,
        webhook_id: i64,
        message_ids: &[i64],
        waits: bool,
    ) -> Result<Vec<(i64, ReplayOutcome)>, StoreError> {
        let rows = self.query(sql!("deliveries/replay"), &[&webhook_id, &message_ids, &waits]).await?;
        let outcome =
            |row: &Row| Ok((row.try_get("message_id")?, super::word(row, "outcome", ReplayOutcome::parse)?));
        rows.iter().map(outcome).collect()
    }

    /// Takes messages out of what a webhook is owed, at most 1,000 of them. `waits`: waits for their
    /// stripes, up to a second; for one message only.
    pub async fn cancel_deliveries(
        &self,
        webhook_id: i64,
        message_ids: &[i64],
        removal: Removal,
        waits: bool,
        actor: &str,
    ) -> Result<Vec<(i64, CancelOutcome)>, StoreError> {
        let reason = match removal {
            Removal::Cancel => "canceled",
            Removal::Skip => "skipped",
        };
        let parameters: super::Parameters<'_> = &[&webhook_id, &message_ids, &reason, &waits, &actor];
        let rows = self.query(sql!("deliveries/cancel"), parameters).await?;
        rows.iter().map(|row| Ok((row.try_get("message_id")?, canceled(row)?))).collect()
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
        webhook_id: row.try_get("webhook_id")?,
        webhook: row.try_get("webhook")?,
        topic: row.try_get("topic")?,
        message_id: row.try_get("message_id")?,
        partition_key: row.try_get("partition_key")?,
        message_type: row.try_get("type")?,
        status: super::word(row, "status", DeliveryStatus::parse)?,
        attempts: row.try_get("attempts")?,
        last_status_code: row.try_get("last_status_code")?,
        last_error_class: optional_word(row, "last_error_class", ErrorClass::parse)?,
        last_error: row.try_get("last_error")?,
        next_attempt_at: row.try_get("next_attempt_at")?,
        created_at: row.try_get("created_at")?,
        settled_at: row.try_get("settled_at")?,
        replayed_at: row.try_get("replayed_at")?,
    })
}

fn canceled(row: &Row) -> Result<CancelOutcome, StoreError> {
    Ok(match row.try_get("outcome")? {
        "removed" => CancelOutcome::Removed { dead_letter_id: row.try_get("dead_letter_id")? },
        "not_owed" => CancelOutcome::NotOwed,
        "in_flight" => {
            CancelOutcome::InFlight { worker: row.try_get("worker")?, since: row.try_get("since")? }
        }
        "not_head" => CancelOutcome::NotHead { head: row.try_get("head")? },
        "stripe_taken" => CancelOutcome::StripeTaken,
        "row_locked" => CancelOutcome::RowLocked,
        other => return Err(StoreError::Unexpected(format!("outcome is {other:?}"))),
    })
}

pub(super) fn attempt(row: &Row) -> Result<AttemptRecord, StoreError> {
    let error_class = optional_word(row, "error_class", ErrorClass::parse)?;
    let batch: (Option<i64>, Option<i64>) = (row.try_get("batch_first")?, row.try_get("batch_last")?);
    Ok(AttemptRecord {
        attempt: row.try_get("attempt")?,
        batch: batch.0.zip(batch.1),
        outcome: super::word(row, "outcome", Outcome::parse)?,
        status_code: row.try_get("status_code")?,
        error_class,
        error: row.try_get("error")?,
        duration_ms: milliseconds(row)?,
        retry_after_seconds: row.try_get("retry_after_seconds")?,
        response_excerpt: row.try_get("response_excerpt")?,
        worker_id: row.try_get("worker_id")?,
        attempted_at: row.try_get("attempted_at")?,
        probe: row.try_get("probe")?,
        replay: row.try_get("replay")?,
    })
}

/// How long an attempt took.
pub(super) fn milliseconds(row: &Row) -> Result<f64, StoreError> {
    let microseconds: i64 = row.try_get("duration_us")?;
    #[expect(
        clippy::cast_precision_loss,
        reason = "a request lasts minutes, not the 285 years an f64 holds exactly"
    )]
    let milliseconds = microseconds as f64 / 1000.0;
    Ok(milliseconds)
}
