//! Lanes that publishers hand over: claimed for this worker by the transaction that began them, and told with their message.
//!
//! So a message that wakes a waiting worker is sent without another word with the database. Nothing else differs: the lane is
//! this worker's by its row, and no other may send for it while this one is alive. A notification that does not arrive
//! costs a second or two: then a sweep claims the lane. What follows in a lane that this worker holds is told in the same way.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{
    engine::Engine,
    lane::{Lane, Phase},
};
use crate::{
    domain::lane::LaneKey,
    store::{ClaimedLane, Follower, Handed, OwedMessage},
};

/// How long a lane that a sweep has claimed is remembered. Whoever is alive has had a round trip on the connection of the
/// notifications since, and with it every notification that was sent before.
const REMEMBER: Duration = Duration::from_secs(3);

/// Lanes that may have been handed over, did not arrive, and were claimed. Should the notification arrive yet, it is old.
#[derive(Default)]
pub(super) struct Lost {
    claimed: HashMap<(LaneKey, i64), Instant>,
}

impl Lost {
    /// A sweep has claimed lanes. Of one that was handed over nothing has left: the message of its notification is the first
    /// that it owes, and one above its position.
    pub(super) fn add(&mut self, lanes: &[ClaimedLane], now: Instant) {
        self.claimed.retain(|_, claimed| now.duration_since(*claimed) < REMEMBER);
        let owes_next =
            |lane: &&ClaimedLane| lane.owed.items.first().map(OwedMessage::id) == Some(lane.position + 1);
        self.claimed.extend(lanes.iter().filter(owes_next).map(|lane| ((lane.key, lane.position + 1), now)));
    }

    /// Whether a notification is old.
    fn includes(&self, lane: &ClaimedLane, now: Instant) -> bool {
        let claimed = self.claimed.get(&(lane.key, lane.position + 1));
        claimed.is_some_and(|claimed| now.duration_since(*claimed) < REMEMBER)
    }
}

impl Engine {
    /// Publishers have handed messages over.
    pub(super) fn on_handed(&mut self, handed: Vec<Handed>, now: Instant) {
        let count = u32::try_from(handed.len()).unwrap_or(u32::MAX);
        for handed in handed {
            for lane in handed.begun() {
                if self.lost.includes(&lane, now) {
                    continue;
                }
                // Its row was made anew: the answer that says so is under way.
                self.on_retired(lane.key);
                self.take_in(Lane::claimed(lane));
            }
            for follower in handed.followers() {
                self.on_follower(follower);
            }
        }
        let silence = self.pace.noticed(count, now);
        self.ask_for_silence(silence);
    }

    fn on_follower(&mut self, follower: Follower) {
        let key = follower.key;
        let lane = self.lanes.get_mut(&key);
        let dry = lane.as_ref().is_some_and(|lane| matches!(lane.phase, Phase::Dry { .. }));
        if !lane.is_some_and(|lane| lane.follow(follower)) {
            // Given back meanwhile, or there is more that is not known here: as after any other notification.
            self.claims.look();
        } else if dry {
            self.advance(key);
        }
    }

    /// Whether lanes may be handed over to this worker: it can start them at once.
    pub(super) fn takes(&self) -> bool {
        !self.draining && !self.targets.is_empty() && self.slots.used() * 2 <= self.config.concurrency
    }

    /// The tokens of the lanes that were handed over and are this worker's, or are on their way back.
    pub(super) fn handed(&self) -> Vec<i64> {
        let held = self.lanes.values().map(|lane| lane.token);
        let on_their_way = self.gathered.tokens().chain(self.handed_settling.iter().copied());
        held.chain(on_their_way).filter(|token| *token < 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Owed;

    fn lane(position: i64, first: i64) -> ClaimedLane {
        ClaimedLane {
            key: LaneKey { webhook_id: 1, lane: 2 },
            due_at: jiff::Timestamp::UNIX_EPOCH,
            token: 1,
            position,
            rewinds: 0,
            failures: 0,
            owed: Owed { items: vec![OwedMessage::Missing(first)], more: false },
        }
    }

    #[test]
    fn only_what_nothing_has_left_can_have_been_handed_over() {
        let (mut lost, now) = (Lost::default(), Instant::now());
        lost.add(&[lane(4, 5), lane(6, 8)], now);
        assert!(lost.includes(&lane(4, 5), now));
        assert!(!lost.includes(&lane(6, 7), now), "a later message, whose id happens to be the next");
        assert!(!lost.includes(&lane(7, 8), now));
        assert!(!lost.includes(&lane(4, 5), now + REMEMBER));
        lost.add(&[], now + REMEMBER);
        assert!(lost.claimed.is_empty());
    }
}
