//! Messages that notifications have named ("told" in the code): who looks at them, and when.
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
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::{
    WorkerError,
    claim::MESSAGES,
    engine::Engine,
    lane::{Owes, Phase},
    operation::{Done, READ_LIMITS},
};
use crate::store::{self, Follower, Looked, ReadLimits, Room, StoreError};

/// The other workers look this much later than the first one.
const OTHERS_LATER: Duration = Duration::from_millis(5);

/// The most messages that may wait for a look. If more come, all of them are dropped, and one
/// ordinary claim of what is due replaces them.
const WAITING_MAX: usize = 256;

/// Messages that wait for a look.
#[derive(Default)]
pub(super) struct Told {
    /// To look at now.
    now: BTreeSet<i64>,
    /// When to look at each; in the order of time.
    later: VecDeque<(Instant, i64)>,
    under_way: bool,
}

impl Told {
    /// Adds a message. `first`: whether this worker ranks first. Returns false if too many wait:
    /// then they were all dropped.
    fn add(&mut self, message_id: i64, first: bool, now: Instant) -> bool {
        if self.now.len() + self.later.len() >= WAITING_MAX {
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
        if self.under_way {
            return None;
        }
        if self.now.is_empty() { self.later.front().map(|(at, _)| *at) } else { Some(now) }
    }

    /// Takes the messages that are to be looked at now.
    fn take(&mut self, now: Instant) -> Vec<i64> {
        while self.later.front().is_some_and(|(at, _)| *at <= now) {
            self.now.extend(self.later.pop_front().map(|(_, id)| id));
        }
        std::mem::take(&mut self.now).into_iter().collect()
    }

    /// Whether a look is under way.
    pub(super) fn under_way(&self) -> bool {
        self.under_way
    }
}

/// Whether `worker` ranks first for this message.
fn is_first(told: store::Told, worker: Uuid, others: &[Uuid]) -> bool {
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

impl Engine {
    /// Notifications have named these messages.
    pub(super) fn on_told(&mut self, told: &[store::Told], now: Instant) {
        let others = self.signals.others();
        for told in told {
            if !self.told.add(told.message_id, is_first(*told, self.worker, &others), now) {
                self.claims.look();
            }
        }
        self.noticed(u32::try_from(told.len()).unwrap_or(u32::MAX), now);
    }

    /// Looks at the named messages, if it is time.
    pub(super) fn start_look(&mut self, now: Instant) {
        if self.told.due(now).is_none_or(|due| now < due) || now < self.claims.not_before() {
            return;
        }
        let message_ids = self.told.take(now);
        let room = self.room();
        let limits =
            ReadLimits { messages_per_lane: i32::try_from(MESSAGES).unwrap_or(i32::MAX), ..READ_LIMITS };
        self.told.under_way = true;
        let (store, worker, token) = (self.store.clone(), self.worker, self.claims.next_token());
        self.operations.spawn(async move {
            Done::Looked(store.claim_messages(worker, token, &message_ids, &room, limits).await)
        });
    }

    /// What this worker has room for: lanes that it can start soon.
    fn room(&self) -> Room {
        let full = self.queued.keys().copied().filter(|webhook_id| {
            // A webhook is full if its lanes wait here and either more of them are due in the
            // database (these come first), or it may use no more slots.
            self.claims.more(*webhook_id) || !self.slots.could_use(*webhook_id, self.own_limit(*webhook_id))
        });
        Room { lanes: self.slots.free(), full_webhooks: full.collect() }
    }

    /// A look at named messages was answered.
    pub(super) fn on_looked(&mut self, looked: Result<Looked, StoreError>) -> Result<(), WorkerError> {
        self.told.under_way = false;
        match looked {
            Ok(looked) => {
                self.recovered();
                for follower in looked.followers {
                    self.on_follower(follower);
                }
                self.on_lanes_claimed(looked.claimed);
                Ok(())
            }
            Err(error) => self.on_claim_failed(error),
        }
    }

    /// A lane that this worker holds owes one more message.
    fn on_follower(&mut self, follower: Follower) {
        let key = follower.key;
        let Some(lane) = self.lanes.get_mut(&key).filter(|lane| lane.token == follower.token) else { return };
        let idle = matches!(lane.phase, Phase::Dry { .. });
        let retiring = matches!(lane.phase, Phase::Retiring);
        match lane.follow(follower) {
            Owes::TakenIn if idle => self.advance(key),
            Owes::ReadNow => self.read_on(key),
            Owes::TakenIn | Owes::Retire if retiring => self.gathered.hasten(),
            Owes::TakenIn | Owes::Retire | Owes::ReadLater | Owes::Known => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn others_look_later_and_too_many_give_way_to_an_ordinary_look() {
        let start = Instant::now();
        let mut told = Told::default();
        assert_eq!(told.due(start), None);
        assert!(told.add(5, false, start) && told.add(4, true, start) && told.add(4, true, start));
        assert_eq!(told.due(start), Some(start));
        assert_eq!(told.take(start), [4]);
        assert_eq!(told.due(start), Some(start + OTHERS_LATER));
        told.under_way = true;
        assert_eq!(told.due(start), None, "one at a time");
        told.under_way = false;
        assert_eq!(told.take(start + OTHERS_LATER), [5]);

        let found_place = (0..i64::MAX).take_while(|id| told.add(*id, *id % 2 == 0, start)).count();
        assert_eq!(found_place, WAITING_MAX);
        assert_eq!(told.due(start), None, "all of them");
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
