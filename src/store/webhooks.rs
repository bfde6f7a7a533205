//! Webhooks: create, list, read, change, delete.

use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::Row;

use super::{
    Store,
    error::StoreError,
    statement::sql,
    topics::{COUNT_TO, capped},
};
use crate::domain::{
    new_topic::TopicRef,
    new_webhook::{NewWebhook, WebhookChanges},
    page::Page,
    webhook::{FilterKind, Format, OnExhausted, Webhook, WebhookDeletion, WebhookStatus},
};

impl Store {
    /// Subscribes a URL to a topic; `None` if there is no such topic.
    pub async fn create_webhook(
        &self,
        topic: &TopicRef,
        new: &NewWebhook,
        secret: &SecretString,
    ) -> Result<Option<Webhook>, StoreError> {
        let parameters: super::Parameters<'_> = &[
            &topic.id(),
            &topic.name(),
            &new.url,
            &secret.expose_secret(),
            &new.headers_json(),
            &new.filter,
            &new.format.as_str(),
            &new.batch_size,
            &new.max_retries,
            &new.backoff_factor,
            &new.max_backoff_seconds,
            &new.timeout_seconds,
            &new.on_exhausted.as_str(),
            &new.max_in_flight,
            &new.rate_limit_per_second,
        ];
        self.query_opt(sql!("webhooks/create"), parameters).await?.as_ref().map(webhook).transpose()
    }

    /// A page of webhooks, by rising id.
    pub async fn list_webhooks(&self, page: Page) -> Result<Vec<Webhook>, StoreError> {
        let rows = self.query(sql!("webhooks/list"), &[&page.rising_from(), &page.limit]).await?;
        rows.iter().map(webhook).collect()
    }

    /// A page of a topic's webhooks, by rising id; `None` if there is no such topic.
    pub async fn list_topic_webhooks(
        &self,
        topic: &TopicRef,
        page: Page,
    ) -> Result<Option<Vec<Webhook>>, StoreError> {
        let parameters: super::Parameters<'_> =
            &[&topic.id(), &topic.name(), &page.rising_from(), &page.limit];
        let rows = self.query(sql!("webhooks/list_by_topic"), parameters).await?;
        super::rows_under_parent(&rows, "id", webhook)
    }

    /// One webhook and what it owes.
    pub async fn get_webhook(&self, id: i64) -> Result<Option<WebhookStatus>, StoreError> {
        let row = self.query_opt(sql!("webhooks/get"), &[&id, &COUNT_TO]).await?;
        row.map(|row| {
            let (backlog, backlog_capped) = capped(row.try_get("backlog")?);
            let (dead_letters, dead_letters_capped) = capped(row.try_get("dead_letters")?);
            let webhook = webhook(&row)?;
            Ok(WebhookStatus { webhook, backlog, backlog_capped, dead_letters, dead_letters_capped })
        })
        .transpose()
    }

    /// Changes a webhook; `None` if there is none.
    pub async fn update_webhook(
        &self,
        id: i64,
        changes: &WebhookChanges,
    ) -> Result<Option<Webhook>, StoreError> {
        let row = self.query_opt(sql!("webhooks/update"), &[&id, &changes.to_json()]).await?;
        row.as_ref().map(webhook).transpose()
    }

    /// Deletes a webhook and all it is owed; `None` if there is none.
    pub async fn delete_webhook(&self, id: i64) -> Result<Option<WebhookDeletion>, StoreError> {
        let row = self.query_opt(sql!("webhooks/delete"), &[&id]).await?;
        row.map(|row| {
            Ok(WebhookDeletion {
                dropped_deliveries: row.try_get("dropped_deliveries")?,
                dropped_dead_letters: row.try_get("dropped_dead_letters")?,
            })
        })
        .transpose()
    }

    /// What kind of jsonpath a filter is. Fails with what PostgreSQL says of it if it is none.
    pub async fn check_webhook_filter(&self, filter: &str) -> Result<FilterKind, StoreError> {
        let row = self.query_one(sql!("webhooks/check_filter"), &[&filter]).await?;
        match row.try_get("kind")? {
            "predicate" => Ok(FilterKind::Predicate),
            "path" => Ok(FilterKind::Path),
            "variables" => Ok(FilterKind::Variables),
            other => Err(StoreError::Unexpected(format!("webhooks/check_filter says {other:?}"))),
        }
    }
}

fn webhook(row: &Row) -> Result<Webhook, StoreError> {
    let format: &str = row.try_get("format")?;
    let on_exhausted: &str = row.try_get("on_exhausted")?;
    let unexpected =
        |column: &str, value: &str| StoreError::Unexpected(format!("webhooks.{column} is {value:?}"));
    Ok(Webhook {
        id: row.try_get("id")?,
        topic_id: row.try_get("topic_id")?,
        topic: row.try_get("topic")?,
        url: row.try_get("url")?,
        header_names: row.try_get("header_names")?,
        filter: row.try_get("filter")?,
        format: Format::parse(format).ok_or_else(|| unexpected("format", format))?,
        batch_size: row.try_get("batch_size")?,
        max_retries: row.try_get("max_retries")?,
        backoff_factor: row.try_get("backoff_factor")?,
        max_backoff_seconds: row.try_get("max_backoff_seconds")?,
        timeout_seconds: row.try_get("timeout_seconds")?,
        on_exhausted: OnExhausted::parse(on_exhausted)
            .ok_or_else(|| unexpected("on_exhausted", on_exhausted))?,
        max_in_flight: row.try_get("max_in_flight")?,
        rate_limit_per_second: row.try_get("rate_limit_per_second")?,
        state: row.try_get("state")?,
        paused: row.try_get("paused")?,
        disabled_reason: row.try_get("disabled_reason")?,
        created_at: row.try_get("created_at")?,
    })
}
