//! `replay_dead_letters`: deliver some dead letters once more.

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
        tables::{DeadLetter, Topic, Webhook},
    },
    schedule::SECOND,
};

pub(crate) async fn replay_dead_letters(
    session: &Session,
    ids: &[i64],
    waits: bool,
) -> Result<Vec<(i64, &'static str)>> {
    session.with_lock_timeout(SECOND, async || replay(session, ids, waits).await).await
}

async fn replay(session: &Session, ids: &[i64], waits: bool) -> Result<Vec<(i64, &'static str)>> {
    require_read_committed(session)?;
    session.break_point().await?;
    let statement = session.statement().await?;
    let mut letters = statement.read(|view| {
        let find = |id: &i64| {
            let Some(letter) = view.get::<DeadLetter>(id) else { return (*id, None) };
            let topic =
                view.get::<Webhook>(&letter.webhook).and_then(|webhook| view.get::<Topic>(&webhook.topic));
            (*id, Some((letter.clone(), topic.map(|topic| stripe(topic, letter.lane)))))
        };
        ids.iter().map(find).collect::<Vec<_>>()
    });
    letters.sort_by_key(|(_, found)| {
        found.as_ref().map_or((true, 0, 0), |(letter, _)| (false, letter.message, letter.webhook))
    });
    let mut left = Vec::new();
    let mut outcomes = Vec::new();
    for (id, found) in letters {
        let outcome = match found {
            None => "absent",
            Some((_, None)) => "webhook_gone",
            Some((_, Some(Some(stripe)))) if left.contains(&stripe) => "stripe_taken",
            Some((letter, Some(stripe))) => {
                let outcome = replay_one(session, &letter, stripe, waits).await?;
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

async fn replay_one(
    session: &Session,
    letter: &DeadLetter,
    stripe: Option<i32>,
    waits: bool,
) -> Result<&'static str> {
    session.break_point().await?;
    let statement = session.statement().await?;
    let found = statement.read(|view| view.find::<DeadLetter>(&letter.id).map(|(place, _)| place));
    let locked = match found {
        Some(place) => {
            statement.lock(place, RowLock::Update, Locked::Skip, |_: &DeadLetter| true).await?.is_some()
        }
        None => false,
    };
    if !locked {
        let statement = session.statement().await?;
        let is_there = statement.read(|view| view.get::<DeadLetter>(&letter.id).is_some());
        return Ok(if is_there { "row_locked" } else { "absent" });
    }
    let DeadLetter { webhook, message, lane, key, .. } = *letter;
    let outcome = owe_message(session, Owed { webhook, message, lane, key, stripe }, waits).await?;
    if outcome != OWED {
        return Ok(outcome);
    }
    session.break_point().await?;
    let statement = session.statement().await?;
    if let Some(place) = statement.read(|view| view.find::<DeadLetter>(&letter.id).map(|(place, _)| place)) {
        statement.delete(place, |_: &DeadLetter| true).await?;
    }
    Ok("replayed")
}
