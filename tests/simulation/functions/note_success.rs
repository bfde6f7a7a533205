//! `note_success`: say that requests are accepted, although another worker suspects the webhook.

use super::open_breaker::{OBJECTION, SUCCESS_COUNTS};
use crate::postgres::{
    error::Result,
    row_lock::{Locked, RowLock},
    session::Session,
    tables::Breaker,
};

pub(crate) async fn note_success(session: &Session, worker: u32, webhooks: &[i64]) -> Result<usize> {
    session.set_flush(false)?;
    session.break_point().await?;
    let statement = session.statement().await?;
    let now = session.clock();
    let asked =
        |row: &Breaker| !row.open && row.suspected_at.is_some_and(|at| at > now - OBJECTION - SUCCESS_COUNTS);
    let mut noted = 0;
    for webhook in webhooks {
        let found = statement
            .read(|view| view.find::<Breaker>(webhook).filter(|(_, row)| asked(row)).map(|(place, _)| place));
        let Some(place) = found else { continue };
        if let Some((place, _)) = statement.lock(place, RowLock::Update, Locked::Skip, asked).await? {
            let says = |row: &Breaker| Some(Breaker { success: Some((worker, now)), ..row.clone() });
            noted += usize::from(statement.update(place, says).await?.is_some());
        }
    }
    Ok(noted)
}
