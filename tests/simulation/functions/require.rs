//! `require_read_committed` and `require_registered`.

use super::guards::Guard;
use crate::postgres::{
    error::{Error, Result},
    row_lock::{Locked, RowLock},
    session::Session,
    tables::Worker,
    transaction::Level,
};

/// The engine's functions need a new snapshot for each statement.
pub(super) fn require_read_committed(session: &Session) -> Result<()> {
    if session.level() == Level::ReadCommitted { Ok(()) } else { Err(Error::InvalidTransaction) }
}

/// Refuses a worker that must not claim.
pub(crate) async fn require_registered(session: &Session, worker: u32) -> Result<()> {
    let guards = session.database().guards();
    let refuses_gone = guards.has(Guard::ClaimRegistered);
    session.break_point().await?;
    let statement = session.statement().await?;
    let may_claim = |row: &Worker| !(refuses_gone && row.gone);
    let found = statement
        .read(|view| view.find::<Worker>(&worker).filter(|(_, row)| may_claim(row)).map(|(place, _)| place));
    let Some(place) = found else { return Err(Error::NotInState) };
    if !guards.has(Guard::ClaimKeepsWorker) {
        return Ok(());
    }
    let locked = statement.lock(place, RowLock::KeyShare, Locked::Wait, may_claim).await?;
    locked.map(|_| ()).ok_or(Error::NotInState)
}
