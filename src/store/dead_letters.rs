//! Dead letters: list, count, read.

use tokio_postgres::Row;

use super::{Store, error::StoreError, messages::raw_json, statement::sql, topics::like};
use crate::domain::{
    dead_letter::{DeadLetter, DeadLetterDetail, DeadLetterFilter, Reason},
    page::Page,
    scope::TopicScope,
    topic::TopicRef,
};

impl Store {
    /// A page of the dead letters of `scope`, newest first.
    pub async fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        scope: &TopicScope,
        page: Page,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let topic = filter.topic.as_ref();
        let parameters: super::Parameters<'_> = &[
            &topic.and_then(TopicRef::id),
            &topic.and_then(TopicRef::name),
            &filter.webhook_id,
            &page.falling_from(),
            &page.limit,
            &like(scope),
        ];
        let rows = self.query(sql!("dead_letters/list"), parameters).await?;
        rows.iter().map(dead_letter).collect()
    }

    /// How many dead letters of `scope` there are. The count is exact.
    pub async fn count_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        scope: &TopicScope,
    ) -> Result<i64, StoreError> {
        let topic = filter.topic.as_ref();
        let parameters: super::Parameters<'_> = &[
            &topic.and_then(TopicRef::id),
            &topic.and_then(TopicRef::name),
            &filter.webhook_id,
            &like(scope),
        ];
        Ok(self.query_one(sql!("dead_letters/count"), parameters).await?.try_get("count")?)
    }

    /// One dead letter with its message's payload and headers; `None` if there is none.
    pub async fn get_dead_letter(&self, id: i64) -> Result<Option<DeadLetterDetail>, StoreError> {
        let row = self.query_opt(sql!("dead_letters/get"), &[&id]).await?;
        row.map(|row| {
            Ok(DeadLetterDetail {
                dead_letter: dead_letter(&row)?,
                payload: row.try_get::<_, Option<_>>("payload")?.map(raw_json).transpose()?,
                headers: row.try_get::<_, Option<_>>("headers")?.map(raw_json).transpose()?,
            })
        })
        .transpose()
    }
}

fn dead_letter(row: &Row) -> Result<DeadLetter, StoreError> {
    Ok(DeadLetter {
        id: row.try_get("id")?,
        webhook_id: row.try_get("webhook_id")?,
        topic: row.try_get("topic")?,
        message_id: row.try_get("message_id")?,
        partition_key: row.try_get("partition_key")?,
        reason: super::word(row, "reason", Reason::parse)?,
        attempts: row.try_get("attempts")?,
        last_error: row.try_get("last_error")?,
        created_at: row.try_get("created_at")?,
    })
}
