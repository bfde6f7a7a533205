//! `backfill_step`: a step of a job that makes earlier messages owed to a webhook that is starting.
//!
//! Jobs begin here where the real ones have waited for all transactions that were open.

use super::{
    guards::Guard, list_webhooks_of_topics::webhooks_changed, require::require_read_committed, stripe,
};
use crate::postgres::{
    error::{Error, Result},
    row_lock::{Locked, RowLock},
    session::Session,
    tables::{Delivery, Job, JobState, Lane, Message, Topic, Webhook},
    view::View,
};

/// What a step says: where the job stands, how much it did, whether it waits for somebody.
pub(crate) type Stepped = (Option<JobState>, i64, bool);

pub(crate) async fn backfill_step(session: &Session, job: i64, at_most: usize) -> Result<Stepped> {
    let Some(job) = begin_job_step(session, job).await? else { return Ok((None, 0, false)) };
    if job.state != JobState::Running {
        return Ok((Some(job.state), 0, false));
    }
    session.break_point().await?;
    let statement = session.statement().await?;
    let room = at_most.saturating_sub(job.left.len());
    let (picked, filtered, last_id) = statement.read(|view| pick(view, &job, room));
    let ids: Vec<i64> = job.left.iter().copied().chain(picked).collect();

    let statement = session.statement().await?;
    let topic = statement.read(|view| view.get::<Topic>(&job.topic).cloned()).ok_or(Error::NoSuchObject)?;
    session.break_point().await?;
    let free = take_stripes(session, &topic, &ids).await?;
    session.break_point().await?;
    let held = hold_messages(session, &topic, &ids, &free).await?;
    session.break_point().await?;
    let owed = owe(session, &job, &topic, &held).await?;
    session.break_point().await?;
    let statement = session.statement().await?;
    let mut left: Vec<i64> = statement.read(|view| {
        let waiting = ids.iter().filter(|id| !held.contains(id) && view.get::<Message>(id).is_some());
        waiting.copied().collect()
    });
    left.sort_unstable();
    let all = count(&held);
    let did = all + filtered;
    let waits = did == 0 && !left.is_empty() && last_id == job.after;
    let is_finished = last_id >= job.until && left.is_empty();
    if is_finished {
        start_webhook(session, job.webhook).await?;
    }
    let state = if is_finished { JobState::Succeeded } else { JobState::Running };
    let ended = Job {
        state,
        after: last_id,
        left,
        done: job.done + owed,
        already_owed: job.already_owed + all - owed,
        ..job
    };
    write_job(session, ended).await?;
    Ok((Some(state), did, waits))
}

fn count(ids: &[i64]) -> i64 {
    i64::try_from(ids.len()).unwrap_or(i64::MAX)
}

/// `begin_job_step`. Nothing: the job has ended.
async fn begin_job_step(session: &Session, id: i64) -> Result<Option<Job>> {
    session.set_flush(false)?;
    require_read_committed(session)?;
    session.break_point().await?;
    let statement = session.statement().await?;
    let goes_on = |job: &Job| matches!(job.state, JobState::Queued | JobState::Running);
    let found =
        statement.read(|view| view.find::<Job>(&id).filter(|(_, job)| goes_on(job)).map(|(place, _)| place));
    let Some(place) = found else { return Ok(None) };
    let locked = statement.lock(place, RowLock::NoKeyUpdate, Locked::Wait, goes_on).await?;
    let Some((_, job)) = locked else { return Ok(None) };
    let statement = session.statement().await?;
    let lives = statement.read(|view| view.get::<Webhook>(&job.webhook).is_some());
    let state = if lives { JobState::Running } else { JobState::Failed };
    write_job(session, Job { state, ..job }).await.map(Some)
}

async fn write_job(session: &Session, job: Job) -> Result<Job> {
    let statement = session.statement().await?;
    if let Some(place) = statement.read(|view| view.find::<Job>(&job.id).map(|(place, _)| place)) {
        statement.update(place, |_: &Job| Some(job.clone())).await?;
    }
    Ok(job)
}

/// The next messages for the webhook, how many it does not want, and how far the step goes.
fn pick(view: &View<'_>, job: &Job, room: usize) -> (Vec<i64>, i64, i64) {
    let types = view.get::<Webhook>(&job.webhook).and_then(|webhook| webhook.types);
    let seen = view.range::<Message>(job.after + 1..).take_while(|(_, row)| row.id <= job.until);
    let asked: Vec<&Message> =
        seen.map(|(_, row)| row).filter(|row| row.topic == job.topic).take(room).collect();
    let wanted = asked.iter().filter(|row| types.is_none() || row.kind == types);
    let picked: Vec<i64> = wanted.map(|row| row.id).collect();
    let filtered = i64::try_from(asked.len() - picked.len()).unwrap_or(0);
    let last_id = match asked.last() {
        _ if room == 0 => job.after,
        Some(last) if asked.len() == room => last.id,
        _ => job.until,
    };
    (picked, filtered, last_id)
}

/// The stripes that nobody has.
async fn take_stripes(session: &Session, topic: &Topic, ids: &[i64]) -> Result<Vec<i32>> {
    let guards = session.database().guards();
    let statement = session.statement().await?;
    let mut stripes: Vec<i32> = statement.read(|view| {
        let lanes = ids.iter().filter_map(|id| view.get::<Message>(id));
        lanes.filter_map(|row| stripe(topic, row.lane)).collect()
    });
    stripes.sort_unstable();
    stripes.dedup();
    let mut free = Vec::new();
    for stripe in stripes {
        if !guards.has(Guard::BackfillStripe) || session.try_advisory_lock(stripe, false)? {
            free.push(stripe);
        }
    }
    Ok(free)
}

/// The messages that are kept from being deleted, and whose stripe is held.
async fn hold_messages(session: &Session, topic: &Topic, ids: &[i64], free: &[i32]) -> Result<Vec<i64>> {
    let keeps = session.database().guards().has(Guard::BackfillKeepsMessage);
    let statement = session.statement().await?;
    let mut held = Vec::new();
    for id in ids {
        let found = statement.read(|view| view.find::<Message>(id).map(|(place, row)| (place, row.lane)));
        let Some((place, lane)) = found else { continue };
        let locked = statement.lock(place, RowLock::KeyShare, Locked::Skip, |_: &Message| true);
        if keeps && locked.await?.is_none() {
            continue;
        }
        if stripe(topic, lane).is_none_or(|stripe| free.contains(&stripe)) {
            held.push(*id);
        }
    }
    Ok(held)
}

/// The deliveries, then the lanes. How many messages were not owed before.
async fn owe(session: &Session, job: &Job, topic: &Topic, held: &[i64]) -> Result<i64> {
    let guards = session.database().guards();
    let statement = session.statement().await?;
    let mut firsts: Vec<(i64, i64, u32)> = Vec::new();
    let mut owed = 0;
    for id in held {
        let found = statement.read(|view| view.get::<Message>(id).map(|row| (row.lane, row.key)));
        let Some((lane, key)) = found else { continue };
        let delivery = Delivery { webhook: job.webhook, lane, message: *id, replayed: false };
        if !guards.has(Guard::BackfillConflict) {
            statement.insert(delivery).await?;
        } else if !statement.insert_or_ignore(delivery).await? {
            continue;
        }
        owed += 1;
        match firsts.iter_mut().find(|(other, ..)| *other == lane) {
            Some((_, first, _)) => *first = (*first).min(*id),
            None => firsts.push((lane, *id, key)),
        }
    }
    firsts.sort_unstable();
    for (lane, first, key) in firsts {
        let row = Lane::ready(job.webhook, lane, key, stripe(topic, lane), first, session.clock());
        let renewed = |old: &Lane| Lane {
            position: old.position.min(first - 1),
            generation: old.generation + 1,
            ..old.clone()
        };
        statement.upsert(row, renewed).await?;
    }
    Ok(owed)
}

/// `start_webhook`.
async fn start_webhook(session: &Session, webhook: i64) -> Result<()> {
    let statement = session.statement().await?;
    let found = statement
        .read(|view| view.find::<Webhook>(&webhook).filter(|(_, row)| row.starting).map(|(place, _)| place));
    if let Some(place) = found {
        let started = |row: &Webhook| row.starting.then(|| Webhook { starting: false, ..row.clone() });
        statement.update(place, started).await?;
    }
    webhooks_changed(session)
}
