//! What is still owed.

use tokio_postgres::Row;

use super::{
    Store,
    error::StoreError,
    statement::sql,
    topics::{COUNT_TO, capped, like},
};
use crate::domain::{drain::OwedWebhook, scope::TopicScope};

impl Store {
    /// The webhooks that are owed something: of a topic, or one, or all of `scope`.
    pub async fn list_remaining(
        &self,
        topic_id: Option<i64>,
        webhook_id: Option<i64>,
        scope: &TopicScope,
    ) -> Result<Vec<OwedWebhook>, StoreError> {
        let parameters: super::Parameters<'_> = &[&topic_id, &webhook_id, &COUNT_TO, &like(scope)];
        self.query(sql!("drain/list_remaining"), parameters).await?.iter().map(webhook).collect()
    }
}

fn webhook(row: &Row) -> Result<OwedWebhook, StoreError> {
    let (owed, owed_capped) = capped(row.try_get("owed")?);
    Ok(OwedWebhook {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        topic: row.try_get("topic")?,
        starting: row.try_get("starting")?,
        paused: row.try_get("paused")?,
        disabled: row.try_get("disabled")?,
        held: row.try_get("held")?,
        owed,
        owed_capped,
        halted_lanes: capped(row.try_get("halted_lanes")?).0,
        moves: row.try_get("moves")?,
    })
}
