//! Messages that notifications have named: who looks at them, and when.
//!
//! All workers hear the same notifications. For each message the workers rank themselves, all in
//! the same way (rendezvous hashing: Thaler and Ravishankar, 1998). The first worker looks at once,
//! the others [`OTHERS_LATER`]. So the first one has claimed the lane before the others look.
//!
//! The ranking depends on the message's stripe (on unordered topics, on its id). So all messages of
//! an ordered lane come to the same worker first: the one that holds the lane. Only speed depends
//! on the ranking.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Instant,
};

use uuid::Uuid;

use super::super::tuning::{NAMED_MAX, OTHERS_LATER};
use crate::store;

/// Messages that wait for a look.
#[derive(Default)]
pub(super) struct Named {
    /// To look at now.
    now: BTreeSet<i64>,
    /// When to look at each; in the order of time.
    later: VecDeque<(Instant, i64)>,
    /// When the look under way began.
    under_way: Option<Instant>,
}

impl Named {
    /// Adds a message. `first`: whether this worker ranks first. Returns false if too many wait:
    /// then they were all dropped.
    pub(super) fn add(&mut self, message_id: i64, first: bool, now: Instant) -> bool {
        if self.now.len() + self.later.len() >= NAMED_MAX {
            self.now.clear();
            self.later.clear();
            return false;
        }
        if first {
            self.now.insert(message_id);
        } else {
            self.later.push_back((now + OTHERS_LATER, message_id));
        }
        true
    }

    /// When to look next; `None` while nothing waits, or a look is under way.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        if self.under_way() {
            return None;
        }
        if self.now.is_empty() { self.later.front().map(|(at, _)| *at) } else { Some(now) }
    }

    /// A look begins: takes the messages that are to be looked at now.
    pub(super) fn begin(&mut self, now: Instant) -> Vec<i64> {
        self.under_way = Some(now);
        while self.later.front().is_some_and(|(at, _)| *at <= now) {
            self.now.extend(self.later.pop_front().map(|(_, id)| id));
        }
        std::mem::take(&mut self.now).into_iter().collect()
    }

    /// A look was answered. Says when it began.
    pub(super) fn ended(&mut self) -> Option<Instant> {
        self.under_way.take()
    }

    /// Whether a look is under way.
    pub(super) fn under_way(&self) -> bool {
        self.under_way.is_some()
    }
}

/// Whether `worker` ranks first for this message.
pub(super) fn is_first(told: store::Told, worker: Uuid, others: &[Uuid]) -> bool {
    let subject = told.stripe.map_or(told.message_id, i64::from);
    let rank = |id: Uuid| (weight(id, subject), id);
    others.iter().all(|other| rank(*other) < rank(worker))
}

/// A number that looks random, and is the same in all workers.
fn weight(worker: Uuid, subject: i64) -> u64 {
    let (high, low) = worker.as_u64_pair();
    mix(mix(mix(high) ^ low) ^ subject.cast_unsigned())
}

/// The finalizer of `SplitMix64` (Steele, Lea and Flood, 2014).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn others_look_later_and_too_many_give_way_to_an_ordinary_look() {
        let start = Instant::now();
        let mut named = Named::default();
        assert_eq!(named.due(start), None);
        assert!(named.add(5, false, start) && named.add(4, true, start) && named.add(4, true, start));
        assert_eq!(named.due(start), Some(start));
        assert_eq!(named.begin(start), [4]);
        assert_eq!(named.due(start), None, "one at a time");
        named.ended();
        assert_eq!(named.due(start), Some(start + OTHERS_LATER));
        assert_eq!(named.begin(start + OTHERS_LATER), [5]);
        named.ended();

        let found_place = (0..i64::MAX).take_while(|id| named.add(*id, *id % 2 == 0, start)).count();
        assert_eq!(found_place, NAMED_MAX);
        assert_eq!(named.due(start), None, "all of them");
    }

    proptest! {
        /// Among any workers exactly one looks first. For one stripe it is always the same one.
        #[test]
        fn one_of_the_workers_is_first(
            workers in prop::collection::hash_set(any::<u128>(), 1..20),
            message_ids in (any::<i64>(), any::<i64>()),
            stripe in prop::option::of(0i32..1 << 29),
        ) {
            let workers: Vec<Uuid> = workers.into_iter().map(Uuid::from_u128).collect();
            let first = |message_id| -> Vec<Uuid> {
                let told = store::Told { message_id, stripe };
                let others = |worker| workers.iter().copied().filter(|other| *other != worker).collect::<Vec<_>>();
                workers.iter().copied().filter(|worker| is_first(told, *worker, &others(*worker))).collect()
            };
            prop_assert_eq!(first(message_ids.0).len(), 1);
            if stripe.is_some() {
                prop_assert_eq!(first(message_ids.0), first(message_ids.1));
            }
        }
    }

    #[test]
    fn each_worker_is_first_for_its_share() {
        let workers: Vec<Uuid> = (1..=4).map(Uuid::from_u128).collect();
        for worker in &workers {
            let others: Vec<Uuid> = workers.iter().copied().filter(|other| other != worker).collect();
            let first = (0..4000)
                .filter(|stripe| {
                    is_first(store::Told { message_id: 0, stripe: Some(*stripe) }, *worker, &others)
                })
                .count();
            assert!((900..1100).contains(&first), "{first}");
        }
    }
}
