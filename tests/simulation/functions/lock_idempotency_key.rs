//! `lock_idempotency_key`: whether an idempotency key is free.

use crate::postgres::{
    error::Result,
    row_lock::{Locked, RowLock},
    session::Session,
    tables::{Message, UsedKey},
};

pub(super) async fn lock_idempotency_key(session: &Session, topic: i64, key: u32) -> Result<bool> {
    session.break_point().await?;
    session.statement().await?.insert(UsedKey { topic, idempotency_key: key }).await?;
    session.break_point().await?;
    let statement = session.statement().await?;
    let place = statement.read(|view| view.find::<UsedKey>(&(topic, key)).map(|(place, _)| place));
    if let Some(place) = place {
        statement.delete(place, |_: &UsedKey| true).await?;
    }
    session.break_point().await?;
    let statement = session.statement().await?;
    let found = statement.read(|view| view.find_second::<Message>(&(topic, key)).map(|(place, _)| place));
    match found {
        Some(place) => {
            let message = statement.lock(place, RowLock::Share, Locked::Wait, |_: &Message| true).await?;
            Ok(message.is_none())
        }
        None => Ok(true),
    }
}
