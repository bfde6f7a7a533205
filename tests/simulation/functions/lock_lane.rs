//! `lock_lane`: the locks that come before any change of what a lane owes.

use crate::postgres::{
    error::{Error, Result},
    row_lock::{Locked, RowLock},
    session::Session,
    tables::Lane,
};

/// What became of the locks.
pub(super) enum Outcome {
    /// The lane's row, if there is one.
    Locked(Option<Lane>),
    StripeTaken,
    RowLocked,
}

pub(super) async fn lock_lane(
    session: &Session,
    webhook: i64,
    lane: i64,
    stripe: Option<i32>,
    waits: bool,
) -> Result<Outcome> {
    if let Some(stripe) = stripe {
        if waits {
            let tried = session
                .block(async || {
                    session.statement().await?;
                    session.advisory_lock(stripe).await
                })
                .await;
            match tried {
                Err(Error::LockNotAvailable) => return Ok(Outcome::StripeTaken),
                other => other?,
            }
        } else if !session.try_advisory_lock(stripe, false)? {
            return Ok(Outcome::StripeTaken);
        }
    }
    session.break_point().await?;
    let statement = session.statement().await?;
    let found = statement.read(|view| view.find::<Lane>(&(webhook, lane)).map(|(place, _)| place));
    let locked = if waits { Locked::Wait } else { Locked::Skip };
    let row = match found {
        Some(place) => statement.lock(place, RowLock::Update, locked, |_: &Lane| true).await?,
        None => None,
    };
    if row.is_none() && !waits {
        let statement = session.statement().await?;
        if statement.read(|view| view.get::<Lane>(&(webhook, lane)).is_some()) {
            return Ok(Outcome::RowLocked);
        }
    }
    Ok(Outcome::Locked(row.map(|(_, lane)| lane)))
}
