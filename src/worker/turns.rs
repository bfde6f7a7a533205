//! Whose turn it is among lanes: where more lanes wait than there are slots, each has one for a while.
//!
//! Promised: no lane's backlog, however deep, keeps other lanes from being sent, those that are not claimed yet included;
//! and a worker leaves to others the lanes that it has no slot for. (Deficit round robin does the same for packets: Shreedhar
//! and Varghese, 1996. Here time in a slot is what is shared, since receivers differ in how long they take.)

use std::time::{Duration, Instant};

use super::{
    engine::Engine,
    lane::{Lane, Phase},
    takes::Takes,
};
use crate::{domain::lane::LaneKey, store::LaneState};

/// How long a run may take while other lanes of its webhook wait for a slot; it sends something each time.
const SLICE: Duration = Duration::from_millis(250);

/// How long a lane may stay claimed while others of its webhook are not: giving it back and claiming it anew costs as much as a
/// few messages, and what was read of it ahead is read again.
const TURN: Duration = Duration::from_secs(1);

/// How long a claimed lane may wait for a slot: other workers may have one.
const QUEUE_WAIT_MAX: Duration = Duration::from_secs(1);

/// For how long lanes that are claimed ahead should keep the slots busy.
const AHEAD: Duration = Duration::from_millis(100);

/// How many lanes are claimed ahead at most, for each slot.
const AHEAD_MAX: usize = 4;

/// Between two looks at who has had its turn.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How many lanes to claim ahead for a webhook that may use `slots`, where a run takes so long.
pub(super) fn ahead(slots: usize, run: Takes) -> usize {
    let in_time = slots as u128 * AHEAD.as_micros() / run.mean().as_micros().max(1);
    usize::try_from(in_time).unwrap_or(usize::MAX).clamp((slots / 4).max(1), slots * AHEAD_MAX)
}

impl Engine {
    /// Stops the runs that have had their time, and gives back the lanes that have waited too long.
    pub(super) fn take_turns(&mut self, now: Instant) {
        if self.next_turns.is_none_or(|at| now < at) {
            return;
        }
        if let Some(instant) = now.checked_sub(SLICE) {
            let waited_for = |lane: &&Lane| self.queued.contains_key(&lane.key.webhook_id);
            self.lanes.values().filter(waited_for).for_each(|lane| lane.give_way_if_since(instant));
        }
        let mut given_back = Vec::new();
        for queue in self.queued.values_mut() {
            while let Some(key) = queue.front() {
                match self.lanes.get(key).map(|lane| &lane.phase) {
                    Some(Phase::Queued { since }) if now.duration_since(*since) < QUEUE_WAIT_MAX => break,
                    Some(Phase::Queued { .. }) => given_back.push(*key),
                    // It has become something else meanwhile.
                    _ => {}
                }
                queue.pop_front();
            }
        }
        self.queued.retain(|_, queue| !queue.is_empty());
        self.turns.retain(|webhook_id| self.queued.contains_key(webhook_id));
        for key in given_back {
            self.give_back(key);
        }
        self.next_turns = None;
        self.expect_turns(now);
    }

    /// Lanes wait for slots: look at it in a while.
    pub(super) fn expect_turns(&mut self, now: Instant) {
        if !self.turns.is_empty() {
            self.next_turns.get_or_insert(now + LOOK_EVERY);
        }
    }

    /// Whether lanes of this webhook wait here, and probably others in the database.
    fn crowded(&self, webhook_id: i64) -> bool {
        self.queued.get(&webhook_id).is_some_and(|queue| !queue.is_empty()) && self.claims.hungry(webhook_id)
    }

    /// Whether a lane's turn is over, so that it is not to be read on.
    pub(super) fn turn_is_over(&self, key: LaneKey) -> bool {
        self.lanes.get(&key).is_some_and(|lane| lane.claimed_at.elapsed() >= TURN)
            && self.crowded(key.webhook_id)
    }

    /// Releases a lane, so that it waits in the database behind all others.
    pub(super) fn give_back(&mut self, key: LaneKey) {
        if let Some(mut lane) = self.lanes.remove(&key) {
            self.gathered.lane(lane.change(LaneState::Ready, None));
        }
    }

    /// A run ended early, or sent all that it had: whether its lane is given back.
    pub(super) fn gives_way(&self, key: LaneKey, early: bool) -> bool {
        let Some(lane) = self.lanes.get(&key) else { return false };
        if early {
            return self.crowded(key.webhook_id);
        }
        !lane.has_messages() && lane.more && self.turn_is_over(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_runs_take_the_fewer_lanes_are_claimed_ahead() {
        let mut run = Takes::default();
        assert_eq!(ahead(100, run), 400, "nothing is known yet");
        for _ in 0..50 {
            run.note(Duration::from_millis(50));
        }
        assert!((195..=210).contains(&ahead(100, run)), "{}", ahead(100, run));
        for _ in 0..50 {
            run.note(Duration::from_secs(10));
        }
        assert_eq!((ahead(100, run), ahead(4, run), ahead(1, run)), (25, 1, 1));
    }
}
