//! Messages: publish, list, read.

use std::time::Duration;

use serde_json::value::RawValue;
use tokio_postgres::{Row, error::SqlState};

use super::{Store, error::StoreError, statement::sql};
use crate::domain::{
    delivery::{DeliveryStatus, MessageDelivery},
    key::PARTITION_KEY_DEFAULT,
    message::{
        LOOKED_AT_MAX, MessageFilter, MessageStatus, MessageSummary, NewMessage, Preview, Published,
        PublishedBatch,
    },
    page::{Items, Page},
    topic::TopicRef,
};

/// How often a publish is tried if it loses a race against another one.
const PUBLISH_TRIES: u32 = 5;
/// How many deliveries of one message are shown at most.
const DELIVERIES_SHOWN: i64 = 1000;

impl Store {
    /// Publishes a message. If its idempotency key was used before, publishes nothing and gives the
    /// first message with that key. `None` if there is no such topic.
    ///
    /// # Errors
    /// SQLSTATE 55000 if the topic is paused, 54000 if it accepts no payload of this size, and the
    /// error of the type `json` if that refuses the payload. [`StoreError::refusal`] tells them
    /// apart.
    pub async fn publish_message(
        &self,
        topic: &TopicRef,
        message: &NewMessage,
    ) -> Result<Option<Published>, StoreError> {
        let headers = message.headers_json();
        let parameters: super::Parameters<'_> = &[
            &topic.id(),
            &topic.name(),
            &message.partition_key,
            &message.payload.get(),
            &headers,
            &message.idempotency_key,
            &message.r#type,
        ];
        let rows = match self.query_publishing(sql!("messages/publish"), parameters).await {
            Err(error) => {
                let key = message.partition_key.as_deref().unwrap_or(PARTITION_KEY_DEFAULT);
                return Err(self.name_holders(error, topic, &[key]).await);
            }
            rows => rows?,
        };
        rows.first()
            .map(|row| {
                Ok(Published {
                    id: row.try_get("id")?,
                    topic: row.try_get("topic")?,
                    partition_key: row.try_get("partition_key")?,
                    created_at: row.try_get("created_at")?,
                    repeated: row.try_get("repeated")?,
                })
            })
            .transpose()
    }

    /// Which webhooks a message would be owed to.
    ///
    /// # Errors
    /// The error of the type `json` if that refuses the payload.
    pub async fn preview_message(
        &self,
        topic: &TopicRef,
        message: &NewMessage,
    ) -> Result<Vec<Preview>, StoreError> {
        let parameters: super::Parameters<'_> =
            &[&topic.id(), &topic.name(), &message.r#type, &message.payload.get(), &DELIVERIES_SHOWN];
        let rows = self.query(sql!("messages/preview"), parameters).await?;
        let preview = |row: &Row| {
            Ok(Preview {
                webhook_id: row.try_get("webhook_id")?,
                types_match: row.try_get("types_match")?,
                filter_matches: row.try_get("filter_matches")?,
                filter_evaluated: row.try_get("filter_evaluated")?,
            })
        };
        rows.iter().map(preview).collect()
    }

    /// Publishes a message with the SQL function `publish`, as an application does. Returns its id.
    ///
    /// # Errors
    /// SQLSTATE 23503 if there is no such topic. Others as [`Store::publish_message`].
    pub async fn publish(&self, topic: &str, partition_key: &str, payload: &str) -> Result<i64, StoreError> {
        Ok(self
            .query_one(sql!("messages/call_publish"), &[&topic, &partition_key, &payload])
            .await?
            .try_get(0)?)
    }

    /// Publishes at least one message, all or none. Returns their ids in the order of `messages`,
    /// and the topic's name.
    /// `None` if there is no such topic.
    ///
    /// # Errors
    /// As [`Store::publish_message`].
    pub async fn publish_batch(
        &self,
        topic: &TopicRef,
        messages: &[NewMessage],
    ) -> Result<Option<PublishedBatch>, StoreError> {
        let partition_keys: Vec<_> =
            messages.iter().map(|message| message.partition_key.as_deref()).collect();
        let payloads: Vec<_> = messages.iter().map(|message| message.payload.get()).collect();
        let headers: Vec<_> = messages.iter().map(NewMessage::headers_json).collect();
        let keys: Vec<_> = messages.iter().map(|message| message.idempotency_key.as_deref()).collect();
        let types: Vec<_> = messages.iter().map(|message| message.r#type.as_deref()).collect();
        let parameters: super::Parameters<'_> =
            &[&topic.id(), &topic.name(), &partition_keys, &payloads, &headers, &keys, &types];
        let rows = match self.query_publishing(sql!("messages/publish_batch"), parameters).await {
            Err(error) => {
                let keys: Vec<_> =
                    partition_keys.iter().map(|key| key.unwrap_or(PARTITION_KEY_DEFAULT)).collect();
                return Err(self.name_holders(error, topic, &keys).await);
            }
            rows => rows?,
        };
        let Some(first) = rows.first() else { return Ok(None) };
        let ids = rows.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?;
        Ok(Some(PublishedBatch { topic: first.try_get("topic")?, ids }))
    }

    /// Runs a statement that publishes. Runs it again if another transaction got in its way: by a
    /// deadlock, or by using the same idempotency key at the same instant, which the next try
    /// finds.
    async fn query_publishing(
        &self,
        statement: &'static str,
        parameters: super::Parameters<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        let mut tries = 1;
        loop {
            // The semaphore is never closed, so a permit always comes.
            let permit = self.publishing.acquire().await;
            let outcome = self.query(statement, parameters).await;
            drop(permit);
            match outcome {
                Err(error) if tries < PUBLISH_TRIES && is_lost_race(&error) => {
                    // Each waits for a random time, so that they do not collide again.
                    let most = 10 << tries;
                    tokio::time::sleep(Duration::from_millis(rand::random_range(1..most))).await;
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// A page of a topic's messages, newest first; `None` if there is no such topic.
    pub async fn list_messages(
        &self,
        topic: &TopicRef,
        filter: &MessageFilter,
        page: Page,
    ) -> Result<Option<Items<MessageSummary>>, StoreError> {
        let MessageFilter { partition_key, message_type, since, until } = filter;
        let parameters: super::Parameters<'_> = &[
            &topic.id(),
            &topic.name(),
            &page.falling_from(),
            &page.limit,
            &LOOKED_AT_MAX,
            partition_key,
            message_type,
            since,
            until,
        ];
        let rows = self.query(sql!("messages/list"), parameters).await?;
        let Some(items) = super::rows_under_parent(&rows, "id", summary)? else { return Ok(None) };
        super::scanned_page(&rows, items, page, |message| message.id).map(Some)
    }

    /// One message with its payload and its deliveries; `None` if there is none.
    pub async fn get_message(&self, id: i64) -> Result<Option<MessageStatus>, StoreError> {
        let row = self.query_opt(sql!("messages/get"), &[&id, &DELIVERIES_SHOWN]).await?;
        row.as_ref().map(status).transpose()
    }
}

fn is_lost_race(error: &StoreError) -> bool {
    error.sql_state() == Some(&SqlState::T_R_DEADLOCK_DETECTED)
        || error.constraint() == Some("messages_idempotency_key")
            && error.sql_state() == Some(&SqlState::UNIQUE_VIOLATION)
}

/// A JSON text from the database, byte for byte.
pub(super) fn raw_json(text: String) -> Result<Box<RawValue>, StoreError> {
    RawValue::from_string(text).map_err(|error| StoreError::Unexpected(format!("a json column: {error}")))
}

fn delivery_status(word: &str) -> Result<DeliveryStatus, StoreError> {
    DeliveryStatus::parse(word).ok_or_else(|| StoreError::Unexpected(format!("delivery status {word:?}")))
}

fn summary(row: &Row) -> Result<MessageSummary, StoreError> {
    Ok(MessageSummary {
        id: row.try_get("id")?,
        partition_key: row.try_get("partition_key")?,
        r#type: row.try_get("type")?,
        idempotency_key: row.try_get("idempotency_key")?,
        created_at: row.try_get("created_at")?,
    })
}

fn status(row: &Row) -> Result<MessageStatus, StoreError> {
    // An aggregate over no rows is null.
    let webhook_ids: Vec<i64> = row.try_get::<_, Option<_>>("webhook_ids")?.unwrap_or_default();
    let statuses: Vec<&str> = row.try_get::<_, Option<_>>("statuses")?.unwrap_or_default();
    let attempts: Vec<i64> = row.try_get::<_, Option<_>>("attempts")?.unwrap_or_default();
    let deliveries = webhook_ids
        .into_iter()
        .zip(statuses)
        .zip(attempts)
        .map(|((webhook_id, status), attempts)| {
            Ok(MessageDelivery { webhook_id, status: delivery_status(status)?, attempts })
        })
        .collect::<Result<_, StoreError>>()?;
    Ok(MessageStatus {
        id: row.try_get("id")?,
        topic: row.try_get("topic")?,
        partition_key: row.try_get("partition_key")?,
        r#type: row.try_get("type")?,
        idempotency_key: row.try_get("idempotency_key")?,
        created_at: row.try_get("created_at")?,
        payload: raw_json(row.try_get("payload")?)?,
        headers: row.try_get::<_, Option<_>>("headers")?.map(raw_json).transpose()?,
        deliveries,
    })
}
