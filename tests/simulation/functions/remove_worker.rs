//! `remove_worker`: delete the row of a worker that is gone.

use super::guards::Guard;
use crate::postgres::{
    error::Result,
    row_lock::{Locked, RowLock},
    session::Session,
    tables::Worker,
};

pub(crate) async fn remove_worker(session: &Session, worker: u32) -> Result<bool> {
    let guards = session.database().guards();
    session.break_point().await?;
    let statement = session.statement().await?;
    let is_gone = |row: &Worker| row.gone || !guards.has(Guard::RemoveGone);
    let found = statement
        .read(|view| view.find::<Worker>(&worker).filter(|(_, row)| is_gone(row)).map(|(place, _)| place));
    if let Some(place) = found
        && let Some((place, _)) = statement.lock(place, RowLock::Update, Locked::Skip, is_gone).await?
        && statement.delete(place, |_: &Worker| true).await?.is_some()
    {
        session.break_point().await?;
        return Ok(true);
    }
    session.break_point().await?;
    let statement = session.statement().await?;
    Ok(statement.read(|view| view.get::<Worker>(&worker).is_none()))
}
