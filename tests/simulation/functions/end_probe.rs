//! `end_probe`: give the turn to probe a webhook back.

use super::guards::Guard;
use crate::{
    postgres::{
        error::Result,
        session::Session,
        tables::{Breaker, Webhook},
    },
    schedule::Micros,
};

/// Whose turn it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Turn {
    pub(crate) worker: u32,
    pub(crate) token: i64,
    pub(crate) webhook: i64,
    pub(crate) epoch: i64,
}

impl Turn {
    /// Whether it is still this turn.
    pub(super) fn holds(&self, session: &Session, row: &Breaker) -> bool {
        let mine =
            row.probe.as_ref().is_some_and(|probe| (probe.by, probe.token) == (self.worker, self.token));
        row.open && row.epoch == self.epoch && mine || !session.database().guards().has(Guard::ProbeTurn)
    }
}

/// False: it was not this worker's turn any more.
pub(crate) async fn end_probe(
    session: &Session,
    turn: Turn,
    failed: bool,
    next_in: Micros,
    disables: bool,
) -> Result<bool> {
    session.set_flush(disables)?;
    session.break_point().await?;
    let statement = session.statement().await?;
    let now = session.clock();
    let ended = |row: &Breaker| Breaker {
        probe: None,
        probes: row.probes + i32::from(failed),
        next_probe_at: now + next_in,
        ..row.clone()
    };
    let found = statement.read(|view| view.find::<Breaker>(&turn.webhook).map(|(place, _)| place));
    let Some(place) = found else { return Ok(false) };
    let row = statement.update(place, |row: &Breaker| turn.holds(session, row).then(|| ended(row))).await?;
    if row.is_none() || !disables {
        return Ok(row.is_some());
    }
    session.break_point().await?;
    let statement = session.statement().await?;
    if let Some(place) = statement.read(|view| view.find::<Webhook>(&turn.webhook).map(|(place, _)| place)) {
        let off = |row: &Webhook| (!row.disabled).then(|| Webhook { disabled: true, ..row.clone() });
        statement.update(place, off).await?;
    }
    Ok(true)
}
