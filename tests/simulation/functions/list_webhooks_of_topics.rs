//! `list_webhooks_of_topics`, and what else the triggers on `webhooks` do.

use std::rc::Rc;

use crate::postgres::{
    error::Result,
    notify::Notification,
    row_lock::{Locked, RowLock},
    session::Session,
    tables::{Topic, Webhook},
};

/// Writes `topics.webhook_ids` of a topic again, if there is one.
pub(super) async fn list_webhooks_of_topics(session: &Session, topic: Option<i64>) -> Result<()> {
    session.break_point().await?;
    let statement = session.statement().await?;
    let found = statement.read(|view| view.find::<Topic>(&topic?).map(|(place, _)| place));
    if let Some(place) = found {
        statement.lock(place, RowLock::NoKeyUpdate, Locked::Wait, |_: &Topic| true).await?;
    }
    session.break_point().await?;
    let statement = session.statement().await?;
    let found = statement.read(|view| {
        let topic = topic?;
        let webhooks =
            || view.range::<Webhook>(..).map(|(_, webhook)| webhook).filter(|webhook| webhook.topic == topic);
        let plain = webhooks().all(|webhook| webhook.types.is_none());
        let ids: Rc<[i64]> = webhooks().map(|webhook| webhook.id).collect();
        view.find::<Topic>(&topic).map(|(place, _)| (place, plain.then_some(ids)))
    });
    if let Some((place, webhook_ids)) = found {
        let listed = |topic: &Topic| Some(Topic { webhook_ids: webhook_ids.clone(), ..topic.clone() });
        statement.update(place, listed).await?;
    }
    webhooks_changed(session)
}

/// Tells the workers to load the webhooks again.
pub(super) fn webhooks_changed(session: &Session) -> Result<()> {
    if session.database().settings().notifies { session.notify(Notification::Webhooks) } else { Ok(()) }
}
