//! `settle`: write what became of requests, for many lanes at once.

use super::{guards::Guard, owed, require::require_read_committed};
use crate::{
    postgres::{
        error::Result,
        row_lock::{Locked, RowLock},
        session::Session,
        statement::Statement,
        tables::{Breaker, DeadLetter, Delivery, INFINITY, Lane, Reason, Webhook},
        view::View,
    },
    schedule::{Micros, SECOND},
};

/// What a lane becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Becomes {
    Untouched,
    Held,
    Ready,
    Waiting,
    Halted,
}

impl Becomes {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Untouched => "untouched",
            Self::Held => "held",
            Self::Ready => "ready",
            Self::Waiting => "waiting",
            Self::Halted => "halted",
        }
    }
}

/// What is to be written of a lane.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) webhook: i64,
    pub(crate) lane: i64,
    pub(crate) token: i64,
    pub(crate) becomes: Becomes,
    pub(crate) generation: i32,
    pub(crate) position: i64,
    pub(crate) delay: Micros,
    pub(crate) head: Option<i64>,
    pub(crate) failures: i32,
    pub(crate) batch_last: Option<i64>,
    pub(crate) batch_count: Option<i32>,
    pub(crate) split_until: Option<i64>,
    pub(crate) error: Option<i32>,
    /// The epoch of the breaker when the request began that has failed.
    pub(crate) epoch: Option<i64>,
}

/// A call of `settle`. Deliveries name their lanes by number, from 0.
#[derive(Clone, Debug)]
pub(crate) struct Settlement {
    pub(crate) worker: u32,
    pub(crate) lanes: Vec<Outcome>,
    pub(crate) done: Vec<(usize, i64)>,
    pub(crate) dead: Vec<(usize, i64, i32, Reason)>,
}

/// What the call says of a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Said {
    Locked,
    Lost,
    Renewed(i32),
}

pub(crate) async fn settle(session: &Session, call: &Settlement) -> Result<Vec<(usize, Said)>> {
    session.with_lock_timeout(SECOND / 10, async || settle_lanes(session, call).await).await
}

async fn settle_lanes(session: &Session, call: &Settlement) -> Result<Vec<(usize, Said)>> {
    session.set_flush(false)?;
    require_read_committed(session)?;
    session.break_point().await?;
    let mine = lock_lanes(session, call).await?;
    let outdated = if call.lanes.iter().any(|outcome| outcome.epoch.is_some()) {
        session.break_point().await?;
        outdated(session, call).await?
    } else {
        vec![false; call.lanes.len()]
    };
    session.break_point().await?;
    if !call.done.is_empty() {
        delete_done(session, call, &mine).await?;
    }
    session.break_point().await?;
    if !call.dead.is_empty() {
        bury(session, call, &mine, &outdated).await?;
    }
    session.break_point().await?;
    if call.lanes.iter().any(|outcome| outcome.becomes != Becomes::Untouched) {
        write_lanes(session, call, &mine, &outdated).await?;
    }
    session.break_point().await?;
    say(session, call, &mine).await
}

/// The generation of each lane that is the worker's and could be locked.
async fn lock_lanes(session: &Session, call: &Settlement) -> Result<Vec<Option<i32>>> {
    let guards = session.database().guards();
    let statement = session.statement().await?;
    let mut mine = Vec::new();
    for outcome in &call.lanes {
        let is_mine = |lane: &Lane| {
            (lane.claimed_by == Some(call.worker) || !guards.has(Guard::SettleWorker))
                && (lane.token == Some(outcome.token) || !guards.has(Guard::SettleToken))
        };
        let found = statement.read(|view| {
            let lane = view.find::<Lane>(&(outcome.webhook, outcome.lane));
            lane.filter(|(_, lane)| is_mine(lane)).map(|(place, _)| place)
        });
        let locked = if guards.has(Guard::SettleSkipsLocked) { Locked::Skip } else { Locked::Wait };
        let row = match found {
            Some(place) => statement.lock(place, RowLock::Update, locked, is_mine).await?,
            None => None,
        };
        mine.push(row.map(|(_, lane)| lane.generation));
    }
    Ok(mine)
}

/// Whose failures began in an earlier epoch of their webhook's breaker.
async fn outdated(session: &Session, call: &Settlement) -> Result<Vec<bool>> {
    let guards = session.database().guards();
    let statement = session.statement().await?;
    Ok(statement.read(|view| {
        let epoch = |webhook: i64| view.get::<Breaker>(&webhook).map_or(0, |breaker| breaker.epoch);
        let is_outdated = |outcome: &Outcome| {
            outcome.epoch.is_some_and(|began| began != epoch(outcome.webhook))
                && guards.has(Guard::SettleEpoch)
        };
        call.lanes.iter().map(is_outdated).collect()
    }))
}

async fn delete_done(session: &Session, call: &Settlement, mine: &[Option<i32>]) -> Result<()> {
    let statement = session.statement().await?;
    let mut deleted = 0;
    for (number, message) in call.done.iter().filter(|(number, _)| mine[*number].is_some()) {
        let outcome = &call.lanes[*number];
        let key = (outcome.webhook, outcome.lane, *message);
        let found = statement.read(|view| view.find::<Delivery>(&key).map(|(place, _)| place));
        if let Some(place) = found {
            deleted += usize::from(statement.delete(place, |_: &Delivery| true).await?.is_some());
        }
    }
    if deleted == call.done.len() {
        return Ok(());
    }
    let statement = session.statement().await?;
    for (number, message) in call.done.iter().filter(|(number, _)| mine[*number].is_some()) {
        let found = statement.read(|view| {
            let letter = view.find_second::<DeadLetter>(&(call.lanes[*number].webhook, *message));
            letter.filter(|(_, letter)| letter.reason == Reason::Canceled).map(|(place, _)| place)
        });
        if let Some(place) = found {
            statement.delete(place, |_: &DeadLetter| true).await?;
        }
    }
    Ok(())
}

/// Deliveries become dead letters.
async fn bury(session: &Session, call: &Settlement, mine: &[Option<i32>], outdated: &[bool]) -> Result<()> {
    let statement = session.statement().await?;
    let written = |number: usize| mine[number].is_some() && !outdated[number];
    for (number, message, attempts, reason) in call.dead.iter().filter(|(number, ..)| written(*number)) {
        let outcome = &call.lanes[*number];
        let key = (outcome.webhook, outcome.lane, *message);
        let found = statement.read(|view| view.find::<Delivery>(&key).map(|(place, _)| place));
        let Some(place) = found else { continue };
        if statement.delete(place, |_: &Delivery| true).await?.is_none() {
            continue;
        }
        let partition = statement.read(|view| {
            view.get::<Webhook>(&outcome.webhook)?;
            view.get::<Lane>(&(outcome.webhook, outcome.lane)).map(|lane| lane.key)
        });
        if let Some(partition) = partition {
            let letter = DeadLetter {
                id: 0,
                webhook: outcome.webhook,
                lane: outcome.lane,
                message: *message,
                key: partition,
                reason: *reason,
                attempts: *attempts,
                error: outcome.error,
            };
            upsert_letter(session, &statement, letter).await?;
        }
    }
    // dead_letters_flush
    session.set_flush(true)
}

/// INSERT INTO `dead_letters` ... ON CONFLICT DO UPDATE. Returns its id.
pub(super) async fn upsert_letter(
    session: &Session,
    statement: &Statement,
    letter: DeadLetter,
) -> Result<i64> {
    let id = {
        let state = &mut *session.database().state();
        state.sequences.dead_letter_ids.next(&mut state.lsn)
    };
    let new = DeadLetter { id, ..letter };
    let row = statement.upsert(new.clone(), |old: &DeadLetter| DeadLetter {
        id: old.id,
        lane: old.lane,
        key: old.key,
        ..new.clone()
    });
    Ok(row.await?.id)
}

async fn write_lanes(
    session: &Session,
    call: &Settlement,
    mine: &[Option<i32>],
    outdated: &[bool],
) -> Result<()> {
    let guards = session.database().guards();
    let statement = session.statement().await?;
    let written = call.lanes.iter().zip(outdated).zip(mine).filter(|(_, mine)| mine.is_some());
    let written = written.map(|((outcome, outdated), _)| (outcome, *outdated));
    for (outcome, outdated) in written.filter(|(outcome, _)| outcome.becomes != Becomes::Untouched) {
        let new = statement.read(|view| {
            let (place, lane) = view.find::<Lane>(&(outcome.webhook, outcome.lane))?;
            let stands = lane.generation == outcome.generation
                || outcome.head == first_owed(view, lane)
                || !guards.has(Guard::SettleHead);
            let waits = matches!(outcome.becomes, Becomes::Waiting | Becomes::Halted);
            Some((place, if outdated || waits && !stands { Becomes::Ready } else { outcome.becomes }))
        });
        let Some((place, becomes)) = new else { continue };
        let now = session.clock();
        let moves = |lane: &Lane| {
            !outdated && (lane.generation == outcome.generation || !guards.has(Guard::SettleGeneration))
        };
        let position =
            |lane: &Lane| if moves(lane) { lane.position.max(outcome.position) } else { lane.position };
        let change = |lane: &Lane| {
            let kept = Outcome {
                head: lane.head,
                failures: lane.failures,
                batch_last: lane.batch_last,
                batch_count: lane.batch_count,
                split_until: lane.split_until,
                error: lane.error,
                ..outcome.clone()
            };
            let outcome = if outdated { &kept } else { outcome };
            Some(written_lane(lane, outcome, becomes, position(lane), now))
        };
        statement.update(place, change).await?;
    }
    Ok(())
}

fn first_owed(view: &View<'_>, lane: &Lane) -> Option<i64> {
    owed(view, lane.webhook, lane.lane, lane.position).next()
}

fn written_lane(lane: &Lane, outcome: &Outcome, becomes: Becomes, position: i64, now: Micros) -> Lane {
    let held = becomes == Becomes::Held;
    Lane {
        position,
        due_at: match becomes {
            Becomes::Held => lane.due_at,
            Becomes::Halted => INFINITY,
            Becomes::Waiting => now + outcome.delay,
            Becomes::Ready | Becomes::Untouched => now,
        },
        wait: (becomes == Becomes::Waiting).then_some(outcome.delay),
        claimed_by: lane.claimed_by.filter(|_| held),
        token: lane.token.filter(|_| held),
        head: outcome.head,
        failures: outcome.failures,
        batch_last: outcome.batch_last,
        batch_count: outcome.batch_count,
        split_until: outcome.split_until,
        error: if outcome.failures > 0 { outcome.error.or(lane.error) } else { None },
        halted: becomes == Becomes::Halted,
        ..lane.clone()
    }
}

async fn say(session: &Session, call: &Settlement, mine: &[Option<i32>]) -> Result<Vec<(usize, Said)>> {
    let mut said = Vec::new();
    if mine.contains(&None) {
        let statement = session.statement().await?;
        statement.read(|view| {
            for (number, outcome) in
                call.lanes.iter().enumerate().filter(|(number, _)| mine[*number].is_none())
            {
                let lane = view.get::<Lane>(&(outcome.webhook, outcome.lane));
                let holds =
                    |lane: &Lane| lane.claimed_by == Some(call.worker) && lane.token == Some(outcome.token);
                said.push((number, if lane.is_some_and(holds) { Said::Locked } else { Said::Lost }));
            }
        });
    }
    for (number, (outcome, newest)) in call.lanes.iter().zip(mine).enumerate() {
        let goes_on = matches!(outcome.becomes, Becomes::Untouched | Becomes::Held);
        if let Some(newest) = newest.filter(|newest| *newest != outcome.generation && goes_on) {
            said.push((number, Said::Renewed(newest)));
        }
    }
    Ok(said)
}
