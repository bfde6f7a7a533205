//! `sql/webhooks/create.sql` and `delete.sql`: webhooks come and go, with their triggers.

use super::list_webhooks_of_topics::list_webhooks_of_topics;
use crate::postgres::{
    error::{Error, Result},
    row_lock::{Locked, RowLock},
    session::Session,
    tables::{Topic, Webhook},
};

/// Subscribes to a topic. Returns the webhook's id; nothing if there is no such topic.
pub(crate) async fn create_webhook(session: &Session, topic: i64, types: Option<u8>) -> Result<Option<i64>> {
    let statement = session.statement().await?;
    let Some(place) = statement.read(|view| view.find::<Topic>(&topic).map(|(place, _)| place)) else {
        list_webhooks_of_topics(session, None).await?;
        return Ok(None);
    };
    let id = {
        let state = &mut *session.database().state();
        state.sequences.webhook_ids.next(&mut state.lsn)
    };
    statement.insert(Webhook { id, topic, types, starting: false, paused: false, disabled: false }).await?;
    // The foreign key.
    let referenced = statement.lock(place, RowLock::KeyShare, Locked::Wait, |_: &Topic| true).await?;
    referenced.ok_or(Error::ForeignKey)?;
    list_webhooks_of_topics(session, Some(topic)).await?;
    Ok(Some(id))
}

/// Deletes a webhook. What it was owed goes later. False: there is no such webhook.
pub(crate) async fn delete_webhook(session: &Session, webhook: i64) -> Result<bool> {
    let statement = session.statement().await?;
    let found = statement.read(|view| view.find::<Webhook>(&webhook).map(|(place, _)| place));
    let deleted = match found {
        Some(place) => statement.delete(place, |_: &Webhook| true).await?,
        None => None,
    };
    let is_deleted = deleted.is_some();
    list_webhooks_of_topics(session, deleted.map(|webhook| webhook.topic)).await?;
    Ok(is_deleted)
}
