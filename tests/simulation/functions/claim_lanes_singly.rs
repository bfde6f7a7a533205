//! `claim_lanes_singly`: `claim_lanes`, but lane by lane and without reading.

use super::{
    Claimed,
    claim_lanes::{Claim, Claimable, due, take},
    guards::Guard,
    require::{require_read_committed, require_registered},
};
use crate::{
    postgres::{
        error::Result,
        row_lock::{Locked, RowLock},
        session::Session,
        table::Place,
        tables::Lane,
    },
    schedule::Micros,
};

/// How many lanes that cannot be claimed are passed over.
const PASSED_OVER: usize = 100;

pub(crate) async fn claim_lanes_singly(session: &Session, claim: &Claim) -> Result<Vec<Claimed>> {
    session.set_flush(false)?;
    require_read_committed(session)?;
    require_registered(session, claim.worker).await?;
    let guards = session.database().guards();
    let now = session.statement_at();
    let mut claimed = Vec::new();
    for (number, (webhook, slots)) in claim.webhooks.iter().enumerate() {
        let after = claim.due_after.get(number).copied().unwrap_or(Micros::MIN);
        session.break_point().await?;
        let statement = session.statement().await?;
        let places = statement.read(|view| {
            let may_claim = Claimable::new(view, guards, claim.sweep, now);
            due(view, *webhook, after, &may_claim)
        });
        let before = claimed.len();
        for place in places.into_iter().take(slots + PASSED_OVER) {
            if claimed.len() >= before + slots {
                break;
            }
            session.break_point().await?;
            let one = session.block(async || claim_one(session, claim, *webhook, place).await).await;
            claimed.extend(one.ok().flatten());
        }
    }
    Ok(claimed.into_iter().map(|lane| Claimed { lane, messages: Vec::new() }).collect())
}

async fn claim_one(session: &Session, claim: &Claim, webhook: i64, place: Place) -> Result<Option<Lane>> {
    let guards = session.database().guards();
    let checks = guards.has(Guard::SinglyChecksAgain);
    let statement = session.statement().await?;
    let now = session.statement_at();
    let may_claim = statement.read(|view| Claimable::new(view, guards, claim.sweep, now));
    let test = |lane: &Lane| !checks || lane.webhook == webhook && may_claim.test(lane);
    if !statement.read(|view| view.at::<Lane>(place).is_some_and(test)) {
        return Ok(None);
    }
    if statement.lock(place, RowLock::Update, Locked::Skip, test).await?.is_none() {
        return Ok(None);
    }
    let statement = session.statement().await?;
    let taken = take(&statement, &[place], claim.worker, claim.token, guards).await?;
    Ok(taken.into_iter().next())
}
