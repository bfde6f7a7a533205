//! Topics: create, list, read, put, change, delete.

use tokio_postgres::Row;

use super::{Store, error::StoreError, statement::sql};
use crate::domain::{
    page::Page,
    scope::{TopicPattern, TopicScope},
    topic::{
        DeletedTopic, NewTopic, Ordering, Topic, TopicChanges, TopicDeletion, TopicPause, TopicPut, TopicRef,
        TopicStatus,
    },
};

/// Where counting stops: one more than the largest count that is shown.
pub(super) const COUNT_TO: i64 = 10_001;

impl Store {
    /// Creates a topic.
    ///
    /// # Errors
    /// SQLSTATE 23505 on `topics_name_key` if the name is taken ([`super::Refusal::TopicExists`]).
    pub async fn create_topic(&self, new: &NewTopic) -> Result<Topic, StoreError> {
        let parameters: super::Parameters<'_> = &[&new.name, &new.ordering.as_str(), &new.retention_seconds];
        topic(&self.query_one(sql!("topics/create"), parameters).await?)
    }

    /// A page of the topics of `scope`, by rising id.
    pub async fn list_topics(&self, scope: &TopicScope, page: Page) -> Result<Vec<Topic>, StoreError> {
        let parameters: super::Parameters<'_> = &[&page.rising_from(), &page.limit, &like(scope)];
        let rows = self.query(sql!("topics/list"), parameters).await?;
        rows.iter().map(topic).collect()
    }

    /// The id and the name of a topic; `None` if there is none.
    pub async fn find_topic(&self, named: &TopicRef) -> Result<Option<(i64, String)>, StoreError> {
        let row = self.query_opt(sql!("topics/find"), &[&named.id(), &named.name()]).await?;
        row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
    }

    /// One topic and its backlog; `None` if there is none.
    pub async fn get_topic(&self, named: &TopicRef) -> Result<Option<TopicStatus>, StoreError> {
        let row = self.query_opt(sql!("topics/get"), &[&named.id(), &named.name(), &COUNT_TO]).await?;
        row.map(|row| {
            let (backlog, backlog_capped) = capped(row.try_get("backlog")?);
            Ok(TopicStatus { topic: topic(&row)?, backlog, backlog_capped })
        })
        .transpose()
    }

    /// Creates a topic, or changes the one of that name. `actor` is how the audit log names who
    /// does it.
    ///
    /// # Errors
    /// SQLSTATE 23505 on `topics_name_key` if somebody else has just created it
    /// ([`super::Refusal::TopicExists`]).
    pub async fn put_topic(
        &self,
        name: &str,
        ordering: Option<Ordering>,
        changes: &TopicChanges,
        actor: &str,
    ) -> Result<TopicPut, StoreError> {
        let TopicChanges { retention_seconds, paused } = changes;
        let parameters: super::Parameters<'_> = &[
            &name,
            &ordering.map(Ordering::as_str),
            &retention_seconds.is_some(),
            &retention_seconds.flatten(),
            &paused.is_some(),
            &paused.flatten().map(TopicPause::as_str),
            &actor,
        ];
        let row = self.query_one(sql!("topics/put"), parameters).await?;
        let known = match row.try_get::<_, Option<&str>>("known_ordering")? {
            Some(_) => Some(super::word(&row, "known_ordering", Ordering::parse)?),
            None => None,
        };
        match known {
            None => topic(&row).map(TopicPut::Created),
            Some(known) if ordering.is_some_and(|asked| asked != known) => Ok(TopicPut::OtherOrdering(known)),
            Some(_) if row.try_get::<_, Option<i64>>("id")?.is_none() => Ok(TopicPut::Deleted),
            Some(_) => topic(&row).map(TopicPut::Updated),
        }
    }

    /// Changes a topic; `None` if there is none. `actor` is how the audit log names who does it.
    pub async fn update_topic(
        &self,
        named: &TopicRef,
        changes: &TopicChanges,
        actor: &str,
    ) -> Result<Option<Topic>, StoreError> {
        let TopicChanges { retention_seconds, paused } = changes;
        let parameters: super::Parameters<'_> = &[
            &named.id(),
            &named.name(),
            &retention_seconds.is_some(),
            &retention_seconds.flatten(),
            &paused.is_some(),
            &paused.flatten().map(TopicPause::as_str),
            &actor,
        ];
        self.query_opt(sql!("topics/update"), parameters).await?.as_ref().map(topic).transpose()
    }

    /// Deletes a topic. With `force` it also deletes the topic's webhooks. Without `force` a topic
    /// that has webhooks stays.
    pub async fn delete_topic(&self, named: &TopicRef, force: bool) -> Result<TopicDeletion, StoreError> {
        let Some(row) = self.query_opt(sql!("topics/delete"), &[&named.id(), &named.name(), &force]).await?
        else {
            return Ok(TopicDeletion::Unknown);
        };
        let webhooks = row.try_get("webhooks")?;
        if !row.try_get::<_, bool>("is_deleted")? {
            return Ok(TopicDeletion::InUse(webhooks));
        }
        let dropped_deliveries = row.try_get("dropped_deliveries")?;
        Ok(TopicDeletion::Deleted(DeletedTopic { webhooks, dropped_deliveries }))
    }
}

/// The LIKE patterns of the names in a scope; `None` for all names.
pub(super) fn like(scope: &TopicScope) -> Option<Vec<String>> {
    // Of the characters of a name, LIKE reads `_` as something else.
    let pattern = |pattern: &TopicPattern| match pattern {
        TopicPattern::Name(name) => name.replace('_', r"\_"),
        TopicPattern::Start(start) => start.replace('_', r"\_") + "%",
    };
    match scope {
        TopicScope::All => None,
        TopicScope::Only(patterns) => Some(patterns.iter().map(pattern).collect()),
    }
}

/// A count that stopped at [`COUNT_TO`], as it is shown: at most one less, and whether there are
/// more.
pub(super) fn capped(count: i64) -> (i64, bool) {
    (count.min(COUNT_TO - 1), count >= COUNT_TO)
}

fn topic(row: &Row) -> Result<Topic, StoreError> {
    Ok(Topic {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        ordering: super::word(row, "ordering", Ordering::parse)?,
        retention_seconds: row.try_get("retention_seconds")?,
        paused: match row.try_get::<_, Option<&str>>("paused")? {
            Some(_) => Some(super::word(row, "paused", TopicPause::parse)?),
            None => None,
        },
        created_at: row.try_get("created_at")?,
    })
}
