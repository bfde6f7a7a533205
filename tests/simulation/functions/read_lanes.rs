//! `read_lanes`: the next messages of lanes that the worker holds.

use super::{Claimed, read_claimed::read_after};
use crate::postgres::{error::Result, session::Session, tables::Lane};

/// A lane that the worker holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) webhook: i64,
    pub(crate) lane: i64,
    pub(crate) token: i64,
    pub(crate) position: i64,
    pub(crate) generation: i32,
}

impl Held {
    /// The key of its row.
    pub(crate) fn lane_id(&self) -> (i64, i64) {
        (self.webhook, self.lane)
    }
}

pub(crate) async fn read_lanes(
    session: &Session,
    worker: u32,
    held: &[Held],
    at_most: usize,
) -> Result<Vec<Claimed>> {
    let guards = session.database().guards();
    session.break_point().await?;
    let statement = session.statement().await?;
    Ok(statement.read(|view| {
        let mut found = Vec::new();
        for held in held {
            let Some(lane) = view.get::<Lane>(&(held.webhook, held.lane)) else { continue };
            if lane.claimed_by != Some(worker) || lane.token != Some(held.token) {
                continue;
            }
            let position = if lane.generation == held.generation { held.position } else { lane.position };
            let messages = read_after(view, guards, lane, position, at_most);
            found.push(Claimed { lane: Lane { position, ..lane.clone() }, messages });
        }
        found
    }))
}
