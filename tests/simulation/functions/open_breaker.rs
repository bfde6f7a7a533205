//! `open_breaker`: open a webhook's breaker, unless another worker objects.

use super::{guards::Guard, require::require_read_committed};
use crate::{
    postgres::{
        error::Result,
        notify::Notification,
        session::Session,
        tables::{Breaker, Webhook, Worker},
    },
    schedule::{Micros, SECOND},
};

/// What the call says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Opening {
    Opened(i64),
    Asked,
    Refused,
    Outdated(i64),
    Off,
}

/// For how long the success of another worker counts.
pub(crate) const SUCCESS_COUNTS: Micros = 10 * SECOND;

/// How long others have for an objection.
pub(crate) const OBJECTION: Micros = SECOND;

/// A call of `open_breaker`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) worker: u32,
    pub(crate) webhook: i64,
    pub(crate) epoch: i64,
    pub(crate) objection: Micros,
    pub(crate) first_probe: Micros,
}

pub(crate) async fn open_breaker(session: &Session, ask: Ask) -> Result<Opening> {
    let Ask { worker, webhook, epoch, objection: time, first_probe } = ask;
    session.set_flush(false)?;
    require_read_committed(session)?;
    let guards = session.database().guards();
    let statement = session.statement().await?;
    let (known, alone) = statement.read(|view| {
        let others = view.range::<Worker>(..).any(|(_, other)| other.id != worker && !other.gone);
        (view.get::<Webhook>(&webhook).is_some(), !others)
    });
    if !known {
        return Ok(Opening::Off);
    }
    session.break_point().await?;
    session.statement().await?.insert_or_ignore(Breaker::closed(webhook)).await?;
    session.break_point().await?;

    let statement = session.statement().await?;
    let now = session.clock();
    let found = statement.read(|view| view.find::<Breaker>(&webhook).map(|(place, _)| place));
    let Some(place) = found else { return Ok(Opening::Outdated(epoch)) };
    let is_present = |row: &Breaker| !row.open && row.epoch == epoch || !guards.has(Guard::OpenEpoch);
    let objection = |row: &Breaker| {
        row.success.is_some_and(|(by, at)| by != worker && at > now - SUCCESS_COUNTS)
            && guards.has(Guard::OpenObjection)
    };
    let opens = |row: &Breaker| {
        is_present(row) && (alone || row.suspected_at.is_some_and(|at| at <= now - time)) && !objection(row)
    };
    let opened = |row: &Breaker| Breaker {
        open: true,
        epoch: row.epoch + 1,
        opened_at: now,
        next_probe_at: now + first_probe,
        probes: 0,
        probe: None,
        suspected_at: None,
        success: None,
        wake_after: None,
        ..row.clone()
    };
    if let Some(row) = statement.update(place, |row: &Breaker| opens(row).then(|| opened(row))).await? {
        session.notify(Notification::Webhooks)?;
        return Ok(Opening::Opened(row.epoch));
    }
    session.break_point().await?;

    let statement = session.statement().await?;
    let now = session.clock();
    let asks = |row: &Breaker| {
        !row.open
            && row.epoch == epoch
            && row.suspected_at.is_none_or(|at| at <= now - time - SUCCESS_COUNTS || at > now)
    };
    let asked = |row: &Breaker| Breaker { suspected_at: Some(now), success: None, ..row.clone() };
    let found = statement.read(|view| view.find::<Breaker>(&webhook).map(|(place, _)| place));
    let Some(place) = found else { return Ok(Opening::Outdated(epoch)) };
    if statement.update(place, |row: &Breaker| asks(row).then(|| asked(row))).await?.is_some() {
        session.notify(Notification::Webhooks)?;
        return Ok(Opening::Asked);
    }
    session.break_point().await?;
    let statement = session.statement().await?;
    let row = statement.read(|view| view.get::<Breaker>(&webhook).cloned());
    Ok(match row {
        Some(row) if row.open || row.epoch != epoch => Opening::Outdated(row.epoch),
        Some(row) if row.success.is_some_and(|(by, _)| by != worker) => Opening::Refused,
        _ => Opening::Asked,
    })
}
