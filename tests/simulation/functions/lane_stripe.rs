//! `lane_stripe`: the stripe that a publisher to a lane locks.

use super::stripe;
use crate::postgres::{
    tables::{Topic, Webhook},
    view::View,
};

/// Nothing: there is no such webhook. In it, nothing: the topic is unordered.
pub(super) fn lane_stripe(view: &View<'_>, webhook: i64, lane: i64) -> Option<Option<i32>> {
    let topic = view.get::<Topic>(&view.get::<Webhook>(&webhook)?.topic)?;
    Some(stripe(topic, lane))
}
