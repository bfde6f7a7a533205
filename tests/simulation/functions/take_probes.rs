//! `take_probes`: take the turn to probe webhooks, with a lane of each.

use super::{
    Claimed,
    guards::{Guard, Guards},
    is_taken, owed,
    read_claimed::read_claimed,
    require::{require_read_committed, require_registered},
};
use crate::{
    postgres::{
        error::Result,
        row_lock::{Locked, RowLock},
        session::Session,
        statement::Statement,
        tables::{Breaker, Lane, Probe, Webhook, Worker},
    },
    schedule::{Micros, SECOND},
};

/// A turn, and its lane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Taken {
    pub(crate) lane: Claimed,
    pub(crate) epoch: i64,
    pub(crate) probes: i32,
    pub(crate) open_for: Micros,
    pub(crate) only_lane: bool,
    pub(crate) turn: Micros,
}

pub(crate) async fn take_probes(
    session: &Session,
    worker: u32,
    token: i64,
    at_most: usize,
    turn: impl Fn(i64) -> Micros,
    messages_per_lane: usize,
) -> Result<Vec<Taken>> {
    session.set_flush(false)?;
    require_read_committed(session)?;
    require_registered(session, worker).await?;
    let guards = session.database().guards();
    session.break_point().await?;
    let statement = session.statement().await?;
    let now = session.clock();
    let living: Vec<u32> = statement.read(|view| {
        view.range::<Worker>(..).filter(|(_, worker)| !worker.gone).map(|(_, worker)| worker.id).collect()
    });
    let is_free = |row: &Breaker| {
        row.open
            && (row.next_probe_at <= now || row.next_probe_at > now + 120 * SECOND)
            && (row.probe.as_ref().is_none_or(|probe| probe.until <= now || !living.contains(&probe.by))
                || !guards.has(Guard::ProbeFree))
    };
    let due = statement.read(|view| {
        let sent =
            |row: &Breaker| view.get::<Webhook>(&row.webhook).is_some_and(|hook| is_taken(view, hook, now));
        let rows = view.range::<Breaker>(..).filter(|(_, row)| is_free(row) && sent(row));
        let mut rows: Vec<_> = rows.map(|(place, row)| (row.next_probe_at, place)).collect();
        rows.sort_unstable();
        rows
    });
    let mut turns = Vec::new();
    for (_, place) in due {
        if turns.len() == at_most {
            break;
        }
        let row = statement.lock(place, RowLock::Update, Locked::Skip, is_free).await?;
        turns.extend(row.map(|(_, row)| row));
    }
    let mut taken = Vec::new();
    for row in turns {
        session.break_point().await?;
        let lane = match pick(session, worker, token, row.webhook, row.probe_lane).await? {
            Some(lane) => Some(lane),
            None if row.probe_lane > i64::MIN => pick(session, worker, token, row.webhook, i64::MIN).await?,
            None => None,
        };
        let statement = session.statement().await?;
        let found = statement.read(|view| view.find::<Breaker>(&row.webhook).map(|(place, _)| place));
        let Some(place) = found else { continue };
        let Some(lane) = lane else {
            let none = |row: &Breaker| Breaker {
                probe: None,
                next_probe_at: session.clock() + SECOND,
                probe_lane: i64::MIN,
                ..row.clone()
            };
            statement.update(place, |row: &Breaker| Some(none(row))).await?;
            continue;
        };
        let probe = Probe { by: worker, token, until: session.clock() + turn(row.webhook) };
        let mine =
            |row: &Breaker| Breaker { probe: Some(probe.clone()), probe_lane: lane.lane, ..row.clone() };
        statement.update(place, |row: &Breaker| Some(mine(row))).await?;
        taken.push(lane);
    }
    session.break_point().await?;
    let statement = session.statement().await?;
    Ok(taken
        .into_iter()
        .filter_map(|lane| {
            let turn = turn(lane.webhook);
            described(&statement, guards, lane, turn, session.clock(), messages_per_lane)
        })
        .collect())
}

/// Claims the next lane that owes something.
async fn pick(session: &Session, worker: u32, token: i64, webhook: i64, after: i64) -> Result<Option<Lane>> {
    let statement = session.statement().await?;
    let is_free = |lane: &Lane| lane.claimed_by.is_none() && !lane.halted;
    let places = statement.read(|view| {
        let lanes = view.range::<Lane>((webhook, after.saturating_add(1))..=(webhook, i64::MAX));
        let owes = |lane: &Lane| owed(view, lane.webhook, lane.lane, lane.position).next().is_some();
        let lanes = lanes.filter(|(_, lane)| is_free(lane) && owes(lane));
        lanes.map(|(place, _)| place).collect::<Vec<_>>()
    });
    for place in places {
        if let Some((place, _)) = statement.lock(place, RowLock::Update, Locked::Skip, is_free).await? {
            let taken = |lane: &Lane| Lane { claimed_by: Some(worker), token: Some(token), ..lane.clone() };
            return statement.update(place, |lane: &Lane| Some(taken(lane))).await;
        }
    }
    Ok(None)
}

fn described(
    statement: &Statement,
    guards: Guards,
    lane: Lane,
    turn: Micros,
    now: Micros,
    messages_per_lane: usize,
) -> Option<Taken> {
    statement.read(|view| {
        let (webhook, number) = (lane.webhook, lane.lane);
        let row = view.get::<Breaker>(&webhook)?;
        let mut others = view.range::<Lane>((webhook, i64::MIN)..=(webhook, i64::MAX));
        let owes = |lane: &Lane| owed(view, lane.webhook, lane.lane, lane.position).next().is_some();
        let only_lane = !others.any(|(_, other)| !other.halted && other.lane != number && owes(other));
        Some(Taken {
            lane: read_claimed(view, guards, vec![lane], messages_per_lane).pop()?,
            epoch: row.epoch,
            probes: row.probes,
            open_for: (now - row.opened_at).max(0),
            only_lane,
            turn,
        })
    })
}
