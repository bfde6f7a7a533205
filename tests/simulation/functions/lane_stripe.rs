//! `lane_stripe`: the stripe that a publisher to a lane locks.

use super::stripe;
use crate::postgres::{
    tables::{Topic, Webhook},
    view::View,
};

/// The topic, and the stripe if the topic is ordered. Nothing: there is no such webhook.
pub(super) fn lane_stripe(view: &View<'_>, webhook: i64, lane: i64) -> Option<(i64, Option<i32>)> {
    let topic = view.get::<Topic>(&view.get::<Webhook>(&webhook)?.topic)?;
    Some((topic.id, stripe(topic, lane)))
}
