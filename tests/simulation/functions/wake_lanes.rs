//! `wake_lanes`: make lanes due that wait for the end of a back-off.

use super::require::require_read_committed;
use crate::postgres::{
    error::Result,
    row_lock::{Locked, RowLock},
    session::Session,
    tables::{Breaker, Lane},
};

/// What a step has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Woken {
    More,
    Done,
    Nothing,
}

pub(crate) async fn wake_lanes(session: &Session, webhook: i64, at_most: usize) -> Result<Woken> {
    session.set_flush(false)?;
    require_read_committed(session)?;
    session.break_point().await?;
    let statement = session.statement().await?;
    let wakes = |row: &Breaker| !row.open && row.wake_after.is_some();
    let found = statement
        .read(|view| view.find::<Breaker>(&webhook).filter(|(_, row)| wakes(row)).map(|(place, _)| place));
    let Some(place) = found else { return Ok(Woken::Nothing) };
    let Some((_, row)) = statement.lock(place, RowLock::Update, Locked::Skip, wakes).await? else {
        return Ok(Woken::Nothing);
    };
    let after = row.wake_after.unwrap_or(i64::MAX);
    session.break_point().await?;
    let statement = session.statement().await?;
    let now = session.clock();
    let waits =
        |lane: &Lane| lane.claimed_by.is_none() && !lane.halted && lane.failures > 0 && lane.due_at > now;
    let (places, looked) = statement.read(|view| {
        let lanes = view.range::<Lane>((webhook, after.saturating_add(1))..=(webhook, i64::MAX));
        let looked: Vec<_> = lanes.take(at_most).map(|(place, lane)| (place, lane.clone())).collect();
        let places: Vec<_> = looked.iter().filter(|(_, lane)| waits(lane)).map(|(place, _)| *place).collect();
        (places, looked)
    });
    let mut free = Vec::new();
    for place in places {
        let row = statement.lock(place, RowLock::Update, Locked::Skip, waits).await?;
        free.extend(row.map(|(place, _)| place));
    }
    // The server writes them by place, each with a time of its own.
    free.sort_unstable();
    for place in free {
        let now = session.clock();
        let due = |lane: &Lane| Some(Lane { due_at: now, wait: None, ..lane.clone() });
        statement.update(place, due).await?;
    }
    session.break_point().await?;
    let until = looked.last().filter(|_| looked.len() == at_most).map(|(_, lane)| lane.lane);
    let statement = session.statement().await?;
    if let Some(place) = statement.read(|view| view.find::<Breaker>(&webhook).map(|(place, _)| place)) {
        let came = |row: &Breaker| Some(Breaker { wake_after: until, ..row.clone() });
        statement.update(place, came).await?;
    }
    Ok(if until.is_some() { Woken::More } else { Woken::Done })
}
