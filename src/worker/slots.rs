//! Who may send next: webhooks share the worker's slots. A slot is the right to have one lane in
//! flight.
//!
//! Promised: a webhook that hangs cannot take the slots that others need. Three rules:
//! - A webhook may hold at most [`SHARE`] times as many slots as are free. So some slots are always
//!   free (Choudhury and Hahne, "Dynamic queue length thresholds", 1998).
//! - Each timeout halves the limit of its webhook, down to a single slot. Each request that is
//!   answered in time adds one slot (additive increase, multiplicative decrease).
//! - While other webhooks wait, a webhook takes at most an equal part of the slots. So a webhook
//!   that is slow, but not broken, yields to the others.

use std::collections::HashMap;

/// A webhook may hold this many slots for each free slot.
const SHARE: usize = 4;

/// The slots of one worker.
#[derive(Debug)]
pub(super) struct Slots {
    capacity: usize,
    used: usize,
    webhooks: HashMap<i64, Webhook>,
}

#[derive(Debug, Default)]
struct Webhook {
    used: usize,
    /// The limit that timeouts have left; `None` while they limit nothing.
    shrunk: Option<usize>,
}

impl Slots {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), used: 0, webhooks: HashMap::new() }
    }

    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// How many slots each webhook uses.
    pub(super) fn by_webhook(&self) -> impl Iterator<Item = (i64, usize)> {
        self.webhooks.iter().map(|(id, webhook)| (*id, webhook.used))
    }

    pub(super) fn free(&self) -> usize {
        self.capacity.saturating_sub(self.used)
    }

    pub(super) fn full(&self) -> bool {
        self.free() == 0
    }

    /// How many slots a webhook may use if no other webhook uses any. `own`: the limit of its
    /// policy.
    pub(super) fn limit(&self, webhook_id: i64, own: Option<usize>) -> usize {
        let shrunk = self.webhooks.get(&webhook_id).and_then(|webhook| webhook.shrunk);
        self.capacity.min(own.unwrap_or(usize::MAX)).min(shrunk.unwrap_or(usize::MAX)).max(1)
    }

    /// Whether a webhook may use one more slot if no other webhook uses any.
    pub(super) fn could_use(&self, webhook_id: i64, own: Option<usize>) -> bool {
        let used = self.webhooks.get(&webhook_id).map_or(0, |webhook| webhook.used);
        used < self.limit(webhook_id, own)
    }

    /// How many slots a webhook may use beside others: at most an equal part. `waiting`: how many
    /// webhooks, this one included, have lanes that wait and could use one more slot. Slots that
    /// come free go to the others.
    pub(super) fn fair_limit(&self, webhook_id: i64, own: Option<usize>, waiting: usize) -> usize {
        self.limit(webhook_id, own).min(self.capacity.div_ceil(waiting.max(1)))
    }

    /// Takes a slot for a webhook, if it may have one; returns whether it did. `waiting` is as for
    /// [`Slots::fair_limit`].
    pub(super) fn take(&mut self, webhook_id: i64, own: Option<usize>, waiting: usize) -> bool {
        let limit = self.fair_limit(webhook_id, own, waiting);
        let free = self.free();
        let webhook = self.webhooks.entry(webhook_id).or_default();
        // If the worker has a single slot, none can be left free.
        let share = if self.capacity == 1 { 1 } else { free * SHARE };
        if free == 0 || webhook.used >= limit || webhook.used >= share {
            return false;
        }
        webhook.used += 1;
        self.used += 1;
        true
    }

    /// Gives a webhook's slot back.
    pub(super) fn give_back(&mut self, webhook_id: i64) {
        let Some(webhook) = self.webhooks.get_mut(&webhook_id) else { return };
        webhook.used = webhook.used.saturating_sub(1);
        self.used = self.used.saturating_sub(1);
        if webhook.used == 0 && webhook.shrunk.is_none() {
            self.webhooks.remove(&webhook_id);
        }
    }

    /// A request of a webhook timed out: halve its limit.
    pub(super) fn timed_out(&mut self, webhook_id: i64) {
        let webhook = self.webhooks.entry(webhook_id).or_default();
        // Halve what it really uses: to halve an unused limit would change nothing.
        let now = webhook.shrunk.unwrap_or(self.capacity).min(webhook.used.max(1));
        webhook.shrunk = Some((now / 2).max(1));
    }

    /// A request of a webhook was answered in time: its limit grows by one slot. At the worker's
    /// capacity the limit ends.
    pub(super) fn answered(&mut self, webhook_id: i64) {
        let capacity = self.capacity;
        let Some(webhook) = self.webhooks.get_mut(&webhook_id) else { return };
        if let Some(shrunk) = webhook.shrunk {
            webhook.shrunk = Some(shrunk + 1).filter(|grown| *grown < capacity);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hanging_webhook_leaves_slots_to_others() {
        let mut slots = Slots::new(100);
        let hanging = (0..1000).filter(|_| slots.take(1, None, 1)).count();
        assert_eq!(hanging, 80);
        let healthy = (0..1000).filter(|_| slots.take(2, None, 2)).count();
        assert!(healthy >= 10, "{healthy}");
        for _ in 0..10 {
            slots.timed_out(1);
        }
        assert_eq!(slots.limit(1, None), 1);
        for _ in 0..200 {
            slots.answered(1);
        }
        assert_eq!(slots.limit(1, None), 100);
    }

    #[test]
    fn a_slow_webhook_gives_way_to_one_that_waits() {
        let mut slots = Slots::new(100);
        while slots.take(1, None, 1) {}
        // Webhook 1 frees its slots one by one. Webhook 2 always wants more.
        for _ in 0..1000 {
            while slots.take(2, None, 2) {}
            if slots.webhooks[&1].used > 0 {
                slots.give_back(1);
                slots.take(1, None, 2);
            }
        }
        assert!(slots.webhooks[&2].used >= 40, "{slots:?}");
        assert!(slots.webhooks[&1].used >= 40, "{slots:?}");
    }

    #[test]
    fn what_has_all_that_it_may_use_takes_no_part() {
        let mut slots = Slots::new(100);
        for hanging in 0..20 {
            assert!(slots.could_use(hanging, None) && slots.take(hanging, None, 20));
            slots.timed_out(hanging);
            assert!(!slots.could_use(hanging, None), "a single probe");
        }
        assert!(slots.take(20, Some(1), 1) && !slots.could_use(20, Some(1)));
        slots.give_back(0);
        assert!(slots.could_use(0, None));
    }

    #[test]
    fn a_single_slot_serves() {
        let mut slots = Slots::new(1);
        assert!(slots.take(1, None, 2));
        assert!(!slots.take(2, None, 2));
        slots.give_back(1);
        assert!(slots.take(2, None, 1));
    }

    proptest! {
        #[test]
        fn never_more_than_capacity_or_limit_and_never_stuck(
            capacity in 1usize..50,
            own in 1usize..60,
            waiting in 1usize..5,
            steps in prop::collection::vec((0i64..4, 0u8..4), 0..300),
        ) {
            let mut slots = Slots::new(capacity);
            let mut held: HashMap<i64, usize> = HashMap::new();
            for (webhook, step) in steps {
                let count = held.entry(webhook).or_default();
                match step {
                    0 if slots.take(webhook, Some(own), waiting) => *count += 1,
                    1 if *count > 0 => { slots.give_back(webhook); *count -= 1; }
                    2 => slots.timed_out(webhook),
                    3 => slots.answered(webhook),
                    _ => {}
                }
                prop_assert!(*count <= own);
                prop_assert_eq!(held.values().sum::<usize>(), slots.used());
                prop_assert!(slots.used() <= capacity);
            }
            // Once everything is given back, any webhook can start.
            for (webhook, count) in held {
                for _ in 0..count { slots.give_back(webhook); }
            }
            prop_assert!(slots.take(9, Some(own), waiting) && slots.used() == 1);
        }
    }
}
