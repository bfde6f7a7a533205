//! `claim_messages`: claim the lanes of messages that notifications have named, and read them.

use super::{
    Claimed, Read,
    claim_lanes::{Claimable, take},
    is_sent, owed,
    read_claimed::read_claimed,
    require::{require_read_committed, require_registered},
};
use crate::{
    postgres::{
        error::Result,
        row_lock::{Locked, RowLock},
        session::Session,
        table::Place,
        tables::{Delivery, Lane, Message, Webhook},
        view::View,
    },
    schedule::Micros,
};

/// What a worker asks for.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) worker: u32,
    pub(crate) token: i64,
    pub(crate) messages: Vec<i64>,
    pub(crate) full_webhooks: Vec<i64>,
    pub(crate) lanes_at_most: usize,
    pub(crate) messages_per_lane: usize,
}

/// Lanes that were claimed; and messages of lanes that the worker held before. The position of the
/// latter is the last message before it that the lane owes.
pub(crate) async fn claim_messages(session: &Session, told: &Told) -> Result<(Vec<Claimed>, Vec<Claimed>)> {
    session.set_flush(false)?;
    require_read_committed(session)?;
    require_registered(session, told.worker).await?;
    let guards = session.database().guards();

    session.break_point().await?;
    let statement = session.statement().await?;
    let now = session.statement_at();
    let may_claim = statement.read(|view| Claimable::new(view, guards, false, now));
    let mut places: Vec<Place> = Vec::new();
    for place in statement.read(|view| lanes_of(view, told, &may_claim, now)) {
        if places.len() >= told.lanes_at_most {
            break;
        }
        // Two messages of one lane find it twice.
        let row =
            statement.lock(place, RowLock::Update, Locked::Skip, |lane: &Lane| may_claim.test(lane)).await?;
        places.extend(row.map(|(place, _)| place));
    }
    places.sort_unstable();
    places.dedup();
    let taken = take(&statement, &places, told.worker, told.token, guards).await?;
    let mut claimed = Vec::new();
    if !taken.is_empty() {
        session.break_point().await?;
        let statement = session.statement().await?;
        claimed = statement.read(|view| read_claimed(view, guards, taken, told.messages_per_lane));
    }
    session.break_point().await?;
    let statement = session.statement().await?;
    Ok((claimed, statement.read(|view| held(view, told))))
}

fn lanes_of(view: &View<'_>, told: &Told, may_claim: &Claimable, now: Micros) -> Vec<Place> {
    let mut places = Vec::new();
    for message in told.messages.iter().filter_map(|id| view.get::<Message>(id)) {
        for (_, webhook) in view.range::<Webhook>(..) {
            if webhook.topic != message.topic
                || told.full_webhooks.contains(&webhook.id)
                || !is_sent(view, webhook, now, may_claim.guards)
            {
                continue;
            }
            let lane = view.find::<Lane>(&(webhook.id, message.lane));
            places.extend(lane.filter(|(_, lane)| may_claim.test(lane)).map(|(place, _)| place));
        }
    }
    places
}

fn held(view: &View<'_>, told: &Told) -> Vec<Claimed> {
    let mut found = Vec::new();
    for message in told.messages.iter().filter_map(|id| view.get::<Message>(id)) {
        for (_, webhook) in view.range::<Webhook>(..).filter(|(_, webhook)| webhook.topic == message.topic) {
            let Some(lane) = view.get::<Lane>(&(webhook.id, message.lane)) else { continue };
            let Some(delivery) = view.get::<Delivery>(&(webhook.id, message.lane, message.id)) else {
                continue;
            };
            if lane.claimed_by != Some(told.worker) || lane.token == Some(told.token) {
                continue;
            }
            let before =
                owed(view, webhook.id, message.lane, lane.position).take_while(|id| *id < message.id).last();
            let (replayed, missing, superseded) = (delivery.replayed, false, false);
            let read = Read { message: message.id, replayed, missing, superseded };
            let position = before.unwrap_or(lane.position);
            found.push(Claimed { lane: Lane { position, ..lane.clone() }, messages: vec![read] });
        }
    }
    found
}
