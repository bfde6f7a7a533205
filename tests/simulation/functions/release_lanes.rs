//! `release_lanes`: make some lanes of a gone worker ready: one step of several.

use super::{guards::Guard, require::require_read_committed};
use crate::postgres::{
    error::Result,
    row_lock::{Locked, RowLock},
    session::Session,
    table::Place,
    tables::Lane,
    view::View,
};

/// What a step did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Released {
    pub(crate) freed: usize,
    pub(crate) locked: usize,
    /// Where it ended; nothing: that was the end.
    pub(crate) at: Option<(i64, i64)>,
}

pub(crate) async fn release_lanes(
    session: &Session,
    worker: u32,
    after: (i64, i64),
    at_most: usize,
) -> Result<Released> {
    session.set_flush(false)?;
    require_read_committed(session)?;
    let guards = session.database().guards();
    let is_its = |lane: &Lane| lane.claimed_by == Some(worker) || !guards.has(Guard::ReleaseHolder);
    session.break_point().await?;
    let statement = session.statement().await?;
    let (held, at) = statement.read(|view| {
        let looked: Vec<_> = lanes_after(view, after).take(at_most).collect();
        let held = looked.iter().filter(|(_, lane)| is_its(lane)).count();
        let last = looked.last().filter(|_| looked.len() == at_most);
        (held, last.map(|(_, lane)| (lane.webhook, lane.lane)))
    });
    session.break_point().await?;
    let statement = session.statement().await?;
    let mut released = 0;
    if held > 0 {
        let places: Vec<Place> = statement.read(|view| {
            let looked = lanes_after(view, after).take(at_most);
            looked.filter(|(_, lane)| is_its(lane)).map(|(place, _)| place).collect()
        });
        let mut free = Vec::new();
        for place in places {
            let row = statement.lock(place, RowLock::Update, Locked::Skip, is_its).await?;
            free.extend(row.map(|(place, _)| place));
        }
        // The server locks lanes by key. It writes them by place, each with a time of its own.
        free.sort_unstable();
        for place in free {
            let now = session.clock();
            let ready = |lane: &Lane| {
                Some(Lane { claimed_by: None, token: None, due_at: now, wait: None, ..lane.clone() })
            };
            released += usize::from(statement.update(place, ready).await?.is_some());
        }
    }
    Ok(Released { freed: released, locked: held.saturating_sub(released), at })
}

fn lanes_after<'a>(view: &'a View<'_>, after: (i64, i64)) -> impl Iterator<Item = (Place, &'a Lane)> {
    view.range::<Lane>(after..).filter(move |(_, lane)| (lane.webhook, lane.lane) > after)
}
