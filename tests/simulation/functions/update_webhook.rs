//! `sql/webhooks/update.sql`, as far as the protocol knows it, and the pause of a topic.

use super::list_webhooks_of_topics::webhooks_changed;
use crate::postgres::{
    error::Result,
    session::Session,
    tables::{Pause, Topic, Webhook},
};

/// Pauses or resumes a webhook. False: there is no such webhook.
pub(crate) async fn pause_webhook(session: &Session, webhook: i64, paused: bool) -> Result<bool> {
    update_webhook(session, webhook, |row| Webhook { paused, ..row.clone() }).await
}

/// Has a webhook keep the latest message of each lane, or not. False: there is no such webhook.
pub(crate) async fn keep_latest(session: &Session, webhook: i64, latest: bool) -> Result<bool> {
    update_webhook(session, webhook, |row| Webhook { latest, ..row.clone() }).await
}

async fn update_webhook(
    session: &Session,
    webhook: i64,
    change: impl Fn(&Webhook) -> Webhook,
) -> Result<bool> {
    let statement = session.statement().await?;
    let found = statement.read(|view| view.find::<Webhook>(&webhook).map(|(place, _)| place));
    let changed = match found {
        Some(place) => statement.update(place, |row: &Webhook| Some(change(row))).await?,
        None => None,
    };
    webhooks_changed(session)?;
    Ok(changed.is_some())
}

/// Creates a topic.
pub(crate) async fn create_topic(session: &Session, ordered: bool) -> Result<i64> {
    let id = {
        let state = &mut *session.database().state();
        state.sequences.topic_ids.next(&mut state.lsn)
    };
    let webhook_ids = Some(std::rc::Rc::from([]));
    session.statement().await?.insert(Topic { id, ordered, paused: None, webhook_ids }).await?;
    Ok(id)
}

/// Pauses or resumes a topic. False: there is no such topic.
pub(crate) async fn pause_topic(session: &Session, topic: i64, paused: Option<Pause>) -> Result<bool> {
    let statement = session.statement().await?;
    let found = statement.read(|view| view.find::<Topic>(&topic).map(|(place, _)| place));
    let changed = match found {
        Some(place) => statement.update(place, |row: &Topic| Some(Topic { paused, ..row.clone() })).await?,
        None => None,
    };
    webhooks_changed(session)?;
    Ok(changed.is_some())
}
