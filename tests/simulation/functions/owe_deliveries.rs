//! `owe_deliveries`: have webhooks owe some messages (again).

use super::{
    guards::Guard,
    lane_stripe::lane_stripe,
    lock_lane::{Outcome, lock_lane},
    notify_workers::notify_workers,
};
use crate::{
    postgres::{
        error::Result,
        row_lock::{Locked, RowLock},
        session::Session,
        statement::Statement,
        tables::{DeadLetter, Delivery, Lane, Message},
    },
    schedule::Micros,
};

pub(super) const OWED: &str = "owed";
pub(super) const ALREADY_OWED: &str = "already_owed";
pub(super) const MESSAGE_GONE: &str = "message_gone";
pub(super) const STRIPE_TAKEN: &str = "stripe_taken";
pub(super) const ROW_LOCKED: &str = "row_locked";

/// A transaction sends no more notifications than these.
const NOTIFIED: usize = 11;

/// `asked` is in primary-key order. The outcomes have the same order.
pub(super) async fn owe_deliveries(
    session: &Session,
    asked: &[Delivery],
    only_dead: bool,
    waits: bool,
) -> Result<Vec<&'static str>> {
    if waits && let Some(refusal) = wait_for_lane(session, asked).await? {
        return Ok(vec![refusal]);
    }
    session.break_point().await?;
    let free = try_stripes(session, asked).await?;
    session.break_point().await?;
    let refusals = lock_rows(session, asked, only_dead, &free).await?;
    session.break_point().await?;
    let outcomes = insert(session, asked, &refusals).await?;
    session.break_point().await?;
    forget_failures(session, asked, &outcomes).await?;
    session.break_point().await?;
    notify(session, asked, &outcomes).await?;
    Ok(outcomes)
}

/// Waits for the lane of the one delivery. What keeps it from being owed.
async fn wait_for_lane(session: &Session, asked: &[Delivery]) -> Result<Option<&'static str>> {
    let takes = session.database().guards().has(Guard::OweStripe);
    let statement = session.statement().await?;
    let Some(delivery) = asked.first() else { return Ok(None) };
    let found = statement.read(|view| lane_stripe(view, delivery.webhook, delivery.lane));
    let Some((_, stripe)) = found else { return Ok(None) };
    let stripe = stripe.filter(|_| takes);
    Ok(match lock_lane(session, delivery.webhook, delivery.lane, stripe, true).await? {
        Outcome::Locked(_) => None,
        Outcome::StripeTaken => Some(STRIPE_TAKEN),
        Outcome::RowLocked => Some(ROW_LOCKED),
    })
}

/// The stripes that nobody else has.
async fn try_stripes(session: &Session, asked: &[Delivery]) -> Result<Vec<i32>> {
    let takes = session.database().guards().has(Guard::OweStripe);
    let statement = session.statement().await?;
    let mut stripes: Vec<i32> = statement.read(|view| {
        let stripes = asked.iter().filter_map(|row| lane_stripe(view, row.webhook, row.lane));
        stripes.filter_map(|(_, stripe)| stripe).collect()
    });
    stripes.sort_unstable();
    stripes.dedup();
    let mut free = Vec::new();
    for stripe in stripes {
        if !takes || session.try_advisory_lock(stripe, false)? {
            free.push(stripe);
        }
    }
    Ok(free)
}

/// Locks lanes, dead letters and messages. What keeps each delivery from being owed.
async fn lock_rows(
    session: &Session,
    asked: &[Delivery],
    only_dead: bool,
    free: &[i32],
) -> Result<Vec<Option<&'static str>>> {
    let follows = session.database().guards().has(Guard::OweFollows);
    let statement = session.statement().await?;
    for _ in asked {
        session.break_point().await?;
    }
    let mut refusals: Vec<Option<&'static str>> = Vec::new();
    let mut is_left = false;
    for (at, delivery) in asked.iter().enumerate() {
        let is_first =
            at == 0 || (asked[at - 1].webhook, asked[at - 1].lane) != (delivery.webhook, delivery.lane);
        let stripe = statement.read(|view| lane_stripe(view, delivery.webhook, delivery.lane));
        let refusal = match stripe {
            None => Some("webhook_gone"),
            Some((_, Some(stripe))) if !free.contains(&stripe) => Some(STRIPE_TAKEN),
            Some(_) => lock_delivery(session, &statement, delivery, is_first, only_dead).await?,
        };
        is_left = refusal == Some(ROW_LOCKED) || is_left && !is_first && follows;
        refusals.push(if is_left { Some(ROW_LOCKED) } else { refusal });
    }
    Ok(refusals)
}

/// Locks what a delivery needs. What keeps it from being owed.
async fn lock_delivery(
    session: &Session,
    statement: &Statement,
    delivery: &Delivery,
    is_first: bool,
    only_dead: bool,
) -> Result<Option<&'static str>> {
    let Delivery { webhook, lane, message, .. } = *delivery;
    let (lane, letter, kept) = statement.read(|view| {
        let lane = view.find::<Lane>(&(webhook, lane)).map(|(place, _)| place);
        let letter = view.find_second::<DeadLetter>(&(webhook, message)).map(|(place, _)| place);
        (lane, letter, view.find::<Message>(&message).map(|(place, _)| place))
    });
    let (update, skip) = (RowLock::Update, Locked::Skip);
    let is_lane_taken = match lane.filter(|_| is_first) {
        Some(place) => statement.lock(place, update, skip, |_: &Lane| true).await?.is_none(),
        None => false,
    };
    let is_letter_taken = match letter {
        Some(place) => statement.lock(place, update, skip, |_: &DeadLetter| true).await?.is_none(),
        None => false,
    };
    let keeps = session.database().guards().has(Guard::OweKeepsMessage);
    let is_message_taken = match kept.filter(|_| keeps) {
        Some(place) => statement.lock(place, RowLock::KeyShare, skip, |_: &Message| true).await?.is_none(),
        None => false,
    };
    Ok(if is_lane_taken || is_letter_taken {
        Some(ROW_LOCKED)
    } else if letter.is_none() && only_dead {
        Some("absent")
    } else if is_message_taken {
        Some(ROW_LOCKED)
    } else if kept.is_none() {
        Some(MESSAGE_GONE)
    } else {
        None
    })
}

/// The deliveries, then the lanes, then the dead letters.
async fn insert(
    session: &Session,
    asked: &[Delivery],
    refusals: &[Option<&'static str>],
) -> Result<Vec<&'static str>> {
    let guards = session.database().guards();
    let statement = session.statement().await?;
    let mut outcomes = Vec::new();
    let mut owed: Vec<&Delivery> = Vec::new();
    for (delivery, refusal) in asked.iter().zip(refusals) {
        let is_new = match refusal {
            Some(refusal) => {
                outcomes.push(*refusal);
                continue;
            }
            None if guards.has(Guard::OweConflict) => statement.insert_or_ignore(delivery.clone()).await?,
            None => statement.insert(delivery.clone()).await.map(|()| true)?,
        };
        outcomes.push(if is_new { OWED } else { ALREADY_OWED });
        if is_new {
            owed.push(delivery);
        }
    }
    let mut firsts = owed.clone();
    firsts.dedup_by_key(|row| (row.webhook, row.lane));
    for &Delivery { webhook, lane, message, .. } in firsts {
        let found = statement.read(|view| {
            let (_, stripe) = lane_stripe(view, webhook, lane)?;
            view.get::<Message>(&message).map(|row| (row.key, stripe))
        });
        let Some((key, stripe)) = found else { continue };
        let now = session.clock();
        let row = Lane::ready(webhook, lane, key, stripe, message, now);
        statement.upsert(row, |old: &Lane| renewed(session, old, message, now)).await?;
    }
    for delivery in owed {
        let key = (delivery.webhook, delivery.message);
        let letter = statement.read(|view| view.find_second::<DeadLetter>(&key).map(|(place, _)| place));
        if let Some(place) = letter {
            statement.delete(place, |_: &DeadLetter| true).await?;
        }
    }
    Ok(outcomes)
}

fn renewed(session: &Session, lane: &Lane, first: i64, now: Micros) -> Lane {
    let guards = session.database().guards();
    let until = lane.batch_last.or(lane.head).unwrap_or(first);
    let wakes = lane.claimed_by.is_none() && !lane.halted && first <= until;
    let position = if guards.has(Guard::OwePosition) { lane.position.min(first - 1) } else { lane.position };
    Lane {
        position,
        generation: lane.generation + i32::from(guards.has(Guard::OweGeneration)),
        due_at: if wakes { lane.due_at.min(now) } else { lane.due_at },
        wait: if wakes { None } else { lane.wait },
        ..lane.clone()
    }
}

/// A message that is owed again has all its attempts.
async fn forget_failures(session: &Session, asked: &[Delivery], outcomes: &[&'static str]) -> Result<()> {
    let forgets = session.database().guards().has(Guard::OweForgets);
    let statement = session.statement().await?;
    let owed = asked.iter().zip(outcomes).filter(|(_, outcome)| **outcome == OWED && forgets);
    let tells = |lane: &Lane, message: i64| {
        let failed = lane.head.map(|head| head..=lane.batch_last.unwrap_or(head));
        !lane.halted && failed.is_some_and(|failed| failed.contains(&message))
    };
    let mut places = statement.read(|view| {
        let find = |row: &Delivery| {
            let found = view.find::<Lane>(&(row.webhook, row.lane));
            found.filter(|(_, lane)| tells(lane, row.message)).map(|(place, _)| place)
        };
        owed.filter_map(|(row, _)| find(row)).collect::<Vec<_>>()
    });
    places.dedup();
    for place in places {
        statement.update(place, |lane: &Lane| Some(lane.without_failures())).await?;
    }
    Ok(())
}

/// A backfill does not notify: its webhook is not sent yet.
async fn notify(session: &Session, asked: &[Delivery], outcomes: &[&'static str]) -> Result<()> {
    let statement = session.statement().await?;
    let replayed = asked.iter().zip(outcomes).filter(|(row, outcome)| **outcome == OWED && row.replayed);
    for (delivery, _) in replayed.take(NOTIFIED) {
        let found = statement.read(|view| lane_stripe(view, delivery.webhook, delivery.lane));
        if let Some((_, stripe)) = found {
            notify_workers(session, delivery.message, stripe)?;
        }
    }
    Ok(())
}
