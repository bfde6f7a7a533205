//! `mark_worker_gone`: from now on the worker claims nothing, and anybody may take its lanes.

use crate::postgres::{
    error::Result,
    row_lock::{Locked, RowLock},
    session::Session,
    tables::Worker,
};

pub(crate) async fn mark_worker_gone(session: &Session, worker: u32) -> Result<bool> {
    session.break_point().await?;
    let statement = session.statement().await?;
    let lives = |row: &Worker| !row.gone;
    let found = statement
        .read(|view| view.find::<Worker>(&worker).filter(|(_, row)| lives(row)).map(|(place, _)| place));
    let Some(place) = found else { return Ok(false) };
    let Some((place, _)) = statement.lock(place, RowLock::NoKeyUpdate, Locked::Skip, lives).await? else {
        return Ok(false);
    };
    let marked = statement.update(place, |row: &Worker| Some(Worker { gone: true, ..row.clone() })).await?;
    session.break_point().await?;
    Ok(marked.is_some())
}
