//! `cancel_deliveries`: take messages out of what a webhook is owed.

use super::{
    guards::Guard,
    lock_lane::{Outcome, lock_lane},
    notify_workers::notify_workers,
    owed,
    require::require_read_committed,
    settle::upsert_letter,
    stripe,
};
use crate::{
    postgres::{
        error::Result,
        session::Session,
        tables::{DeadLetter, Delivery, Lane, Message, Reason, Topic, Webhook, Worker},
        view::View,
    },
    schedule::SECOND,
};

/// A row of the answer: the message, its outcome, its dead letter.
pub(crate) type Canceled = (i64, &'static str, Option<i64>);

pub(crate) async fn cancel_deliveries(
    session: &Session,
    webhook: i64,
    messages: &[i64],
    reason: Reason,
    waits: bool,
) -> Result<Vec<Canceled>> {
    session.with_lock_timeout(SECOND, async || cancel(session, webhook, messages, reason, waits).await).await
}

/// An id, and its message and stripe.
type Asked<'a> = (i64, Option<(&'a Message, Option<i32>)>);

/// The messages that are asked for, by rising id, as long as there is such a webhook.
fn asked<'a>(view: &'a View<'_>, webhook: i64, messages: &[i64]) -> Vec<Asked<'a>> {
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

async fn cancel(
    session: &Session,
    webhook: i64,
    messages: &[i64],
    reason: Reason,
    waits: bool,
) -> Result<Vec<Canceled>> {
    require_read_committed(session)?;
    session.break_point().await?;
    let statement = session.statement().await?;
    let asked: Vec<_> = statement.read(|view| {
        let all = asked(view, webhook, messages).into_iter();
        all.map(|(id, found)| (id, found.map(|(message, stripe)| (message.clone(), stripe)))).collect()
    });
    let mut left: Vec<i32> = Vec::new();
    let mut rows = Vec::new();
    for (id, found) in asked {
        let row = match found {
            None => (id, "not_owed", None),
            Some((_, Some(stripe))) if left.contains(&stripe) => (id, "stripe_taken", None),
            Some((message, stripe)) => {
                session.break_point().await?;
                match lock_lane(session, webhook, message.lane, stripe, waits).await? {
                    Outcome::Locked(held) => {
                        let (outcome, letter) =
                            cancel_one(session, webhook, &message, stripe, held.as_ref(), reason).await?;
                        (id, outcome, letter)
                    }
                    Outcome::StripeTaken => {
                        left.extend(stripe);
                        (id, "stripe_taken", None)
                    }
                    Outcome::RowLocked => {
                        left.extend(stripe);
                        (id, "row_locked", None)
                    }
                }
            }
        };
        rows.push(row);
    }
    Ok(rows)
}

async fn cancel_one(
    session: &Session,
    webhook: i64,
    message: &Message,
    stripe: Option<i32>,
    held: Option<&Lane>,
    reason: Reason,
) -> Result<(&'static str, Option<i64>)> {
    let guards = session.database().guards();
    let key = (webhook, message.lane, message.id);
    session.break_point().await?;
    let statement = session.statement().await?;
    let after = held.map_or(-1, |lane| lane.position);
    let head = statement.read(|view| owed(view, webhook, message.lane, after).next());
    let is_head = head == Some(message.id);
    let statement = session.statement().await?;
    let is_held = statement.read(|view| {
        let holder = held.and_then(|lane| lane.claimed_by).and_then(|holder| view.get::<Worker>(&holder));
        holder.is_some_and(|worker| !worker.gone)
    });
    let statement = session.statement().await?;
    let place = statement.read(|view| view.find::<Delivery>(&key).map(|(place, _)| place));
    let Some(_) = place else { return Ok(("not_owed", None)) };
    if reason == Reason::Skipped && head.is_some() && !is_head {
        return Ok(("not_head", None));
    }
    let by_leader = !matches!(reason, Reason::Canceled | Reason::Skipped) && guards.has(Guard::CancelHeld);
    if is_held && (is_head && guards.has(Guard::CancelInFlight) || by_leader) {
        return Ok(("in_flight", None));
    }

    let is_reason = !is_held
        && held.is_some_and(|lane| {
            let last = lane.batch_last.or(lane.head);
            lane.head.is_some_and(|first| first <= message.id) && last.is_some_and(|last| message.id <= last)
        });
    session.break_point().await?;
    let statement = session.statement().await?;
    if let Some(place) = statement.read(|view| view.find::<Delivery>(&key).map(|(place, _)| place)) {
        statement.delete(place, |_: &Delivery| true).await?;
    }
    session.break_point().await?;
    let statement = session.statement().await?;
    let attempted = held.filter(|_| is_reason);
    let letter = DeadLetter {
        id: 0,
        webhook,
        lane: message.lane,
        message: message.id,
        key: message.key,
        reason,
        attempts: attempted.map_or(0, |lane| lane.failures),
        error: attempted.and_then(|lane| lane.error),
    };
    let letter = upsert_letter(session, &statement, letter).await?;
    session.set_flush(true)?;
    session.break_point().await?;
    let statement = session.statement().await?;
    let found = held.and_then(|lane| {
        statement.read(|view| view.find::<Lane>(&(lane.webhook, lane.lane)).map(|(place, _)| place))
    });
    if let Some(place) = found {
        let now = session.clock();
        let raised = i32::from(guards.has(Guard::CancelGeneration));
        let change = |lane: &Lane| {
            let generation = lane.generation + raised;
            Some(Lane { generation, ..if is_reason { lane.cleared(now) } else { lane.clone() } })
        };
        statement.update(place, change).await?;
    }
    if is_reason {
        notify_workers(session, message.id, stripe)?;
    }
    Ok(("removed", Some(letter)))
}
