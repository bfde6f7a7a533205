//! `close_breaker`: close a webhook's breaker.

use super::end_probe::Turn;
use crate::postgres::{error::Result, notify::Notification, session::Session, tables::Breaker};

/// The epoch that begins. `turn`: the probe that was answered; absent: an operator closes it.
pub(crate) async fn close_breaker(
    session: &Session,
    webhook: i64,
    turn: Option<Turn>,
) -> Result<Option<i64>> {
    session.break_point().await?;
    let statement = session.statement().await?;
    let found = statement.read(|view| view.find::<Breaker>(&webhook).map(|(place, _)| place));
    let Some(place) = found else { return Ok(None) };
    let closes = |row: &Breaker| match turn {
        Some(turn) => turn.holds(session, row),
        None => row.open,
    };
    let closed = |row: &Breaker| Breaker {
        open: false,
        epoch: row.epoch + 1,
        probes: 0,
        probe: None,
        wake_after: Some(i64::MIN),
        ..row.clone()
    };
    let Some(row) = statement.update(place, |row: &Breaker| closes(row).then(|| closed(row))).await? else {
        return Ok(None);
    };
    session.break_point().await?;
    session.notify(Notification::Webhooks)?;
    Ok(Some(row.epoch))
}
