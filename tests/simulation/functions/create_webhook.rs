//! `sql/webhooks/create.sql` and `delete.sql`: webhooks come and go, with their triggers.

use super::list_webhooks_of_topics::list_webhooks_of_topics;
use crate::postgres::{
    error::{Error, Result},
    row_lock::{Locked, RowLock},
    session::Session,
    tables::{Job, JobState, Message, Topic, Webhook},
};

/// Subscribes to a topic. Returns the webhook's id; nothing if there is no such topic. A webhook that
/// is starting has a job that fills it.
pub(crate) async fn create_webhook(
    session: &Session,
    topic: i64,
    types: Option<u8>,
    starting: bool,
) -> Result<Option<i64>> {
    let statement = session.statement().await?;
    let Some(place) = statement.read(|view| view.find::<Topic>(&topic).map(|(place, _)| place)) else {
        list_webhooks_of_topics(session, None).await?;
        return Ok(None);
    };
    let id = {
        let state = &mut *session.database().state();
        state.sequences.webhook_ids.next(&mut state.lsn)
    };
    let (paused, disabled, latest, hold_until) = (false, false, false, None);
    statement.insert(Webhook { id, topic, types, starting, paused, disabled, hold_until, latest }).await?;
    if starting {
        let job = {
            let state = &mut *session.database().state();
            state.sequences.job_ids.next(&mut state.lsn)
        };
        let until = statement.read(|view| view.range::<Message>(..).next_back().map_or(0, |(_, row)| row.id));
        let state = JobState::Queued;
        let (left, done, already_owed) = (Vec::new(), 0, 0);
        statement
            .insert(Job { id: job, topic, webhook: id, state, after: 0, until, left, done, already_owed })
            .await?;
    }
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
