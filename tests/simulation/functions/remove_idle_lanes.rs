//! `remove_idle_lanes`: delete the rows of held lanes that owe nothing.

use super::{guards::Guard, owed, read_lanes::Held, require::require_read_committed};
use crate::{
    postgres::{
        error::Result,
        row_lock::{Locked, RowLock},
        session::Session,
        statement::Statement,
        table::Place,
        tables::Lane,
        view::View,
    },
    schedule::SECOND,
};

/// The lanes that were removed (true), or rewound (false).
pub(crate) type Removed = Vec<((i64, i64), bool)>;

pub(crate) async fn remove_idle_lanes(session: &Session, worker: u32, held: &[Held]) -> Result<Removed> {
    session.with_lock_timeout(SECOND / 10, async || remove(session, worker, held).await).await
}

async fn remove(session: &Session, worker: u32, held: &[Held]) -> Result<Removed> {
    session.set_flush(false)?;
    require_read_committed(session)?;
    let guards = session.database().guards();
    session.break_point().await?;
    let first = session.statement().await?;
    let locked = lock_lanes(session, &first, worker, held).await?;
    if locked.is_empty() {
        return Ok(Vec::new());
    }
    session.break_point().await?;
    let statement = session.statement().await?;
    let mut removed = Vec::new();
    let looks = if guards.has(Guard::RemoveNewStatement) { &statement } else { &first };
    for (place, known) in &locked {
        let is_idle = |view: &View<'_>| {
            let lane = view.at::<Lane>(*place)?;
            let after = if *known || !guards.has(Guard::RemoveGeneration) { lane.position } else { -1 };
            owed(view, lane.webhook, lane.lane, after).next().is_none().then_some(())
        };
        if looks.read(is_idle).is_some()
            && let Some(lane) = statement.delete(*place, |_: &Lane| true).await?
        {
            removed.push(((lane.webhook, lane.lane), true));
        }
    }
    if removed.len() == locked.len() {
        return Ok(removed);
    }
    session.break_point().await?;
    let statement = session.statement().await?;
    for (place, _) in locked.iter().filter(|(_, known)| !known) {
        let least = statement.read(|view| {
            let lane = view.at::<Lane>(*place)?;
            owed(view, lane.webhook, lane.lane, -1).next()
        });
        let rewound = |lane: &Lane| {
            let position = least.map_or(lane.position, |least| lane.position.min(least - 1));
            Some(Lane { position, ..lane.clone() })
        };
        if let Some(lane) = statement.update(*place, rewound).await? {
            removed.push(((lane.webhook, lane.lane), false));
        }
    }
    Ok(removed)
}

/// The lanes that are the worker's, whose row and stripe could be had; and whether the worker knows
/// the generation.
async fn lock_lanes(
    session: &Session,
    statement: &Statement,
    worker: u32,
    held: &[Held],
) -> Result<Vec<(Place, bool)>> {
    let guards = session.database().guards();
    let mut locked = Vec::new();
    for held in held {
        let is_mine = |lane: &Lane| {
            !guards.has(Guard::RemoveHolder)
                || lane.claimed_by == Some(worker) && lane.token == Some(held.token)
        };
        let found = statement.read(|view| {
            let lane = view.find::<Lane>(&(held.webhook, held.lane));
            lane.filter(|(_, lane)| is_mine(lane)).map(|(place, _)| place)
        });
        let Some(place) = found else { continue };
        let Some((place, lane)) = statement.lock(place, RowLock::Update, Locked::Skip, is_mine).await? else {
            continue;
        };
        session.break_point().await?;
        let stripe = lane.stripe.filter(|_| guards.has(Guard::RemoveStripe));
        if match stripe {
            Some(stripe) => session.try_advisory_lock(stripe, false)?,
            None => true,
        } {
            locked.push((place, lane.generation == held.generation));
        }
    }
    Ok(locked)
}
