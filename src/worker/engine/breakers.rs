//! The circuit breakers of all webhooks, as this worker knows them. The rules are in
//! `scheduling/breaker`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Instant,
};

use super::{
    super::scheduling::breaker::{Breaker, Reach},
    probe::Probing,
};

/// The breakers, as this worker knows them.
#[derive(Default)]
pub(super) struct Breakers {
    pub(super) webhooks: HashMap<i64, Breaker>,
    /// Webhooks that this worker suspects, and why. Each waits for the settle of this number.
    pub(super) suspects: BTreeMap<i64, (u64, String)>,
    /// Webhooks whose breakers are open. `Engine::switch` keeps this in step with `webhooks`.
    pub(super) open: BTreeSet<i64>,
    /// Webhooks whose lanes are being made due.
    pub(super) waking: BTreeSet<i64>,
    pub(super) probing: Probing,
    pub(super) reach: Reach,
}

impl Breakers {
    /// The breaker of a webhook. Without a row it is closed, in epoch 0.
    pub(super) fn of(&mut self, webhook_id: i64) -> &mut Breaker {
        self.webhooks.entry(webhook_id).or_default()
    }

    /// Whether requests may be started that are no probes.
    pub(super) fn may_send(&self, webhook_id: i64) -> bool {
        self.webhooks.get(&webhook_id).is_none_or(Breaker::may_send)
    }

    pub(super) fn is_open(&self, webhook_id: i64) -> bool {
        self.open.contains(&webhook_id)
    }

    /// The present epoch of a webhook's breaker.
    pub(super) fn epoch(&self, webhook_id: i64) -> i64 {
        self.webhooks.get(&webhook_id).map_or(0, Breaker::epoch)
    }

    /// How many requests of a webhook may be in flight.
    pub(super) fn most_in_flight(&self, webhook_id: i64) -> Option<usize> {
        self.webhooks.get(&webhook_id).and_then(Breaker::most_in_flight)
    }

    /// Webhooks that this worker suspects, or leaves to others.
    pub(super) fn suspects(&self) -> impl Iterator<Item = i64> {
        self.suspects.keys().copied()
    }

    /// The settle of number `failed` has written nothing. What it held goes with number `next`.
    pub(super) fn settle_failed(&mut self, failed: u64, next: u64) {
        for (settle, _) in self.suspects.values_mut().filter(|(settle, _)| *settle == failed) {
            *settle = next;
        }
    }

    /// Forgets a webhook that is gone.
    pub(super) fn forget(&mut self, webhook_id: i64) {
        self.webhooks.remove(&webhook_id);
        self.suspects.remove(&webhook_id);
        self.open.remove(&webhook_id);
    }

    /// When something about a webhook changes by itself. `written`: how many settles have ended. The
    /// end of another settle wakes the engine.
    pub(super) fn due(&self, written: u64) -> Option<Instant> {
        let ready = self.suspects.iter().filter(|(_, (settle, _))| written >= *settle);
        ready.filter_map(|(id, _)| self.webhooks.get(id)?.due()).min()
    }
}
