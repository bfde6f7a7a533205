//! Dead letters: list, count, group, read, replay, discard.

use tokio_postgres::Row;

use super::{Store, error::StoreError, messages::raw_json, optional_word, statement::sql, topics::like};
use crate::domain::{
    attempt::ErrorClass,
    dead_letter::{DeadLetter, DeadLetterDetail, DeadLetterFilter, DeadLetterGroup, Reason},
    operation::{DiscardOutcome, ReplayOutcome},
    page::{Items, Page},
    scope::TopicScope,
    topic::TopicRef,
};

/// How many dead letters one page looks at.
const SCANNED: i64 = 10_000;

/// What a replay did for one dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayedDeadLetter {
    /// The dead letter.
    pub id: i64,
    /// Its webhook and its message; `None` if there is no such dead letter.
    pub delivery: Option<(i64, i64)>,
    /// What became of it.
    pub outcome: ReplayOutcome,
}

/// Calls `$run` with the parameters of a filter and a scope, and further ones.
macro_rules! with_filter {
    ($filter:ident, $scope:ident, [$($more:expr),* $(,)?], |$parameters:ident| $run:expr) => {{
        let topic = $filter.topic.as_ref();
        let $parameters: super::Parameters<'_> = &[
            &topic.and_then(TopicRef::id),
            &topic.and_then(TopicRef::name),
            &$filter.webhook_id,
            &like($scope),
            &$filter.partition_key,
            &$filter.message_type,
            &$filter.reason.map(Reason::as_str),
            &$filter.error_class.map(ErrorClass::as_str),
            &$filter.status_code,
            &$filter.since,
            &$filter.until,
            $(&$more),*
        ];
        $run
    }};
}

impl Store {
    /// A page of the dead letters of `scope`, newest first.
    pub async fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        scope: &TopicScope,
        page: Page,
    ) -> Result<Items<DeadLetter>, StoreError> {
        let rows = with_filter!(filter, scope, [page.falling_from(), SCANNED, page.limit], |parameters| {
            self.query(sql!("dead_letters/list"), parameters).await?
        });
        let items = super::rows_under_parent(&rows, "id", dead_letter)?.unwrap_or_default();
        super::scanned_page(&rows, items, page, |dead_letter| dead_letter.id)
    }

    /// How many dead letters of `scope` there are. The count is exact.
    pub async fn count_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        scope: &TopicScope,
    ) -> Result<i64, StoreError> {
        let row = with_filter!(filter, scope, [], |parameters| {
            self.query_one(sql!("dead_letters/count"), parameters).await?
        });
        Ok(row.try_get("count")?)
    }

    /// The newest groups of the dead letters of `scope`. Of each webhook the newest `look_at` are
    /// looked at.
    pub async fn list_dead_letter_groups(
        &self,
        filter: &DeadLetterFilter,
        scope: &TopicScope,
        look_at: i64,
        limit: i64,
    ) -> Result<Vec<DeadLetterGroup>, StoreError> {
        let rows = with_filter!(filter, scope, [look_at, limit], |parameters| {
            self.query(sql!("dead_letters/list_groups"), parameters).await?
        });
        rows.iter().map(group).collect()
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

    /// Delivers dead letters once more, at most 1,000 of them. `waits`: waits for their stripes, up
    /// to a second; for one dead letter only.
    pub async fn replay_dead_letters(
        &self,
        ids: &[i64],
        waits: bool,
    ) -> Result<Vec<ReplayedDeadLetter>, StoreError> {
        let rows = self.query(sql!("dead_letters/replay"), &[&ids, &waits]).await?;
        let replayed = rows.iter().map(|row| {
            let webhook_id: Option<i64> = row.try_get("webhook_id")?;
            Ok(ReplayedDeadLetter {
                id: row.try_get("dead_letter_id")?,
                delivery: webhook_id.zip(row.try_get("message_id")?),
                outcome: super::word(row, "outcome", ReplayOutcome::parse)?,
            })
        });
        replayed.collect()
    }

    /// Deletes dead letters, at most 1,000 of them.
    pub async fn discard_dead_letters(&self, ids: &[i64]) -> Result<Vec<(i64, DiscardOutcome)>, StoreError> {
        let rows = self.query(sql!("dead_letters/discard"), &[&ids]).await?;
        let discarded = rows.iter().map(|row| {
            Ok((row.try_get("dead_letter_id")?, super::word(row, "outcome", DiscardOutcome::parse)?))
        });
        discarded.collect()
    }
}

fn dead_letter(row: &Row) -> Result<DeadLetter, StoreError> {
    Ok(DeadLetter {
        id: row.try_get("id")?,
        webhook_id: row.try_get("webhook_id")?,
        webhook: row.try_get("webhook")?,
        topic: row.try_get("topic")?,
        message_id: row.try_get("message_id")?,
        partition_key: row.try_get("partition_key")?,
        message_type: row.try_get("type")?,
        reason: super::word(row, "reason", Reason::parse)?,
        attempts: row.try_get("attempts")?,
        error_class: optional_word(row, "error_class", ErrorClass::parse)?,
        status_code: row.try_get("status_code")?,
        last_error: row.try_get("last_error")?,
        created_at: row.try_get("created_at")?,
        message_gone: row.try_get("message_gone")?,
    })
}

fn group(row: &Row) -> Result<DeadLetterGroup, StoreError> {
    Ok(DeadLetterGroup {
        webhook_id: row.try_get("webhook_id")?,
        webhook: row.try_get("webhook")?,
        topic: row.try_get("topic")?,
        reason: super::word(row, "reason", Reason::parse)?,
        error_class: optional_word(row, "error_class", ErrorClass::parse)?,
        status_code: row.try_get("status_code")?,
        hour: row.try_get("hour")?,
        count: row.try_get("count")?,
        first_at: row.try_get("first_at")?,
        last_at: row.try_get("last_at")?,
        sample_id: row.try_get("sample_id")?,
        sample_error: row.try_get("sample_error")?,
        capped: row.try_get("capped")?,
    })
}
