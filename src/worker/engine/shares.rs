//! Shares of the limits that hold for all workers: `max_in_flight` and `rate_limit_per_second`.
//!
//! Promises:
//! - For a webhook with a limit, no request starts before this worker has a share of it.
//! - Once a smaller share is known, no further request starts until the share covers it.
//!
//! A worker asks while it has something to send to such a webhook, every [`SHARE_EVERY`]. The database
//! divides the limit. A worker that gets nothing, since others have it all, gives the webhook's lanes
//! back, and asks again. The others give a part back when they ask next.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Instant,
};

use super::{
    super::tuning::{KEEP_SHARE, SHARE_AGAIN, SHARE_EVERY, SHARES_MAX, WANT_SHARE_FOR},
    event::Endpoint,
};
use crate::store::{Share, ShareAsk};

/// The shares of one worker.
pub(super) struct Shares {
    /// Webhooks with a limit.
    limited: BTreeSet<i64>,
    held: BTreeMap<i64, Held>,
    /// Webhooks whose shares are to be given back.
    done: BTreeSet<i64>,
    /// The ask under way: what it gives back.
    under_way: Option<Vec<i64>>,
    due: Instant,
    not_before: Instant,
    /// The webhook after which the next ask begins.
    asked_last: i64,
}

/// What is held of one webhook.
struct Held {
    /// The share; `None` until the first answer.
    share: Option<Share>,
    /// When something was to be sent last.
    wanted_at: Instant,
    /// The rate that the driver knows.
    rate_told: Option<f64>,
}

impl Held {
    /// Whether other workers have all of it.
    fn is_refused(&self) -> bool {
        self.share.is_some_and(|share| share.slots == Some(0) || share.rate == Some(0.0))
    }
}

impl Shares {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            limited: BTreeSet::new(),
            held: BTreeMap::new(),
            done: BTreeSet::new(),
            under_way: None,
            due: now,
            not_before: now,
            asked_last: i64::MIN,
        }
    }

    /// A webhook was read.
    pub(super) fn changed(&mut self, webhook_id: i64, endpoint: &Endpoint) {
        if endpoint.policy.max_in_flight.is_some() || endpoint.rate_limit_per_second.is_some() {
            self.limited.insert(webhook_id);
            if let Some(held) = self.held.get_mut(&webhook_id) {
                // The driver has made a new endpoint. It may have another rate.
                held.rate_told = None;
            }
        } else {
            self.forget(webhook_id);
        }
    }

    /// A webhook is gone, or has no limit any more.
    pub(super) fn forget(&mut self, webhook_id: i64) {
        self.limited.remove(&webhook_id);
        if self.held.remove(&webhook_id).is_some() {
            self.done.insert(webhook_id);
        }
    }

    /// Something is to be sent to this webhook. If there is no share of it yet, it is asked for at
    /// once.
    pub(super) fn want(&mut self, webhook_id: i64, now: Instant) {
        if !self.limited.contains(&webhook_id) {
            return;
        }
        self.done.remove(&webhook_id);
        let new = Held { share: None, wanted_at: now, rate_told: None };
        let held = self.held.entry(webhook_id).or_insert(new);
        held.wanted_at = now;
        if held.share.is_none() {
            self.due = self.due.min(now);
        }
    }

    /// Whether other workers have the whole limit of this webhook.
    pub(super) fn is_refused(&self, webhook_id: i64) -> bool {
        self.held.get(&webhook_id).is_some_and(Held::is_refused)
    }

    /// The webhooks of which other workers have the whole limit.
    pub(super) fn refused(&self) -> impl Iterator<Item = i64> {
        self.held.iter().filter(|(_, held)| held.is_refused()).map(|(id, _)| *id)
    }

    /// How many requests may be in flight to this webhook; `None`: it has no limit.
    pub(super) fn slots(&self, webhook_id: i64, endpoint: &Endpoint) -> Option<usize> {
        if !self.limited.contains(&webhook_id) {
            return None;
        }
        let share = self.held.get(&webhook_id).and_then(|held| held.share);
        let Some(share) = share.filter(|_| !self.is_refused(webhook_id)) else { return Some(0) };
        let limit = endpoint.policy.max_in_flight.map(|limit| limit as usize);
        // No more lanes than requests a second: further lanes would only wait for the rate, and hold
        // slots that others need.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and a huge rate is no limit"
        )]
        let rate = share.rate.map(|rate| rate.ceil() as usize);
        // A limit that was set a moment ago is in no answer yet.
        let missing = (limit.is_some() && share.slots.is_none())
            || (endpoint.rate_limit_per_second.is_some() && share.rate.is_none());
        if missing { Some(0) } else { [limit, share.slots, rate].into_iter().flatten().min() }
    }

    /// When to ask next; `None` while an ask is under way, or there is nothing to ask for.
    pub(super) fn due(&self) -> Option<Instant> {
        let asks = !self.held.is_empty() || !self.done.is_empty();
        (asks && self.under_way.is_none()).then(|| self.due.max(self.not_before))
    }

    /// Begins an ask. `busy`: the webhooks that lanes have something to send to. `used`: how many
    /// requests are in flight to each webhook.
    pub(super) fn begin(
        &mut self,
        busy: &BTreeSet<i64>,
        used: &HashMap<i64, usize>,
        now: Instant,
    ) -> (Vec<ShareAsk>, Vec<i64>) {
        self.due = now + SHARE_EVERY;
        let used = |webhook_id: &i64| used.get(webhook_id).copied().unwrap_or_default();
        for (webhook_id, held) in &mut self.held {
            if busy.contains(webhook_id) {
                held.wanted_at = now;
            }
        }
        let unused = self.held.iter().filter(|(webhook_id, held)| {
            now.duration_since(held.wanted_at) >= KEEP_SHARE && used(webhook_id) == 0
        });
        self.done.extend(unused.map(|(webhook_id, _)| *webhook_id).collect::<Vec<_>>());
        self.held.retain(|webhook_id, _| !self.done.contains(webhook_id));
        let later = self.held.range(self.asked_last.saturating_add(1)..);
        let all = later.chain(self.held.range(..=self.asked_last)).take(SHARES_MAX);
        let asks: Vec<ShareAsk> = all
            .map(|(webhook_id, held)| {
                let share = held.share;
                let wants = if held.is_refused() {
                    now.duration_since(held.wanted_at) < WANT_SHARE_FOR
                } else {
                    held.wanted_at == now || share.is_none()
                };
                let slots = share.and_then(|share| share.slots).unwrap_or_default();
                ShareAsk {
                    webhook_id: *webhook_id,
                    wants,
                    slots_held: slots.max(used(webhook_id)),
                    rate_held: share.and_then(|share| share.rate).unwrap_or_default(),
                }
            })
            .collect();
        self.asked_last = asks.last().map_or(self.asked_last, |ask| ask.webhook_id);
        let done: Vec<i64> = self.done.iter().copied().collect();
        self.under_way = Some(done.clone());
        (asks, done)
    }

    /// An ask was answered. Returns the webhooks whose state has changed, and the rates that the
    /// driver must know.
    pub(super) fn answered(&mut self, shares: Vec<Share>, now: Instant) -> Answered {
        for webhook_id in self.under_way.take().unwrap_or_default() {
            self.done.remove(&webhook_id);
        }
        let mut answered = Answered::default();
        for share in shares {
            let webhook_id = share.webhook_id;
            // It may have lost its limit meanwhile.
            let Some(held) = self.held.get_mut(&webhook_id) else { continue };
            let sent = held.share.is_some() && !held.is_refused();
            held.share = Some(share);
            match (sent, held.is_refused()) {
                (_, true) => answered.refused.push(webhook_id),
                (false, false) => answered.granted.push(webhook_id),
                (true, false) => {}
            }
            if let Some(rate) = share.rate.filter(|rate| *rate > 0.0)
                && held.rate_told != Some(rate)
            {
                held.rate_told = Some(rate);
                answered.rates.push((webhook_id, rate));
            }
        }
        if !answered.refused.is_empty() {
            self.due = self.due.min(now + SHARE_AGAIN);
        }
        answered
    }

    /// An ask has failed.
    pub(super) fn failed(&mut self, until: Instant) {
        self.under_way = None;
        self.due = until;
        self.not_before = until;
    }
}

/// What an answer changes.
#[derive(Default)]
pub(super) struct Answered {
    /// Requests may start from now on.
    pub(super) granted: Vec<i64>,
    /// No request may start.
    pub(super) refused: Vec<i64>,
    /// New rates.
    pub(super) rates: Vec<(i64, f64)>,
}

#[cfg(test)]
mod tests;
