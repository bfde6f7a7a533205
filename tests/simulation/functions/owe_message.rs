//! `owe_message`: have a webhook owe a message (again).

use super::{
    guards::Guard,
    lock_lane::{Outcome, lock_lane},
    notify_workers::notify_workers,
};
use crate::{
    postgres::{
        error::Result,
        row_lock::{Locked, RowLock},
        session::Session,
        tables::{Delivery, Lane, Message},
    },
    schedule::Micros,
};

/// A message and the lane that it belongs to.
#[derive(Clone, Copy)]
pub(super) struct Owed {
    pub(super) webhook: i64,
    pub(super) message: i64,
    pub(super) lane: i64,
    pub(super) key: u32,
    pub(super) stripe: Option<i32>,
}

/// What the function says.
pub(super) const OWED: &str = "owed";

pub(super) async fn owe_message(session: &Session, owed: Owed, waits: bool) -> Result<&'static str> {
    let Owed { webhook, message, lane, key, stripe } = owed;
    let guards = session.database().guards();
    session.statement().await?;
    let taken = stripe.filter(|_| guards.has(Guard::OweStripe));
    match lock_lane(session, webhook, lane, taken, waits).await? {
        Outcome::StripeTaken => return Ok("stripe_taken"),
        Outcome::RowLocked => return Ok("row_locked"),
        Outcome::Locked(_) => {}
    }
    session.break_point().await?;
    let statement = session.statement().await?;
    let found = statement.read(|view| view.find::<Message>(&message).map(|(place, _)| place));
    let kept = match found {
        Some(_) if !guards.has(Guard::OweKeepsMessage) => true,
        Some(place) => {
            statement.lock(place, RowLock::KeyShare, Locked::Skip, |_: &Message| true).await?.is_some()
        }
        None => false,
    };
    if !kept {
        let statement = session.statement().await?;
        let is_there = statement.read(|view| view.get::<Message>(&message).is_some());
        return Ok(if is_there { "row_locked" } else { "message_gone" });
    }
    session.break_point().await?;
    let statement = session.statement().await?;
    let delivery = Delivery { webhook, lane, message, replayed: true };
    if guards.has(Guard::OweConflict) {
        if !statement.insert_or_ignore(delivery).await? {
            return Ok("already_owed");
        }
    } else {
        statement.insert(delivery).await?;
    }
    session.break_point().await?;
    let statement = session.statement().await?;
    let now = session.clock();
    let row = Lane::ready(webhook, lane, key, stripe, message, now);
    statement.upsert(row, |old: &Lane| renewed(session, old, message, now)).await?;
    session.break_point().await?;
    notify_workers(session, message, stripe)?;
    Ok(OWED)
}

fn renewed(session: &Session, lane: &Lane, message: i64, now: Micros) -> Lane {
    let guards = session.database().guards();
    let until = lane.batch_last.or(lane.head).unwrap_or(message);
    let wakes = lane.claimed_by.is_none() && !lane.halted && message <= until;
    let position =
        if guards.has(Guard::OwePosition) { lane.position.min(message - 1) } else { lane.position };
    Lane {
        position,
        generation: lane.generation + i32::from(guards.has(Guard::OweGeneration)),
        due_at: if wakes { lane.due_at.min(now) } else { lane.due_at },
        wait: if wakes { None } else { lane.wait },
        ..lane.clone()
    }
}
