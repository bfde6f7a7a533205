//! `messages_publish`, and the INSERT into `messages` around it.

use super::{
    guards::Guard, matching_webhooks::matching_webhooks, messages_fan_out::messages_fan_out,
    notify_workers::notify_workers, stripe,
};
use crate::postgres::{
    error::{Error, Result},
    session::Session,
    tables::{Delivery, Lane, Message, Pause, Topic},
    transaction::Level,
};

/// A message to publish.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publication {
    pub(crate) topic: i64,
    pub(crate) key: u32,
    pub(crate) kind: Option<u8>,
    pub(crate) idempotency_key: Option<u32>,
}

/// INSERT INTO messages ... ON CONFLICT DO NOTHING RETURNING id, where there is an idempotency key;
/// a plain INSERT otherwise.
pub(crate) async fn insert_message(session: &Session, publication: &Publication) -> Result<Option<i64>> {
    let insert = session.statement().await?;
    let message = messages_publish(session, publication).await?;
    let id = message.id;
    if message.idempotency_key.is_some() {
        return Ok(insert.insert_or_ignore(message).await?.then_some(id));
    }
    insert.insert(message).await?;
    Ok(Some(id))
}

async fn messages_publish(session: &Session, publication: &Publication) -> Result<Message> {
    let guards = session.database().guards();
    session.break_point().await?;
    let topic = session.statement().await?.read(|view| view.get::<Topic>(&publication.topic).cloned());
    let topic = topic.ok_or(Error::ForeignKey)?;
    if topic.paused == Some(Pause::Refuse) {
        return Err(Error::NotInState);
    }

    let mut lane = session.database().lane(publication.topic, publication.key);
    let stripe = stripe(&topic, lane);
    let next_id = || {
        let state = &mut *session.database().state();
        state.sequences.message_ids.next(&mut state.lsn)
    };
    session.break_point().await?;
    let early = (!guards.has(Guard::LockBeforeId)).then(next_id);
    if let Some(stripe) = stripe {
        session.advisory_lock(stripe).await?;
    }
    let id = early.unwrap_or_else(next_id);
    if stripe.is_none() {
        lane = id;
    }
    session.break_point().await?;
    let newer = session.statement().await?.read(|view| view.get::<Topic>(&publication.topic).cloned());
    let subscribed = if guards.has(Guard::SubscribersAfterLock) { newer } else { Some(topic) };
    let webhooks = subscribed.and_then(|topic| topic.webhook_ids);
    let Publication { topic, key, kind, idempotency_key } = *publication;
    let created_at = session.began_at();
    let message = Message { id, topic, key, kind, idempotency_key, lane, created_at };

    let is_owed = if idempotency_key.is_none() && session.level() == Level::ReadCommitted {
        let webhooks = match webhooks {
            Some(webhooks) => webhooks.to_vec(),
            None => matching_webhooks(session, topic, kind).await?,
        };
        for webhook in &webhooks {
            session.break_point().await?;
            // PostgreSQL runs the CTE last.
            let statement = session.statement().await?;
            let row = Lane::ready(*webhook, lane, key, stripe, id, session.clock());
            statement.insert_or_ignore(row).await?;
            statement.insert(Delivery { webhook: *webhook, lane, message: id, replayed: false }).await?;
        }
        !webhooks.is_empty()
    } else {
        messages_fan_out(session, &message, stripe, webhooks).await?
    };
    if is_owed {
        session.break_point().await?;
        notify_workers(session, id, stripe)?;
    }
    Ok(message)
}
