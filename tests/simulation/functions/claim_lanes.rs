//! `claim_lanes`: claim the earliest due lanes of each webhook, and read them.

use super::{
    Claimed,
    guards::{Guard, Guards},
    is_sent,
    read_claimed::read_claimed,
    require::{require_read_committed, require_registered},
};
use crate::{
    postgres::{
        error::Result,
        row_lock::{Locked, RowLock},
        session::Session,
        statement::Statement,
        table::Place,
        tables::{Lane, Webhook, Worker},
        view::View,
    },
    schedule::Micros,
};

/// What a worker asks for.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) worker: u32,
    pub(crate) token: i64,
    /// Webhooks with room, and how many lanes of each to claim at most.
    pub(crate) webhooks: Vec<(i64, usize)>,
    /// From when on the lanes of each webhook must be due; absent: from the beginning.
    pub(crate) due_after: Vec<Micros>,
    /// Whether lanes of gone workers count.
    pub(crate) sweep: bool,
    pub(crate) messages_per_lane: usize,
}

pub(crate) async fn claim_lanes(session: &Session, claim: &Claim) -> Result<Vec<Claimed>> {
    session.set_flush(false)?;
    require_read_committed(session)?;
    require_registered(session, claim.worker).await?;
    let guards = session.database().guards();
    let now = session.statement_at();

    session.break_point().await?;
    let statement = session.statement().await?;
    let may_claim = statement.read(|view| Claimable::new(view, guards, claim.sweep, now));
    let mut places = Vec::new();
    for (number, (webhook, slots)) in claim.webhooks.iter().enumerate() {
        let after = claim.due_after.get(number).copied().unwrap_or(Micros::MIN);
        let looks = |webhook: &Webhook| !webhook.starting && !webhook.paused;
        if statement.read(|view| view.get::<Webhook>(webhook).is_some_and(looks)) {
            // Inside the statement: rows may change before they are locked.
            session.break_point().await?;
        }
        let locked = if guards.has(Guard::ClaimSkipsLocked) { Locked::Skip } else { Locked::Wait };
        let mut room = *slots;
        for place in statement.read(|view| due(view, *webhook, after, &may_claim)) {
            if room == 0 {
                break;
            }
            let row =
                statement.lock(place, RowLock::Update, locked, |lane: &Lane| may_claim.test(lane)).await?;
            if let Some((place, _)) = row {
                places.push(place);
                room -= 1;
            }
        }
    }
    let claimed = take(&statement, &places, claim.worker, claim.token, guards).await?;
    if claimed.is_empty() {
        return Ok(Vec::new());
    }
    session.break_point().await?;
    let statement = session.statement().await?;
    Ok(statement.read(|view| read_claimed(view, guards, claimed, claim.messages_per_lane)))
}

/// The UPDATE of a claim: only versions that the snapshot shows.
pub(super) async fn take(
    statement: &Statement,
    places: &[Place],
    worker: u32,
    token: i64,
    guards: Guards,
) -> Result<Vec<Lane>> {
    let mut claimed = Vec::new();
    for place in places {
        let taken = |lane: &Lane| Lane { claimed_by: Some(worker), token: Some(token), ..lane.clone() };
        let row = if guards.has(Guard::ClaimByPlace) {
            statement.update(*place, |lane: &Lane| Some(taken(lane))).await?
        } else {
            // As if the row were found by its key.
            statement.update_newest(*place, |lane: &Lane| taken(lane)).await?
        };
        claimed.extend(row);
    }
    Ok(claimed)
}

/// Which lanes may be claimed.
pub(super) struct Claimable {
    pub(super) guards: Guards,
    now: Micros,
    /// For a sweep: the workers that are registered and not gone.
    living: Option<Vec<u32>>,
}

impl Claimable {
    pub(super) fn new(view: &View<'_>, guards: Guards, sweep: bool, now: Micros) -> Self {
        let lives = |worker: &Worker| !worker.gone || !guards.has(Guard::ClaimRegistered);
        let living = sweep.then(|| {
            let workers = view.range::<Worker>(..).map(|(_, worker)| worker);
            workers.filter(|worker| lives(worker)).map(|worker| worker.id).collect()
        });
        Self { guards, now, living }
    }

    pub(super) fn test(&self, lane: &Lane) -> bool {
        (lane.due_at <= self.now || !self.guards.has(Guard::ClaimDue))
            && match (lane.claimed_by, &self.living) {
                (None, _) => true,
                (Some(_), _) if !self.guards.has(Guard::ClaimUnclaimed) => true,
                (Some(_), Some(_)) if !self.guards.has(Guard::SweepGone) => true,
                (Some(holder), Some(living)) => !living.contains(&holder),
                (Some(_), None) => false,
            }
    }
}

/// The lanes of a webhook that may be claimed, earliest first.
pub(super) fn due(view: &View<'_>, webhook: i64, after: Micros, may_claim: &Claimable) -> Vec<Place> {
    let sent = |webhook: &Webhook| is_sent(view, webhook, may_claim.now, may_claim.guards);
    if !view.get::<Webhook>(&webhook).is_some_and(sent) {
        return Vec::new();
    }
    let lanes = view.range::<Lane>((webhook, i64::MIN)..=(webhook, i64::MAX));
    let mut due: Vec<_> = lanes
        .filter(|(_, lane)| lane.due_at >= after && may_claim.test(lane))
        .map(|(place, lane)| (lane.due_at, place))
        .collect();
    due.sort_unstable();
    due.into_iter().map(|(_, place)| place).collect()
}
