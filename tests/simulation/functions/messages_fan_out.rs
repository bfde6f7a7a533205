//! `messages_fan_out`: fan out a message with an idempotency key, or of a publisher with an old
//! snapshot.

use std::rc::Rc;

use super::{
    guards::Guard, lock_idempotency_key::lock_idempotency_key, matching_webhooks::matching_webhooks,
};
use crate::postgres::{
    error::{Error, Result},
    session::Session,
    tables::{Delivery, Lane, Message},
    transaction::Level,
};

/// Whether anybody is owed the message.
pub(super) async fn messages_fan_out(
    session: &Session,
    message: &Message,
    stripe: Option<i32>,
    webhooks: Option<Rc<[i64]>>,
) -> Result<bool> {
    if let Some(key) = message.idempotency_key
        && !lock_idempotency_key(session, message.topic, key).await?
    {
        return Ok(false);
    }
    let webhooks = match webhooks {
        Some(webhooks) => webhooks.to_vec(),
        None => matching_webhooks(session, message.topic, message.kind).await?,
    };
    for webhook in &webhooks {
        let delivery =
            Delivery { webhook: *webhook, lane: message.lane, message: message.id, replayed: false };
        session.break_point().await?;
        session.statement().await?.insert(delivery).await?;
        session.break_point().await?;
        insert_lane(session, message, stripe, *webhook).await?;
    }
    Ok(!webhooks.is_empty())
}

async fn insert_lane(session: &Session, message: &Message, stripe: Option<i32>, webhook: i64) -> Result<()> {
    let row = || Lane::ready(webhook, message.lane, message.key, stripe, message.id, session.clock());
    if session.level() == Level::ReadCommitted {
        session.statement().await?.insert_or_ignore(row()).await?;
        return Ok(());
    }
    if !session.database().guards().has(Guard::LaneInAnyCase) {
        // What looks simpler: a lane that the snapshot shows is not inserted.
        let statement = session.statement().await?;
        if statement.read(|view| view.get::<Lane>(&(webhook, message.lane)).is_none()) {
            statement.insert_or_ignore(row()).await?;
        }
        return Ok(());
    }
    let tried = session.block(async || session.statement().await?.insert_or_ignore(row()).await).await;
    match tried {
        Err(Error::Serialization) => {}
        other => return other.map(|_| ()),
    }
    let plain = session.block(async || session.statement().await?.insert(row()).await).await;
    match plain {
        Err(Error::Unique) => Ok(()),
        other => other,
    }
}
