//! `discard_dead_letters`: delete some dead letters.

use crate::postgres::{
    error::Result,
    row_lock::{Locked, RowLock},
    session::Session,
    tables::DeadLetter,
};

pub(crate) async fn discard_dead_letters(session: &Session, ids: &[i64]) -> Result<Vec<(i64, &'static str)>> {
    session.break_point().await?;
    let statement = session.statement().await?;
    let mut places = Vec::new();
    for id in ids {
        let found = statement.read(|view| view.find::<DeadLetter>(id).map(|(place, _)| place));
        if let Some(place) = found {
            let row = statement.lock(place, RowLock::Update, Locked::Skip, |_: &DeadLetter| true).await?;
            places.extend(row.map(|(place, _)| place));
        }
    }
    let mut discarded = Vec::new();
    for place in places {
        discarded.extend(statement.delete(place, |_: &DeadLetter| true).await?.map(|letter| letter.id));
    }
    session.break_point().await?;
    let statement = session.statement().await?;
    Ok(statement.read(|view| {
        let outcome = |id: &i64| match view.get::<DeadLetter>(id) {
            _ if discarded.contains(id) => "discarded",
            Some(_) => "row_locked",
            None => "absent",
        };
        ids.iter().map(|id| (*id, outcome(id))).collect()
    }))
}
