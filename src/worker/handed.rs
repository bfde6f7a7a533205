//! Lanes that publishers hand over: claimed for this worker by the transaction that began them, and told with their message.
//!
//! So a message that wakes a waiting worker is sent without another word with the database. Nothing else differs: the lane is
//! this worker's by its row, and no other may send for it while this one is alive. A notification that does not arrive
//! costs a second or two: then a sweep claims the lane. What follows in a lane that this worker holds is told in the same way.

use std::{
    collections::{BTreeSet, HashSet},
    sync::atomic::Ordering,
    time::Instant,
};

use super::{
    engine::Engine,
    lane::{Lane, Phase},
};
use crate::{
    domain::lane::LaneKey,
    store::{ClaimedLane, Follower, Handed, LaneState},
};

/// How many lanes that did not arrive are remembered: the latest.
const LOST_MAX: usize = 4096;

/// What was handed over and may be told twice: by its notification, and by a sweep that did not know of that.
#[derive(Default)]
pub(super) struct Arrivals {
    /// What has arrived while the latest claim was under way.
    during_claim: HashSet<(LaneKey, i64)>,
    /// What a sweep has claimed because it did not arrive. Should its notification arrive yet, it is old.
    lost: BTreeSet<(i64, LaneKey)>,
}

impl Arrivals {
    /// A claim is asked, of one at a time.
    pub(super) fn asked(&mut self) {
        self.during_claim.clear();
    }

    /// A lane's notification has arrived. Says whether it is to be acted upon.
    fn arrived(&mut self, key: LaneKey, token: i64, claim_under_way: bool) -> bool {
        if self.lost.contains(&(token, key)) {
            return false;
        }
        if claim_under_way {
            self.during_claim.insert((key, token));
        }
        true
    }

    /// A claim was answered with a lane that was handed over to this very worker. Says whether it is news.
    pub(super) fn claimed(&mut self, key: LaneKey, token: i64) -> bool {
        if self.during_claim.contains(&(key, token)) {
            return false;
        }
        self.lost.insert((token, key));
        if self.lost.len() > LOST_MAX {
            // The oldest: a token is the negative of a message's id.
            self.lost.pop_last();
        }
        true
    }
}

impl Engine {
    /// Publishers have handed messages over.
    pub(super) fn on_handed(&mut self, handed: Vec<Handed>, now: Instant) {
        let count = u32::try_from(handed.len()).unwrap_or(u32::MAX);
        for handed in handed {
            for lane in handed.begun() {
                self.on_begun(lane);
            }
            for follower in handed.followers() {
                self.on_follower(follower);
            }
        }
        // Each worker is told a part of what is published.
        let count = count.saturating_mul(self.signals.all_workers());
        self.noticed(count, now);
    }

    /// A lane was made, claimed by this worker.
    fn on_begun(&mut self, lane: ClaimedLane) {
        let key = lane.key;
        if self.lanes.get(&key).is_some_and(|known| !matches!(known.phase, Phase::Retiring)) {
            // Then its row was there already. If it is another one nevertheless, this read says so, and a sweep claims that one.
            self.read_on(key);
        } else if self.arrivals.arrived(key, lane.token, self.claims.under_way()) {
            // Its row was made anew: the answer that says so is under way.
            self.on_retired(key);
            if self.queued.contains_key(&key.webhook_id) && self.claims.more(key.webhook_id) {
                // Others of its webhook are due, and were before: it waits behind them.
                self.lanes.insert(key, Lane::claimed(lane));
                self.release(key, LaneState::Ready);
            } else {
                self.take_in(Lane::claimed(lane));
            }
        }
    }

    fn on_follower(&mut self, follower: Follower) {
        let key = follower.key;
        let lane = self.lanes.get_mut(&key);
        let (dry, retiring) = match lane.as_ref().map(|lane| &lane.phase) {
            Some(Phase::Dry { .. }) => (true, false),
            Some(Phase::Retiring) => (false, true),
            _ => (false, false),
        };
        if !lane.is_some_and(|lane| lane.follow(follower)) {
            // Given back meanwhile, or there is more that is not known here: as after any other notification.
            self.claims.look();
        } else if dry {
            self.advance(key);
        }
        if retiring {
            self.gathered.hasten();
        }
    }

    /// Whether lanes may be handed over to this worker: it can start them at once, also beside a webhook that hangs and leaves
    /// a fifth of the slots. Once it could not, it must have become idler than that, or its row would be written all the time.
    pub(super) fn accepts(&self) -> bool {
        let part = if self.signals.accepts.load(Ordering::Relaxed) { 16 } else { 10 };
        !self.draining && !self.targets.is_empty() && self.slots.free() * part >= self.config.concurrency
    }

    /// The tokens of the lanes that were handed over and arrived: held, about to be taken in, or on their way back.
    pub(super) fn handed_tokens(&self) -> Vec<i64> {
        let held = self.lanes.values().chain(self.successors.values()).map(|lane| lane.token);
        let on_their_way = self.gathered.tokens().chain(self.handed_settling.iter().copied());
        held.chain(on_their_way).filter(|token| *token < 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: LaneKey = LaneKey { webhook_id: 1, lane: 2 };

    #[test]
    fn whatever_comes_first_of_notification_and_sweep_counts() {
        let mut arrivals = Arrivals::default();
        assert!(arrivals.arrived(KEY, -1, true));
        assert!(!arrivals.claimed(KEY, -1), "asked before it arrived");
        assert!(arrivals.claimed(KEY, -2));
        assert!(!arrivals.arrived(KEY, -2, false), "old");
        assert!(arrivals.arrived(LaneKey { lane: 3, ..KEY }, -2, false), "another lane");
        arrivals.asked();
        assert!(arrivals.claimed(KEY, -1), "it did not know of that any more");
    }

    #[test]
    fn what_was_lost_does_not_fill_the_memory() {
        let mut arrivals = Arrivals::default();
        for token in 1..10_000 {
            assert!(arrivals.claimed(KEY, -token));
        }
        assert_eq!(arrivals.lost.len(), LOST_MAX);
        assert!(!arrivals.arrived(KEY, -9_999, true));
    }
}
