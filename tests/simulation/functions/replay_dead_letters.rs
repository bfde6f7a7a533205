//! `replay_dead_letters`: deliver some dead letters once more.

use super::{owe_deliveries::owe_deliveries, require::require_read_committed};
use crate::{
    postgres::{
        error::Result,
        session::Session,
        tables::{DeadLetter, Delivery},
    },
    schedule::SECOND,
};

pub(crate) async fn replay_dead_letters(
    session: &Session,
    ids: &[i64],
    waits: bool,
) -> Result<Vec<(i64, &'static str)>> {
    session.with_lock_timeout(SECOND, async || replay(session, ids, waits).await).await
}

async fn replay(session: &Session, ids: &[i64], waits: bool) -> Result<Vec<(i64, &'static str)>> {
    require_read_committed(session)?;
    session.break_point().await?;
    let statement = session.statement().await?;
    let mut letters: Vec<DeadLetter> =
        statement.read(|view| ids.iter().filter_map(|id| view.get::<DeadLetter>(id).cloned()).collect());
    letters.sort_unstable_by_key(|row| (row.webhook, row.lane, row.message));
    let found: Vec<Delivery> = letters
        .iter()
        .map(|&DeadLetter { webhook, lane, message, .. }| Delivery { webhook, lane, message, replayed: true })
        .collect();
    let outcomes = owe_deliveries(session, &found, true, waits).await?;
    let absent = ids.iter().filter(|id| letters.iter().all(|row| row.id != **id)).map(|id| (*id, "absent"));
    Ok(letters.iter().map(|row| row.id).zip(outcomes).chain(absent).collect())
}
