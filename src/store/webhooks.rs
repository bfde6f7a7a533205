//! Webhooks: create, list, read, change, delete.

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use tokio_postgres::Row;

use super::{Store, error::StoreError, health::health, statement::sql, topics::like};
use crate::domain::{
    breaker::BreakerPolicy,
    headers::headers_json,
    health::HealthState,
    page::Page,
    policy::{OnExhausted, OnOverflow},
    range::MessageRange,
    scope::TopicScope,
    topic::TopicRef,
    webhook::{FilterVerdict, Format, NewWebhook, Webhook, WebhookChanges, WebhookDeletion, WebhookState},
    webhook_ref::{WebhookNames, WebhookRef},
};

/// Joins a statement whose WITH names webhooks `w` and `webhooks/show`, which selects what is shown
/// of them.
macro_rules! shown {
    ($name:literal) => {
        sql!($name, "webhooks/show")
    };
}

impl Store {
    /// Creates a webhook; `None` if there is no such topic.
    pub async fn create_webhook(
        &self,
        topic: &TopicRef,
        new: &NewWebhook,
        secret: &SecretString,
        created_by: &str,
    ) -> Result<Option<Webhook>, StoreError> {
        let start = MessageRange::starting(new.start_from);
        let first_id = start.as_ref().and_then(MessageRange::first_id);
        let since = start.as_ref().and_then(MessageRange::since);
        let parameters: super::Parameters<'_> = &[
            &topic.id(),
            &topic.name(),
            &new.name,
            &new.url,
            &secret.expose_secret(),
            &new.headers_json(),
            &new.filter,
            &new.format.map(Format::as_str),
            &new.batch_size,
            &new.max_retries,
            &new.backoff_factor,
            &new.max_backoff_seconds,
            &new.timeout_seconds,
            &new.on_exhausted.as_str(),
            &new.max_in_flight,
            &new.rate_limit_per_second,
            &start.as_ref().map(|_| start_json(first_id, since)),
            &first_id,
            &since,
            &created_by,
            &new.types,
            &new.retry_schedule,
            &new.permanent_statuses,
            &new.max_age_seconds,
            &new.breaker.as_str(),
            &new.max_owed,
            &new.on_overflow.as_str(),
        ];
        self.query_opt(shown!("webhooks/create"), parameters).await?.as_ref().map(webhook).transpose()
    }

    /// A page of the webhooks of all topics in `scope`, or of one of these topics, by rising id.
    /// `state`: only those whose health is in this state.
    pub async fn list_webhooks(
        &self,
        topic_id: Option<i64>,
        state: Option<HealthState>,
        scope: &TopicScope,
        page: Page,
    ) -> Result<Vec<Webhook>, StoreError> {
        let state = state.map(HealthState::as_str);
        let parameters: super::Parameters<'_> =
            &[&topic_id, &page.rising_from(), &page.limit, &like(scope), &state];
        let rows = self.query(shown!("webhooks/list"), parameters).await?;
        rows.iter().map(webhook).collect()
    }

    /// What names a webhook; `None` if there is none.
    pub async fn find_webhook(&self, webhook: &WebhookRef) -> Result<Option<WebhookNames>, StoreError> {
        let (id, topic, name) = match webhook {
            WebhookRef::Id(id) => (Some(*id), None, None),
            WebhookRef::Name { topic, name } => (None, Some(topic), Some(name)),
        };
        let topic = (topic.and_then(TopicRef::id), topic.and_then(TopicRef::name));
        let row = self.query_opt(sql!("webhooks/find"), &[&id, &topic.0, &topic.1, &name]).await?;
        row.map(|row| {
            Ok(WebhookNames {
                id: row.try_get("id")?,
                name: row.try_get("name")?,
                topic_id: row.try_get("topic_id")?,
                topic: row.try_get("topic")?,
            })
        })
        .transpose()
    }

    /// One webhook; `None` if there is none.
    pub async fn get_webhook(&self, id: i64) -> Result<Option<Webhook>, StoreError> {
        self.query_opt(shown!("webhooks/get"), &[&id]).await?.as_ref().map(webhook).transpose()
    }

    /// Changes a webhook; `None` if there is none. `actor` is how the audit log names who does it.
    pub async fn update_webhook(
        &self,
        id: i64,
        changes: &WebhookChanges,
        actor: &str,
    ) -> Result<Option<Webhook>, StoreError> {
        let parameters: super::Parameters<'_> =
            &[&id, &columns(changes), &changes.headers.as_ref().map(headers_json), &actor];
        let row = self.query_opt(shown!("webhooks/update"), parameters).await?;
        row.as_ref().map(webhook).transpose()
    }

    /// Deletes a webhook, its backlog and its dead letters; `None` if there is none. Background
    /// work deletes the rows later.
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

    /// Finds out whether a text is a filter.
    pub async fn check_webhook_filter(&self, filter: &str) -> Result<FilterVerdict, StoreError> {
        let Err(error) = self.query_one(sql!("webhooks/check_filter"), &[&filter]).await else {
            return Ok(FilterVerdict::Accepted);
        };
        let message = error.database_message().unwrap_or_default().to_owned();
        if error.column() == Some("filter") {
            return Ok(FilterVerdict::Refused(message));
        }
        // Nothing else in the statement can fail with these codes.
        match error.sql_code() {
            Some(code) if ["22", "42", "0A", "54"].contains(&&code[..2]) => {
                Ok(FilterVerdict::Unreadable(message))
            }
            _ => Err(error),
        }
    }
}

/// Where a webhook begins, as the request says it.
fn start_json(first_id: Option<i64>, since: Option<Timestamp>) -> String {
    let place = match (first_id, since) {
        (Some(id), _) => json!(id),
        (None, Some(time)) => json!(time.to_string()),
        (None, None) => json!("beginning"),
    };
    json!({"start_from": place}).to_string()
}

/// The changed columns as a JSON object. The headers are not in it, because their text must stay as
/// it is.
fn columns(changes: &WebhookChanges) -> String {
    let WebhookChanges {
        name,
        url,
        headers: _,
        types,
        filter,
        format,
        batch_size,
        max_retries,
        backoff_factor,
        max_backoff_seconds,
        retry_schedule,
        permanent_statuses,
        timeout_seconds,
        on_exhausted,
        breaker,
        max_in_flight,
        rate_limit_per_second,
        max_age_seconds,
        max_owed,
        on_overflow,
        paused,
        enable,
    } = changes;
    let columns = [
        ("name", name.as_ref().map(|name| json!(name))),
        ("url", url.as_ref().map(|url| json!(url))),
        ("types", types.as_ref().map(|types| json!(types))),
        ("filter", filter.as_ref().map(|filter| json!(filter))),
        ("format", format.map(|format| json!(format.as_str()))),
        ("batch_size", batch_size.map(|size| json!(size))),
        ("max_retries", max_retries.map(|number| json!(number))),
        ("backoff_factor", backoff_factor.map(|number| json!(number))),
        ("max_backoff_seconds", max_backoff_seconds.map(|number| json!(number))),
        ("retry_schedule", retry_schedule.as_ref().map(|waits| json!(waits))),
        ("permanent_statuses", permanent_statuses.as_ref().map(|statuses| json!(statuses))),
        ("timeout_seconds", timeout_seconds.map(|number| json!(number))),
        ("on_exhausted", on_exhausted.map(|choice| json!(choice.as_str()))),
        ("breaker", breaker.map(|choice| json!(choice.as_str()))),
        ("max_in_flight", max_in_flight.map(|number| json!(number))),
        ("rate_limit_per_second", rate_limit_per_second.map(|number| json!(number))),
        ("max_age_seconds", max_age_seconds.map(|number| json!(number))),
        ("max_owed", max_owed.map(|number| json!(number))),
        ("on_overflow", on_overflow.map(|choice| json!(choice.as_str()))),
        ("paused", paused.map(|paused| json!(paused))),
        ("disabled_reason", enable.then_some(Value::Null)),
    ];
    let named = columns.into_iter().filter_map(|(column, value)| Some((column.to_owned(), value?)));
    Value::Object(named.collect::<Map<_, _>>()).to_string()
}

fn webhook(row: &Row) -> Result<Webhook, StoreError> {
    Ok(Webhook {
        id: row.try_get("id")?,
        topic_id: row.try_get("topic_id")?,
        topic: row.try_get("topic")?,
        name: row.try_get("name")?,
        url: row.try_get("url")?,
        header_names: row.try_get("header_names")?,
        types: row.try_get("types")?,
        filter: row.try_get("filter")?,
        format: super::word(row, "format", Format::parse)?,
        batch_size: row.try_get("batch_size")?,
        max_retries: row.try_get("max_retries")?,
        backoff_factor: row.try_get("backoff_factor")?,
        max_backoff_seconds: row.try_get("max_backoff_seconds")?,
        retry_schedule: row.try_get("retry_schedule")?,
        permanent_statuses: row.try_get("permanent_statuses")?,
        timeout_seconds: row.try_get("timeout_seconds")?,
        on_exhausted: super::word(row, "on_exhausted", OnExhausted::parse)?,
        breaker: super::word(row, "breaker", BreakerPolicy::parse)?,
        max_in_flight: row.try_get("max_in_flight")?,
        rate_limit_per_second: row.try_get("rate_limit_per_second")?,
        max_age_seconds: row.try_get("max_age_seconds")?,
        max_owed: row.try_get("max_owed")?,
        on_overflow: super::word(row, "on_overflow", OnOverflow::parse)?,
        overflowing: row.try_get("overflowing")?,
        state: super::word(row, "state", WebhookState::parse)?,
        paused: row.try_get("paused")?,
        disabled_reason: row.try_get("disabled_reason")?,
        created_at: row.try_get("created_at")?,
        health: health(row)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_is_named_and_null_is_a_change() {
        let changes =
            WebhookChanges { filter: Some(None), max_retries: Some(Some(3)), ..WebhookChanges::default() };
        assert_eq!(columns(&changes), r#"{"filter":null,"max_retries":3}"#);
        assert_eq!(columns(&WebhookChanges::default()), "{}");
    }
}
