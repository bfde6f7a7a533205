//! `read_claimed`: the next messages of lanes that were just claimed.

use super::owed;
use crate::postgres::{
    tables::{Delivery, Lane, Message},
    view::View,
};

/// A message that a lane owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) message: i64,
    pub(crate) replayed: bool,
    /// It was deleted.
    pub(crate) missing: bool,
}

/// A lane as its worker reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claimed {
    pub(crate) lane: Lane,
    pub(crate) messages: Vec<Read>,
}

/// The messages of a lane after some position.
pub(super) fn read_after(
    view: &View<'_>,
    webhook: i64,
    lane: i64,
    position: i64,
    at_most: usize,
) -> Vec<Read> {
    let messages = owed(view, webhook, lane, position).take(at_most);
    messages
        .map(|message| Read {
            message,
            replayed: view
                .get::<Delivery>(&(webhook, lane, message))
                .is_some_and(|delivery| delivery.replayed),
            missing: view.get::<Message>(&message).is_none(),
        })
        .collect()
}

pub(super) fn read_claimed(view: &View<'_>, claimed: Vec<Lane>, messages_per_lane: usize) -> Vec<Claimed> {
    claimed
        .into_iter()
        .map(|lane| {
            let messages = read_after(view, lane.webhook, lane.lane, lane.position, messages_per_lane);
            Claimed { lane, messages }
        })
        .collect()
}
