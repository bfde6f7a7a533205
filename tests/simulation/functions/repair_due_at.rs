//! `repair_due_at`: repair lanes that a step of the clock has put into the future.

use super::{guards::Guard, require::require_read_committed};
use crate::{
    postgres::{
        error::Result,
        row_lock::{Locked, RowLock},
        session::Session,
        table::Place,
        tables::{INFINITY, Lane, Webhook, Worker},
        view::View,
    },
    schedule::{Micros, SECOND},
};

/// How far off an instant may be.
const TOLERANCE: Micros = SECOND / 10;

/// One call, from the beginning of a round. Returns how many lanes were repaired, and the webhook at
/// which the call ended; nothing if it came to the end of the round.
pub(crate) async fn repair_due_at(session: &Session, at_most: usize) -> Result<(usize, Option<i64>)> {
    session.set_flush(false)?;
    require_read_committed(session)?;
    let guards = session.database().guards();
    let spares_held = guards.has(Guard::RepairUnclaimed);
    let now = session.statement_at();
    session.break_point().await?;
    let statement = session.statement().await?;
    let ahead = statement.read(|view| lanes_ahead(view, now, at_most, spares_held));
    let latest = session.clock();
    let is_wrong = |lane: &Lane| lane.due_at > latest + lane.wait.unwrap_or(0) + TOLERANCE;
    let mut free = Vec::new();
    for (place, _) in ahead.iter().filter(|(_, lane)| is_wrong(lane)) {
        let row = statement.lock(*place, RowLock::Update, Locked::Skip, |_: &Lane| true).await?;
        free.extend(row.map(|(place, _)| place));
    }
    // The server writes them by place, each with a time of its own.
    free.sort_unstable();
    let mut corrected = 0;
    for place in free {
        let now = session.clock();
        let due = |lane: &Lane| Some(Lane { due_at: now + lane.wait.unwrap_or(0), ..lane.clone() });
        corrected += usize::from(statement.update(place, due).await?.is_some());
    }
    let last = ahead.get(at_most.saturating_sub(1)).map(|(_, lane)| lane.webhook);
    Ok((corrected, last))
}

/// Lanes that are due later and that nobody holds, by webhook and instant.
fn lanes_ahead(view: &View<'_>, now: Micros, at_most: usize, spares_held: bool) -> Vec<(Place, Lane)> {
    let mut ahead = Vec::new();
    for (_, webhook) in view.range::<Webhook>(..) {
        let lanes = view.range::<Lane>((webhook.id, i64::MIN)..=(webhook.id, i64::MAX));
        let is_held = |lane: &Lane| {
            let holder = lane.claimed_by.and_then(|holder| view.get::<Worker>(&holder));
            spares_held && holder.is_some_and(|worker| !worker.gone)
        };
        let later = lanes
            .filter(|(_, lane)| lane.due_at > now + TOLERANCE && lane.due_at < INFINITY && !is_held(lane));
        let mut later: Vec<_> = later.map(|(place, lane)| (place, lane.clone())).collect();
        later.sort_by_key(|(_, lane)| lane.due_at);
        ahead.extend(later.into_iter().take(at_most));
    }
    ahead.truncate(at_most);
    ahead
}
