//! The newest messages and attempts, for those who watch.

use std::collections::BTreeMap;

use tokio_postgres::Row;

use super::{Store, error::StoreError, statement::sql};
use crate::domain::{
    attempt::{ErrorClass, Outcome},
    tail::{Place, Seen, TailAttempt, TailItem, TailMessage},
};

/// How many messages one look returns.
const MESSAGES_SEEN: i64 = 1000;
/// How many pages of a partition of the attempt log one look reads: about 1,600 attempts.
const PAGES_SEEN: i64 = 32;

/// What one look returns.
pub struct Newest {
    /// Where each of the newest items stands.
    pub places: Seen,
    /// Those of a topic or webhook that is watched, oldest first: the place, the id of the topic or
    /// webhook, and the item.
    pub items: Vec<(Place, i64, TailItem)>,
}

impl Store {
    /// The newest messages. `topics` are watched.
    pub async fn list_newest_messages(&self, topics: &[i64]) -> Result<Newest, StoreError> {
        let rows = self.query(sql!("tail/list_messages"), &[&MESSAGES_SEEN, &topics]).await?;
        let is_full = i64::try_from(rows.len()).is_ok_and(|length| length >= MESSAGES_SEEN);
        let (mut places, mut items) = (Vec::new(), Vec::new());
        for row in rows.iter().rev() {
            let (place, topic_id) = ((0, row.try_get("id")?), row.try_get("topic_id")?);
            if topics.contains(&topic_id) {
                items.push((place, topic_id, TailItem::Message(message(row)?)));
            }
            places.push(place);
        }
        Ok(Newest { places: Seen::new(places, is_full), items })
    }

    /// The newest attempts. `webhooks` are watched.
    pub async fn list_newest_attempts(&self, webhooks: &[i64]) -> Result<Newest, StoreError> {
        let rows = self.query(sql!("tail/list_attempts"), &[&PAGES_SEEN, &webhooks]).await?;
        let by_place: BTreeMap<Place, &Row> = rows
            .iter()
            .map(|row| Ok(((row.try_get("partition")?, row.try_get("place")?), row)))
            .collect::<Result<_, StoreError>>()?;
        let mut items = Vec::new();
        for (place, row) in &by_place {
            let webhook_id = row.try_get("webhook_id")?;
            if webhooks.contains(&webhook_id) {
                items.push((*place, webhook_id, TailItem::Attempt(attempt(row)?)));
            }
        }
        Ok(Newest { places: Seen::new(by_place.into_keys(), true), items })
    }
}

fn message(row: &Row) -> Result<TailMessage, StoreError> {
    Ok(TailMessage {
        id: row.try_get("id")?,
        partition_key: row.try_get("partition_key")?,
        r#type: row.try_get("type")?,
        created_at: row.try_get("created_at")?,
        size_bytes: row.try_get("size_bytes")?,
    })
}

fn attempt(row: &Row) -> Result<TailAttempt, StoreError> {
    let error_class = match row.try_get::<_, Option<&str>>("error_class")? {
        Some(_) => Some(super::word(row, "error_class", ErrorClass::parse)?),
        None => None,
    };
    Ok(TailAttempt {
        message_id: row.try_get("message_id")?,
        attempt: row.try_get("attempt")?,
        outcome: super::word(row, "outcome", Outcome::parse)?,
        status_code: row.try_get("status_code")?,
        error_class,
        error: row.try_get("error")?,
        duration_ms: super::deliveries::milliseconds(row)?,
        worker_id: row.try_get("worker_id")?,
        attempted_at: row.try_get("attempted_at")?,
    })
}
