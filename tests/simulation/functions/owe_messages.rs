//! `owe_messages`: have a webhook owe some messages (again).

use super::{
    owe_deliveries::{MESSAGE_GONE, owe_deliveries},
    require::require_read_committed,
};
use crate::{
    postgres::{
        error::Result,
        session::Session,
        tables::{Delivery, Message, Webhook},
    },
    schedule::SECOND,
};

pub(crate) async fn owe_messages(
    session: &Session,
    webhook: i64,
    messages: &[i64],
    replayed: bool,
    waits: bool,
) -> Result<Vec<(i64, &'static str)>> {
    session.with_lock_timeout(SECOND, async || owe(session, webhook, messages, replayed, waits).await).await
}

async fn owe(
    session: &Session,
    webhook: i64,
    messages: &[i64],
    replayed: bool,
    waits: bool,
) -> Result<Vec<(i64, &'static str)>> {
    let statement = session.statement().await?;
    let topic = statement.read(|view| view.get::<Webhook>(&webhook).map(|row| row.topic));
    require_read_committed(session)?;
    let Some(topic) = topic else { return Ok(Vec::new()) };
    session.break_point().await?;
    let statement = session.statement().await?;
    let mut found: Vec<Delivery> = statement.read(|view| {
        let rows = messages.iter().filter_map(|id| view.get::<Message>(id));
        let rows = rows.filter(|row| row.topic == topic);
        rows.map(|row| Delivery { webhook, lane: row.lane, message: row.id, replayed }).collect()
    });
    found.sort_unstable_by_key(|row| (row.lane, row.message));
    let outcomes = owe_deliveries(session, &found, false, waits).await?;
    let gone = messages.iter().filter(|id| found.iter().all(|row| row.message != **id));
    let gone: Vec<_> = gone.map(|id| (*id, MESSAGE_GONE)).collect();
    let mut rows: Vec<_> = found.iter().map(|row| row.message).zip(outcomes).chain(gone).collect();
    rows.sort_unstable();
    Ok(rows)
}
