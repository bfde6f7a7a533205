//! `delete_old_messages`: delete messages that nobody is owed and that are no dead letters, or only
//! superseded ones. Messages of earlier transactions are past their retention here.

use super::require::require_read_committed;
use crate::postgres::{
    error::Result,
    row_lock::{Locked, RowLock},
    session::Session,
    tables::{DeadLetter, Delivery, Message, Reason, Webhook},
};

/// How many messages were deleted.
pub(crate) async fn delete_old_messages(session: &Session) -> Result<usize> {
    session.set_flush(false)?;
    require_read_committed(session)?;
    session.break_point().await?;
    let statement = session.statement().await?;
    let now = session.began_at();
    let expired: Vec<i64> = statement.read(|view| {
        let old = view.range::<Message>(..).filter(|(_, message)| message.created_at < now);
        old.map(|(_, message)| message.id).collect()
    });
    session.break_point().await?;
    let statement = session.statement().await?;
    let mut locked = Vec::new();
    for id in expired {
        let found = statement.read(|view| view.find::<Message>(&id).map(|(place, _)| place));
        if let Some(place) = found {
            let row = statement.lock(place, RowLock::Update, Locked::Skip, |_: &Message| true).await?;
            locked.extend(row.map(|_| id));
        }
    }
    session.break_point().await?;
    let statement = session.statement().await?;
    let mut deleted = 0;
    for id in locked {
        let found = statement.read(|view| {
            let (place, message) = view.find::<Message>(&id)?;
            let mut webhooks =
                view.range::<Webhook>(..).filter(|(_, webhook)| webhook.topic == message.topic);
            let is_owed =
                webhooks.any(|(_, webhook)| view.get::<Delivery>(&(webhook.id, message.lane, id)).is_some());
            let mut letters = view.range::<DeadLetter>(..).filter(|(_, letter)| letter.message == id);
            let is_dead = letters.any(|(_, letter)| letter.reason != Reason::Superseded);
            (!is_owed && !is_dead).then_some(place)
        });
        if let Some(place) = found {
            deleted += usize::from(statement.delete(place, |_: &Message| true).await?.is_some());
            let letters = statement.read(|view| {
                let all = view.range::<DeadLetter>(..).filter(|(_, letter)| letter.message == id);
                all.map(|(place, _)| place).collect::<Vec<_>>()
            });
            for place in letters {
                let row = statement.lock(place, RowLock::Update, Locked::Skip, |_: &DeadLetter| true).await?;
                if let Some((place, _)) = row {
                    statement.delete(place, |_: &DeadLetter| true).await?;
                }
            }
        }
    }
    Ok(deleted)
}
