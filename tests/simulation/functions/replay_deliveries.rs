//! `replay_deliveries`: deliver some messages once more to a webhook.

use super::{
    owe_message::{OWED, Owed, owe_message},
    require::require_read_committed,
    stripe,
};
use crate::{
    postgres::{
        error::Result,
        row_lock::{Locked, RowLock},
        session::Session,
        tables::{DeadLetter, Message, Topic, Webhook},
        view::View,
    },
    schedule::SECOND,
};

pub(crate) async fn replay_deliveries(
    session: &Session,
    webhook: i64,
    messages: &[i64],
    waits: bool,
) -> Result<Vec<(i64, &'static str)>> {
    session.with_lock_timeout(SECOND, async || replay(session, webhook, messages, waits).await).await
}

/// An id, and its message and stripe.
type Asked<'a> = (i64, Option<(&'a Message, Option<i32>)>);

/// The messages that are asked for, by rising id, as long as there is such a webhook.
pub(super) fn asked<'a>(view: &'a View<'_>, webhook: i64, messages: &[i64]) -> Vec<Asked<'a>> {
    let Some(topic) = view.get::<Webhook>(&webhook).and_then(|webhook| view.get::<Topic>(&webhook.topic))
    else {
        return Vec::new();
    };
    let mut sorted = messages.to_vec();
    sorted.sort_unstable();
    let found = |id: i64| view.get::<Message>(&id).filter(|message| message.topic == topic.id);
    sorted
        .into_iter()
        .map(|id| (id, found(id).map(|message| (message, stripe(topic, message.lane)))))
        .collect()
}

async fn replay(
    session: &Session,
    webhook: i64,
    messages: &[i64],
    waits: bool,
) -> Result<Vec<(i64, &'static str)>> {
    require_read_committed(session)?;
    session.break_point().await?;
    let statement = session.statement().await?;
    let asked: Vec<_> = statement.read(|view| {
        let all = asked(view, webhook, messages).into_iter();
        all.map(|(id, found)| (id, found.map(|(message, stripe)| (message.clone(), stripe)))).collect()
    });
    let mut left = Vec::new();
    let mut outcomes = Vec::new();
    for (id, found) in asked {
        let outcome = match found {
            None => "message_gone",
            Some((_, Some(stripe))) if left.contains(&stripe) => "stripe_taken",
            Some((message, stripe)) => {
                let Message { id: message, lane, key, .. } = message;
                let outcome =
                    replay_one(session, Owed { webhook, message, lane, key, stripe }, waits).await?;
                if matches!(outcome, "stripe_taken" | "row_locked") {
                    left.extend(stripe);
                }
                outcome
            }
        };
        outcomes.push((id, outcome));
    }
    Ok(outcomes)
}

async fn replay_one(session: &Session, owed: Owed, waits: bool) -> Result<&'static str> {
    let key = (owed.webhook, owed.message);
    session.break_point().await?;
    let statement = session.statement().await?;
    let letter = statement.read(|view| view.find_second::<DeadLetter>(&key).map(|(place, _)| place));
    let locked = match letter {
        Some(place) => {
            statement.lock(place, RowLock::Update, Locked::Skip, |_: &DeadLetter| true).await?.is_some()
        }
        None => false,
    };
    if !locked {
        let statement = session.statement().await?;
        if statement.read(|view| view.find_second::<DeadLetter>(&key).is_some()) {
            return Ok("row_locked");
        }
    }
    let outcome = owe_message(session, owed, waits).await?;
    if outcome != OWED {
        return Ok(outcome);
    }
    session.break_point().await?;
    let statement = session.statement().await?;
    if let Some(place) = statement.read(|view| view.find_second::<DeadLetter>(&key).map(|(place, _)| place)) {
        statement.delete(place, |_: &DeadLetter| true).await?;
    }
    Ok("replayed")
}
