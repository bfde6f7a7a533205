//! `read_claimed`: the next messages of lanes that were just claimed.

use super::{
    guards::{Guard, Guards},
    owed,
};
use crate::postgres::{
    tables::{Delivery, Lane, Message, Webhook},
    view::View,
};

/// A message that a lane owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) message: i64,
    pub(crate) replayed: bool,
    /// It was deleted.
    pub(crate) missing: bool,
    /// The webhook keeps the latest message, and there is a newer one.
    pub(crate) superseded: bool,
}

/// A lane as its worker reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claimed {
    pub(crate) lane: Lane,
    pub(crate) messages: Vec<Read>,
}

/// `latest_message`: the newest message that a lane owes, replays aside, if its webhook keeps the
/// latest message.
fn latest_message(view: &View<'_>, webhook: i64, lane: i64, after: i64) -> Option<i64> {
    view.get::<Webhook>(&webhook).filter(|row| row.latest)?;
    owed(view, webhook, lane, after).rfind(|message| {
        view.get::<Delivery>(&(webhook, lane, *message)).is_some_and(|delivery| !delivery.replayed)
    })
}

/// The messages of a lane after some position.
pub(super) fn read_after(
    view: &View<'_>,
    guards: Guards,
    row: &Lane,
    position: i64,
    at_most: usize,
) -> Vec<Read> {
    let (webhook, lane) = (row.webhook, row.lane);
    let latest = latest_message(view, webhook, lane, row.position).filter(|_| guards.has(Guard::ReadLatest));
    let read = |message| {
        let replayed =
            view.get::<Delivery>(&(webhook, lane, message)).is_some_and(|delivery| delivery.replayed);
        let superseded = !replayed && latest.is_some_and(|latest| message < latest);
        let missing = !superseded && view.get::<Message>(&message).is_none();
        Read { message, replayed, missing, superseded }
    };
    owed(view, webhook, lane, position).take(at_most).map(read).collect()
}

pub(super) fn read_claimed(
    view: &View<'_>,
    guards: Guards,
    claimed: Vec<Lane>,
    messages_per_lane: usize,
) -> Vec<Claimed> {
    claimed
        .into_iter()
        .map(|lane| {
            let messages = read_after(view, guards, &lane, lane.position, messages_per_lane);
            Claimed { lane, messages }
        })
        .collect()
}
