//! `step_job`: a step of a job. Only backfills are modelled: `backfill_step`, which goes on as
//! `replay_step` and `pick_messages`.
//!
//! Jobs begin here where the real ones have waited for all transactions that were open.

use super::{
    list_webhooks_of_topics::webhooks_changed,
    owe_deliveries::{ALREADY_OWED, MESSAGE_GONE, OWED, ROW_LOCKED, STRIPE_TAKEN},
    owe_messages::owe_messages,
    require::require_read_committed,
};
use crate::postgres::{
    error::Result,
    row_lock::{Locked, RowLock},
    session::Session,
    tables::{Job, JobState, Message, Webhook},
};

/// What a step says: where the job stands, how much it did, whether it waits for somebody.
pub(crate) type Stepped = (Option<JobState>, i64, bool);

pub(crate) async fn step_job(session: &Session, job: i64, at_most: usize) -> Result<Stepped> {
    let Some(job) = begin_job_step(session, job).await? else { return Ok((None, 0, false)) };
    if job.state != JobState::Running {
        return Ok((Some(job.state), 0, false));
    }
    let (step, did) = replay_step(session, &job, at_most).await?;
    if step.state == JobState::Succeeded {
        start_webhook(session, job.webhook).await?;
    }
    let waits = did == 0 && !step.left.is_empty() && step.after == job.after;
    let state = step.state;
    session.break_point().await?;
    write_job(session, step).await?;
    Ok((Some(state), did, waits))
}

/// `replay_step`: the job as it is after the step, and how many messages that dealt with.
async fn replay_step(session: &Session, job: &Job, at_most: usize) -> Result<(Job, i64)> {
    session.break_point().await?;
    let Picked { ids, filtered, last_id } =
        pick_messages(session, job, at_most.saturating_sub(job.left.len())).await?;
    session.break_point().await?;
    session.statement().await?;
    let ids: Vec<i64> = job.left.iter().copied().chain(ids).collect();
    let rows = owe_messages(session, job.webhook, &ids, false, false).await?;
    let count = |wanted: &str| count(rows.iter().filter(|(_, outcome)| *outcome == wanted).count());
    let left = rows.iter().filter(|(_, outcome)| [STRIPE_TAKEN, ROW_LOCKED].contains(outcome));
    let left: Vec<i64> = left.map(|(id, _)| *id).collect();
    let is_finished = last_id >= job.until && left.is_empty();
    let did = count(OWED) + count(ALREADY_OWED) + count(MESSAGE_GONE) + filtered;
    let step = Job {
        state: if is_finished { JobState::Succeeded } else { JobState::Running },
        after: last_id,
        left,
        done: job.done + count(OWED),
        already_owed: job.already_owed + count(ALREADY_OWED),
        ..job.clone()
    };
    Ok((step, did))
}

fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
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
struct Picked {
    ids: Vec<i64>,
    filtered: i64,
    last_id: i64,
}

/// `pick_messages`. The real one looks at 10,000 messages at most: no script has so many.
async fn pick_messages(session: &Session, job: &Job, at_most: usize) -> Result<Picked> {
    let statement = session.statement().await?;
    let judges = statement
        .read(|view| view.get::<Webhook>(&job.webhook).is_some_and(|webhook| webhook.types.is_some()));
    if at_most == 0 {
        return Ok(Picked { ids: Vec::new(), filtered: 0, last_id: job.after });
    }
    session.break_point().await?;
    let statement = session.statement().await?;
    let asked: Vec<i64> = statement.read(|view| {
        let seen = view.range::<Message>(job.after + 1..).take_while(|(_, row)| row.id <= job.until);
        let asked = seen.map(|(_, row)| row).filter(|row| row.topic == job.topic);
        asked.map(|row| row.id).take(at_most).collect()
    });
    let mut ids = Vec::new();
    for id in &asked {
        if !judges || is_for_webhook(session, job.webhook, *id).await? {
            ids.push(*id);
        }
    }
    let filtered = count(asked.len() - ids.len());
    let last_id = asked.last().copied().filter(|_| asked.len() == at_most).unwrap_or(job.until);
    Ok(Picked { ids, filtered, last_id })
}

/// `is_for_webhook`.
async fn is_for_webhook(session: &Session, webhook: i64, message: i64) -> Result<bool> {
    let statement = session.statement().await?;
    Ok(statement.read(|view| {
        let (webhook, message) = (view.get::<Webhook>(&webhook), view.get::<Message>(&message));
        let judge =
            |webhook: &Webhook, message: &Message| webhook.types.is_none() || message.kind == webhook.types;
        webhook.zip(message).is_some_and(|(webhook, message)| judge(webhook, message))
    }))
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
