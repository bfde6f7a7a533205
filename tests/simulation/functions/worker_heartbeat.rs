//! `worker_heartbeat`, and the registration of a worker.

use crate::postgres::{
    error::{Error, Result},
    session::Session,
    tables::Worker,
};

/// `sql/workers/register.sql`. The worker holds its session lock already.
pub(crate) async fn register_worker(session: &Session, worker: u32, lock_key: i32) -> Result<()> {
    let statement = session.statement().await?;
    let heartbeat_at = session.clock();
    statement.insert(Worker { id: worker, lock_key, gone: false, heartbeat_at }).await
}

/// Says that a worker lives.
pub(crate) async fn worker_heartbeat(session: &Session, worker: u32) -> Result<()> {
    session.set_flush(false)?;
    session.break_point().await?;
    let statement = session.statement().await?;
    let found = statement.read(|view| view.find::<Worker>(&worker).map(|(place, _)| place));
    let place = found.ok_or(Error::NotInState)?;
    let now = session.clock();
    let beat = |row: &Worker| (!row.gone).then(|| Worker { heartbeat_at: now, ..row.clone() });
    let written = statement.update(place, beat).await?;
    written.map(|_| ()).ok_or(Error::NotInState)
}
