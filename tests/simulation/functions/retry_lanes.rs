//! `retry_lanes`: make lanes of a webhook due now, with no failures.

use super::{guards::Guard, notify_workers::notify_workers, owed, require::require_read_committed};
use crate::postgres::{
    error::Result,
    row_lock::{Locked, RowLock},
    session::Session,
    tables::Lane,
};

/// A transaction sends no more notifications than these.
const NOTIFIED: usize = 11;

pub(crate) async fn retry_lanes(session: &Session, webhook: i64, lanes: &[i64]) -> Result<usize> {
    require_read_committed(session)?;
    let guards = session.database().guards();
    let mut asked = lanes.to_vec();
    asked.sort_unstable();
    asked.dedup();
    session.break_point().await?;
    let statement = session.statement().await?;
    let is_free = |lane: &Lane| lane.claimed_by.is_none() || !guards.has(Guard::RetryUnclaimed);
    let mut held = Vec::new();
    for lane in asked {
        let found = statement.read(|view| {
            view.find::<Lane>(&(webhook, lane)).filter(|(_, lane)| is_free(lane)).map(|(place, _)| place)
        });
        if let Some(place) = found {
            held.extend(
                statement.lock(place, RowLock::Update, Locked::Skip, is_free).await?.map(|(_, lane)| lane),
            );
        }
    }
    session.break_point().await?;
    let statement = session.statement().await?;
    let mut retried = 0;
    for lane in &held {
        let place =
            statement.read(|view| view.find::<Lane>(&(lane.webhook, lane.lane)).map(|(place, _)| place));
        if let Some(place) = place {
            let now = session.clock();
            let changed = statement.update(place, |lane: &Lane| Some(lane.cleared(now))).await?;
            retried += usize::from(changed.is_some());
        }
    }
    session.break_point().await?;
    let statement = session.statement().await?;
    for lane in held.iter().take(NOTIFIED) {
        let first = statement.read(|view| owed(view, lane.webhook, lane.lane, lane.position).next());
        if let Some(first) = first {
            notify_workers(session, first, lane.stripe)?;
        }
    }
    Ok(retried)
}
