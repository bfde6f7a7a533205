//! Our SQL functions, statement by statement. Each has the name of its file below `sql/functions`.
//!
//! `Session::statement` is where other sessions may come between. `Session::break_point` stands
//! where conformity stops the real functions, too.

pub(crate) mod cancel_deliveries;
pub(crate) mod claim_lanes;
pub(crate) mod claim_lanes_singly;
pub(crate) mod claim_messages;
pub(crate) mod create_webhook;
pub(crate) mod delete_old_messages;
pub(crate) mod discard_dead_letters;
pub(crate) mod guards;
pub(crate) mod is_held;
mod lane_stripe;
pub(crate) mod list_webhooks_of_topics;
mod lock_idempotency_key;
mod lock_lane;
pub(crate) mod mark_worker_gone;
mod matching_webhooks;
mod messages_fan_out;
pub(crate) mod messages_publish;
mod notify_workers;
mod owe_deliveries;
pub(crate) mod owe_messages;
mod read_claimed;
pub(crate) mod read_lanes;
pub(crate) mod release_lanes;
pub(crate) mod remove_idle_lanes;
pub(crate) mod remove_worker;
pub(crate) mod repair_due_at;
pub(crate) mod replay_dead_letters;
pub(crate) mod require;
pub(crate) mod retry_lanes;
pub(crate) mod settle;
pub(crate) mod step_job;
pub(crate) mod update_webhook;
pub(crate) mod worker_heartbeat;

pub(crate) use self::read_claimed::{Claimed, Read};

use crate::{
    postgres::{
        tables::{Delivery, Pause, Topic, Webhook},
        view::View,
    },
    schedule::Micros,
};

/// What a lane owes after some message, by rising id.
fn owed<'a>(
    view: &'a View<'_>,
    webhook: i64,
    lane: i64,
    after: i64,
) -> impl DoubleEndedIterator<Item = i64> + 'a {
    let keys = (webhook, lane, after.saturating_add(1))..=(webhook, lane, i64::MAX);
    view.range::<Delivery>(keys).map(|(_, delivery)| delivery.message)
}

/// Whether lanes of a webhook may be claimed.
fn is_sent(view: &View<'_>, webhook: &Webhook, now: Micros) -> bool {
    !webhook.starting
        && !webhook.paused
        && !webhook.disabled
        && is_held::held_for(webhook, now).is_none()
        && view.get::<Topic>(&webhook.topic).is_some_and(|topic| topic.paused != Some(Pause::Hold))
}

/// The stripe of a lane.
fn stripe(topic: &Topic, lane: i64) -> Option<i32> {
    topic.ordered.then(|| stripe_of(topic.id, lane))
}

/// The stripe of a lane of an ordered topic.
pub(crate) fn stripe_of(topic: i64, lane: i64) -> i32 {
    i32::try_from((topic & 0x1F_FFFF) << 8 | (lane & 255)).unwrap_or(i32::MAX)
}
