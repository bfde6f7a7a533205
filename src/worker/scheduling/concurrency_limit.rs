//! How many slots each webhook may use. A slot is the right to have one lane in flight.
//!
//! Promised: webhooks that hang cannot take the slots that others need, however many they are. Four
//! rules:
//! - A webhook may hold at most [`SLOTS_SHARE`] times as many slots as are free. So some slots are
//!   always free (Choudhury and Hahne, "Dynamic queue length thresholds", 1998).
//! - Each timeout halves the limit of its webhook, down to a single slot. Each request that is
//!   answered in time adds one slot (additive increase, multiplicative decrease).
//! - While other webhooks wait, a webhook takes at most an equal part of the slots. So a webhook
//!   that is slow, but not broken, yields to the others.
//! - Webhooks that are silent share half of the slots: their last request was not answered in time,
//!   or requests are in flight and no answer has come for [`SILENT_AFTER`]. Webhooks that were never
//!   tried share this half, too. A further quarter is for newcomers among them, so that a new webhook
//!   is tried at once, however many hang. The last quarter is for those that answer.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{
    super::tuning::{SILENT_AFTER, SLOTS_SHARE},
    fair_queue::Line,
};

/// The slots of one worker.
#[derive(Debug)]
pub(crate) struct ConcurrencyLimit {
    capacity: usize,
    /// How many of the used slots belong to webhooks that do not answer.
    used_silent: usize,
    /// How many belong to webhooks that have not answered yet.
    used_untried: usize,
    /// How many belong to webhooks that answer.
    used_answering: usize,
    webhooks: HashMap<i64, Webhook>,
}

#[derive(Debug, Default)]
struct Webhook {
    used: usize,
    /// The limit that timeouts have left; `None` while they limit nothing.
    shrunk: Option<usize>,
    /// Whether it begins again after its breaker was open: then its limit grows with successes only,
    /// twofold with each.
    restarts: bool,
    standing: Standing,
    /// While requests are in flight: since when no answer has come.
    unanswered_since: Option<Instant>,
}

/// Whether a webhook answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Standing {
    /// No request to it has ended yet, and none takes long.
    #[default]
    Untried,
    /// Its last request was answered in time.
    Answering,
    /// Its last request was not answered in time, or no answer comes.
    Silent,
}

impl ConcurrencyLimit {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            used_silent: 0,
            used_untried: 0,
            used_answering: 0,
            webhooks: HashMap::new(),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn used(&self) -> usize {
        self.used_silent + self.used_untried + self.used_answering
    }

    /// How many slots each webhook uses.
    pub(crate) fn by_webhook(&self) -> impl Iterator<Item = (i64, usize)> {
        self.webhooks.iter().map(|(id, webhook)| (*id, webhook.used))
    }

    pub(crate) fn free(&self) -> usize {
        self.capacity.saturating_sub(self.used())
    }

    pub(crate) fn full(&self) -> bool {
        self.free() == 0
    }

    /// In which line a webhook begins to wait for slots.
    pub(crate) fn line(&self, webhook_id: i64) -> Line {
        match self.standing(webhook_id) {
            Standing::Answering => Line::Answering,
            Standing::Untried => Line::Newcomers,
            Standing::Silent => Line::Doubtful,
        }
    }

    /// Whether the part of the slots that this line may use is not used up. It does not ask whether
    /// any slot is free.
    pub(crate) fn has_room(&self, line: Line) -> bool {
        let doubtful = self.used_silent + self.used_untried;
        match line {
            _ if self.capacity == 1 => true,
            Line::Answering => true,
            Line::Newcomers => doubtful < self.part(3) && self.used_untried < self.part(1),
            Line::Doubtful => doubtful < self.part(2),
        }
    }

    /// `quarters` quarters of the slots, but at least one.
    fn part(&self, quarters: usize) -> usize {
        (self.capacity * quarters).div_ceil(4)
    }

    fn standing(&self, webhook_id: i64) -> Standing {
        self.webhooks.get(&webhook_id).map(|webhook| webhook.standing).unwrap_or_default()
    }

    /// How many slots a webhook may use if no other webhook uses any. `own`: the limit of its
    /// policy.
    pub(crate) fn limit(&self, webhook_id: i64, own: Option<usize>) -> usize {
        let shrunk = self.webhooks.get(&webhook_id).and_then(|webhook| webhook.shrunk);
        self.capacity.min(own.unwrap_or(usize::MAX)).min(shrunk.unwrap_or(usize::MAX))
    }

    /// Whether a webhook uses fewer slots than its own limit, and the part of its line is not used
    /// up. It does not ask whether any slot is free.
    pub(crate) fn could_use(&self, webhook_id: i64, own: Option<usize>) -> bool {
        let used = self.webhooks.get(&webhook_id).map_or(0, |webhook| webhook.used);
        used < self.limit(webhook_id, own) && self.has_room(self.line(webhook_id))
    }

    /// How many slots a webhook may use beside others: at most an equal part. `waiting`: how many
    /// webhooks, this one included, have lanes that wait and could use one more slot. Slots that
    /// come free go to the others.
    pub(crate) fn fair_limit(&self, webhook_id: i64, own: Option<usize>, waiting: usize) -> usize {
        self.limit(webhook_id, own).min(self.capacity.div_ceil(waiting.max(1)))
    }

    /// Takes a slot for a webhook that stands in this line, if it may have one; returns whether it
    /// did. `waiting` is as for [`ConcurrencyLimit::fair_limit`].
    pub(crate) fn take(
        &mut self,
        webhook_id: i64,
        line: Line,
        own: Option<usize>,
        waiting: usize,
        now: Instant,
    ) -> bool {
        let limit = self.fair_limit(webhook_id, own, waiting);
        let free = self.free();
        let standing = self.standing(webhook_id);
        let admitted = self.has_room(line);
        let webhook = self.webhooks.entry(webhook_id).or_default();
        // If the worker has a single slot, none can be left free.
        let share = if self.capacity == 1 { 1 } else { free * SLOTS_SHARE };
        if free == 0 || !admitted || webhook.used >= limit || webhook.used >= share {
            return false;
        }
        webhook.used += 1;
        webhook.unanswered_since.get_or_insert(now);
        *self.used_by(standing) += 1;
        true
    }

    /// Gives a webhook's slot back.
    pub(crate) fn give_back(&mut self, webhook_id: i64) {
        let Some(webhook) = self.webhooks.get_mut(&webhook_id).filter(|webhook| webhook.used > 0) else {
            return;
        };
        webhook.used -= 1;
        if webhook.used == 0 {
            webhook.unanswered_since = None;
        }
        let standing = webhook.standing;
        *self.used_by(standing) -= 1;
    }

    /// The count that slots of webhooks of this standing belong to.
    fn used_by(&mut self, standing: Standing) -> &mut usize {
        match standing {
            Standing::Silent => &mut self.used_silent,
            Standing::Untried => &mut self.used_untried,
            Standing::Answering => &mut self.used_answering,
        }
    }

    /// A request of a webhook timed out: halves its limit. Says whether the webhook has changed the
    /// line.
    pub(crate) fn timed_out(&mut self, webhook_id: i64) -> bool {
        let capacity = self.capacity;
        let webhook = self.webhooks.entry(webhook_id).or_default();
        // Halve what it really uses: to halve an unused limit would change nothing.
        let now = webhook.shrunk.unwrap_or(capacity).min(webhook.used.max(1));
        webhook.shrunk = Some((now / 2).max(1));
        self.stand(webhook_id, Standing::Silent)
    }

    /// A request of a webhook was answered in time: its limit grows by one slot. At the worker's
    /// capacity the limit ends. Says whether the webhook has changed the line.
    pub(crate) fn answered(&mut self, webhook_id: i64, now: Instant) -> bool {
        let capacity = self.capacity;
        let webhook = self.webhooks.entry(webhook_id).or_default();
        webhook.unanswered_since = (webhook.used > 0).then_some(now);
        if let Some(shrunk) = webhook.shrunk.filter(|_| !webhook.restarts) {
            webhook.shrunk = Some(shrunk + 1).filter(|grown| *grown < capacity);
        }
        self.stand(webhook_id, Standing::Answering)
    }

    /// A webhook begins again with one slot: its breaker has closed.
    pub(crate) fn restart(&mut self, webhook_id: i64) {
        let webhook = self.webhooks.entry(webhook_id).or_default();
        (webhook.shrunk, webhook.restarts) = (Some(1), true);
    }

    /// A request of a webhook was accepted.
    pub(crate) fn accepted(&mut self, webhook_id: i64) {
        let capacity = self.capacity;
        let Some(webhook) = self.webhooks.get_mut(&webhook_id).filter(|webhook| webhook.restarts) else {
            return;
        };
        webhook.shrunk = webhook.shrunk.map(|shrunk| shrunk * 2).filter(|grown| *grown < capacity);
        webhook.restarts = webhook.shrunk.is_some();
    }

    /// Finds the webhooks whose requests in flight are not answered: nothing came for
    /// [`SILENT_AFTER`], and for four times what a request of it usually takes. Returns those that
    /// have changed the line.
    pub(crate) fn find_silent(&mut self, usual: impl Fn(i64) -> Duration, now: Instant) -> Vec<i64> {
        let silent = |(id, webhook): (&i64, &Webhook)| {
            let waits = now.duration_since(webhook.unanswered_since?);
            let silent = webhook.standing != Standing::Silent
                && waits >= SILENT_AFTER
                && waits >= usual(*id).saturating_mul(4);
            silent.then_some(*id)
        };
        let mut silent: Vec<i64> = self.webhooks.iter().filter_map(silent).collect();
        silent.sort_unstable();
        silent.retain(|id| self.stand(*id, Standing::Silent));
        silent
    }

    fn stand(&mut self, webhook_id: i64, standing: Standing) -> bool {
        let webhook = self.webhooks.entry(webhook_id).or_default();
        let before = std::mem::replace(&mut webhook.standing, standing);
        let used = webhook.used;
        *self.used_by(before) -= used;
        *self.used_by(standing) += used;
        (before == Standing::Answering) != (standing == Standing::Answering)
    }

    /// Forgets a webhook that uses no slot.
    pub(crate) fn forget(&mut self, webhook_id: i64) {
        if self.webhooks.get(&webhook_id).is_some_and(|webhook| webhook.used == 0) {
            self.webhooks.remove(&webhook_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes a slot for a webhook that has just begun to wait.
    fn take(slots: &mut ConcurrencyLimit, id: i64, own: Option<usize>, waiting: usize, now: Instant) -> bool {
        slots.take(id, slots.line(id), own, waiting, now)
    }

    /// One instant, the same in each call.
    fn start() -> Instant {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *START.get_or_init(Instant::now)
    }

    #[test]
    fn a_hanging_webhook_leaves_slots_to_others() {
        let mut slots = ConcurrencyLimit::new(100);
        slots.answered(1, start());
        let hanging = (0..1000).filter(|_| take(&mut slots, 1, None, 1, start())).count();
        assert_eq!(hanging, 80);
        let healthy = (0..1000).filter(|_| take(&mut slots, 2, None, 2, start())).count();
        assert!(healthy >= 10, "{healthy}");
        for _ in 0..10 {
            slots.timed_out(1);
        }
        assert_eq!(slots.limit(1, None), 1);
        for _ in 0..200 {
            slots.answered(1, start());
        }
        assert_eq!(slots.limit(1, None), 100);
    }

    #[test]
    fn a_webhook_that_begins_again_doubles_with_each_success() {
        let mut slots = ConcurrencyLimit::new(100);
        slots.answered(1, start());
        slots.restart(1);
        let mut limits = Vec::new();
        for _ in 0..8 {
            limits.push(slots.limit(1, None));
            slots.answered(1, start());
            assert_eq!(Some(&slots.limit(1, None)), limits.last(), "an answer alone is no success");
            slots.accepted(1);
        }
        assert_eq!(limits, [1, 2, 4, 8, 16, 32, 64, 100]);
    }

    #[test]
    fn a_slow_webhook_gives_way_to_one_that_waits() {
        let mut slots = ConcurrencyLimit::new(100);
        slots.answered(1, start());
        slots.answered(2, start());
        while take(&mut slots, 1, None, 1, start()) {}
        // Webhook 1 frees its slots one by one. Webhook 2 always wants more.
        for _ in 0..1000 {
            while take(&mut slots, 2, None, 2, start()) {}
            if slots.webhooks[&1].used > 0 {
                slots.give_back(1);
                take(&mut slots, 1, None, 2, start());
            }
        }
        assert!(slots.webhooks[&2].used >= 40, "{slots:?}");
        assert!(slots.webhooks[&1].used >= 40, "{slots:?}");
    }

    #[test]
    fn what_has_all_that_it_may_use_takes_no_part() {
        let mut slots = ConcurrencyLimit::new(100);
        for hanging in 0..20 {
            assert!(slots.could_use(hanging, None) && take(&mut slots, hanging, None, 20, start()));
            slots.timed_out(hanging);
            assert!(!slots.could_use(hanging, None), "a single probe");
        }
        assert!(take(&mut slots, 20, Some(1), 1, start()) && !slots.could_use(20, Some(1)));
        slots.give_back(0);
        assert!(slots.could_use(0, None));
    }

    /// However many webhooks hang, one that answers finds a slot, and one that was never tried finds
    /// one within seconds.
    #[test]
    fn webhooks_that_hang_share_a_part_of_the_slots() {
        let mut slots = ConcurrencyLimit::new(100);
        let usual = |_| Duration::from_millis(10);
        let mut tried = 0;
        // Those that have waited for long share half of the slots.
        for (second, most) in [(0, 25), (1, 50), (2, 50)] {
            let now = start() + SILENT_AFTER * second;
            assert!(slots.find_silent(usual, now).is_empty(), "they stay in their line");
            let line = if second == 0 { Line::Newcomers } else { Line::Doubtful };
            while slots.take(tried, line, None, 1, now) {
                tried += 1;
            }
            assert_eq!(tried, most);
        }
        assert!(!slots.has_room(Line::Doubtful));
        assert!(take(&mut slots, 1000, None, 1, start()), "one that has just come is tried at once");
        assert!(slots.answered(1000, start()), "it changes the line");
        let answering = (0..100).filter(|_| take(&mut slots, 1000, None, 1, start())).count();
        assert!(answering >= 25, "{answering}");
    }

    #[test]
    fn a_webhook_that_answered_is_silent_when_no_answer_comes_for_longer_than_usual() {
        let mut slots = ConcurrencyLimit::new(100);
        slots.answered(1, start());
        while take(&mut slots, 1, None, 1, start()) {}
        let slow = |_| Duration::from_secs(2);
        assert!(slots.find_silent(slow, start() + Duration::from_secs(7)).is_empty());
        slots.answered(1, start() + Duration::from_secs(7));
        assert!(slots.find_silent(slow, start() + Duration::from_secs(14)).is_empty());
        assert_eq!(slots.find_silent(slow, start() + Duration::from_secs(15)), [1]);
        assert!(!slots.could_use(1, None));
        assert!(slots.answered(1, start() + Duration::from_secs(16)), "it answers again");
    }

    #[test]
    fn a_single_slot_serves() {
        let mut slots = ConcurrencyLimit::new(1);
        assert!(take(&mut slots, 1, None, 2, start()));
        assert!(!take(&mut slots, 2, None, 2, start()));
        slots.give_back(1);
        assert!(take(&mut slots, 2, None, 1, start()));
    }

    proptest! {
        #[test]
        fn never_more_than_capacity_or_limit_and_never_stuck(
            capacity in 1usize..50,
            own in 1usize..60,
            waiting in 1usize..5,
            steps in prop::collection::vec((0i64..4, 0u8..4), 0..300),
        ) {
            let mut slots = ConcurrencyLimit::new(capacity);
            let mut held: HashMap<i64, usize> = HashMap::new();
            for (webhook, step) in steps {
                let count = held.entry(webhook).or_default();
                match step {
                    0 if take(&mut slots, webhook, Some(own), waiting, start()) => *count += 1,
                    1 if *count > 0 => { slots.give_back(webhook); *count -= 1; }
                    2 => _ = slots.timed_out(webhook),
                    3 => _ = slots.answered(webhook, start()),
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
            prop_assert!(take(&mut slots, 9, Some(own), waiting, start()) && slots.used() == 1);
        }
    }
}
