//! Whose turn it is among lanes: where more lanes wait than there are slots, each has one for a
//! while.
//!
//! Promised: no lane's backlog, however deep, keeps other lanes from being sent, those that are not
//! claimed yet included; and a worker leaves lanes to others that it has no slot for, but for those
//! that keep its own slots busy. (Deficit round robin does the same for packets: Shreedhar and
//! Varghese, 1996. Here time in a slot is what is shared, since receivers differ in how long they
//! take.)

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{claim::MESSAGES, engine::Engine, lane::Phase, run::Run, takes::Takes};
use crate::{domain::lane::LaneKey, store::LaneState};

/// How long a run may take while other lanes of its webhook wait for a slot.
const SLICE: Duration = Duration::from_millis(250);

/// How long a lane may stay claimed while others of its webhook are due and not claimed. Giving it
/// back and claiming it anew costs as much as a few messages, and what was read of it ahead is read
/// again.
const TURN: Duration = Duration::from_secs(1);

/// For how long lanes that are claimed ahead should keep the slots busy.
const AHEAD: Duration = Duration::from_millis(100);

/// How many lanes are claimed ahead at most, for each slot.
const AHEAD_MAX: usize = 4;

/// How long the first in line must have waited for a slot before any lane is given back to others.
const LONG_WAIT: Duration = Duration::from_millis(500);

/// Between two looks at who has had its turn.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long a lane keeps a slot, or one of its messages.
pub(super) type RunTakes = Takes<16>;

/// How many lanes to claim ahead for a webhook that may use `slots`, where a run takes so long.
fn ahead(slots: usize, run: Duration) -> usize {
    let in_time = slots as u128 * AHEAD.as_micros() / run.as_micros().max(1);
    usize::try_from(in_time).unwrap_or(usize::MAX).clamp((slots / 4).max(1), slots * AHEAD_MAX)
}

/// How many messages of a lane are sent before others have their turn, where each takes so long.
fn in_slice(message: Duration) -> usize {
    usize::try_from(SLICE.as_micros() / message.as_micros().max(1)).unwrap_or(usize::MAX)
}

impl Engine {
    /// How many messages to read of one of a webhook's lanes, if a read's limit allows: what is
    /// read and not sent in its turn may be read again by another worker. As many as its requests
    /// carry, in any case.
    pub(super) fn messages_in_slice(&self, webhook_id: i64) -> usize {
        let batch = self.targets.get(&webhook_id).map_or(1, |target| target.settings.batch_size);
        in_slice(self.claims.message_takes(webhook_id)).max(MESSAGES).max(batch)
    }

    /// Starts runs while there are slots, webhook by webhook.
    pub(super) fn start_runs(&mut self) {
        if self.turns.is_empty() || self.slots.full() || self.gathered.full() {
            return;
        }
        let waiting = self.waiting();
        let mut refused = 0;
        while refused < self.turns.len() && !self.slots.full() {
            let Some(webhook_id) = self.turns.pop_front() else { return };
            if !self.slots.take(webhook_id, self.own_limit(webhook_id), waiting) {
                self.turns.push_back(webhook_id);
                refused += 1;
                continue;
            }
            let queue = self.queued.entry(webhook_id).or_default();
            let key = queue.pop_front();
            if queue.is_empty() {
                self.queued.remove(&webhook_id);
                // Lanes that were given back, or never claimed: their turn has come.
                if self.claims.more(webhook_id) {
                    self.claims.ask(webhook_id);
                }
            } else {
                self.turns.push_back(webhook_id);
            }
            if !key.is_some_and(|key| self.start_run(key)) {
                self.slots.give_back(webhook_id);
            }
            // One more slot is used or free: others may be let in now.
            refused = 0;
        }
    }

    /// Starts a queued lane's run in a slot that was taken for it; false where the lane has no use
    /// for it.
    fn start_run(&mut self, key: LaneKey) -> bool {
        let Some(lane) = self.lanes.get_mut(&key) else { return false };
        if !matches!(lane.phase, Phase::Queued { .. }) {
            return false;
        }
        if lane.locked {
            self.advance(key);
            return false;
        }
        let target = self.targets.get(&key.webhook_id).filter(|target| target.deliverable());
        let Some(target) = target.filter(|_| !self.draining).map(Arc::clone) else {
            self.advance(key);
            return false;
        };
        let (messages, end) = lane.start_run();
        let run = Run { key, target, messages, failures: lane.failures, end };
        self.runs.spawn(run.send(Arc::clone(&self.sender)));
        true
    }

    /// Lanes wait for slots: look at it in a while.
    pub(super) fn expect_turns(&mut self, now: Instant) {
        if !self.turns.is_empty() {
            self.next_turns.get_or_insert(now + LOOK_EVERY);
        }
    }

    /// Where lanes wait: ends the runs that have had their time, and gives back the lanes that are
    /// too many, since runs take longer than when they were claimed, or others share the slots.
    pub(super) fn take_turns(&mut self, now: Instant) {
        if self.next_turns.is_none_or(|at| now < at) {
            return;
        }
        self.next_turns = None;
        let mut held: HashMap<i64, usize> = HashMap::new();
        let begun_before = now.checked_sub(SLICE);
        // Then lanes of other webhooks may wait for any of them.
        let full = self.slots.full() && !self.turns.is_empty();
        for lane in self.lanes.values().filter(|lane| lane.busy()) {
            let queued = self.queued.contains_key(&lane.key.webhook_id);
            if queued {
                *held.entry(lane.key.webhook_id).or_default() += 1;
            }
            if queued || full {
                begun_before.inspect(|instant| lane.give_way_if_since(*instant));
            }
        }
        let waiting = self.waiting();
        for (webhook_id, held) in held {
            if self.waited(webhook_id, now) < LONG_WAIT {
                continue;
            }
            let slots = self.fair_slots(webhook_id, waiting);
            let most = slots + self.ahead(webhook_id, slots, now);
            // Not for a few: what is given back waits behind all others.
            if held > most + most / 4 + 1 {
                self.give_back_waiting(webhook_id, held - most);
            }
        }
    }

    /// For how long the first lane in line has waited.
    fn waited(&self, webhook_id: i64, now: Instant) -> Duration {
        let first =
            self.queued.get(&webhook_id).and_then(VecDeque::front).and_then(|key| self.lanes.get(key));
        match first.map(|lane| &lane.phase) {
            Some(Phase::Queued { since }) => now.duration_since(*since),
            _ => Duration::ZERO,
        }
    }

    /// How many lanes a webhook may have claimed beside those in its `slots`. The same for whoever
    /// claims and whoever gives back, or lanes would be claimed and given back in turns.
    pub(super) fn ahead(&self, webhook_id: i64, slots: usize, now: Instant) -> usize {
        // A run that has not ended yet tells nothing of its time, but those that wait for it do.
        ahead(slots, self.claims.run_takes(webhook_id).max(self.waited(webhook_id, now)))
    }

    /// How many webhooks have lanes that wait and could use one more slot. Those that hang or are
    /// limited, and have all that they may use, leave the rest to the others.
    pub(super) fn waiting(&self) -> usize {
        self.turns.iter().filter(|id| self.slots.could_use(**id, self.own_limit(**id))).count()
    }

    /// How many slots a webhook may use beside so many that wait, it included if its lanes wait: no
    /// more than an equal part.
    pub(super) fn fair_slots(&self, webhook_id: i64, waiting: usize) -> usize {
        let waiting = waiting + usize::from(!self.queued.contains_key(&webhook_id));
        self.slots.fair_limit(webhook_id, self.own_limit(webhook_id), waiting)
    }

    pub(super) fn own_limit(&self, webhook_id: i64) -> Option<usize> {
        self.targets.get(&webhook_id).and_then(|target| target.own_limit())
    }

    /// Gives back so many of the lanes that have waited for the shortest time.
    fn give_back_waiting(&mut self, webhook_id: i64, count: usize) {
        for _ in 0..count {
            // Its entry stays while it is in line for a turn.
            let queue = self.queued.get_mut(&webhook_id).filter(|queue| queue.len() > 1);
            let Some(key) = queue.and_then(VecDeque::pop_back) else { return };
            if self.lanes.get(&key).is_some_and(|lane| matches!(lane.phase, Phase::Queued { .. })) {
                self.release(key, LaneState::Ready);
            }
        }
    }

    /// Releases a lane that does not send: it waits in the database.
    pub(super) fn release(&mut self, key: LaneKey, state: LaneState) {
        if let Some(mut lane) = self.lanes.remove(&key) {
            let claim = (lane.key, lane.token);
            self.gathered.lane(claim, lane.change(state, None));
        }
    }

    /// Whether a lane has had its turn, and others are due: it is not to be read on, and given back
    /// when it has ended its run.
    pub(super) fn turn_is_over(&self, key: LaneKey) -> bool {
        self.queued.contains_key(&key.webhook_id)
            && self.claims.more(key.webhook_id)
            && self.lanes.get(&key).is_some_and(|lane| lane.claimed_at.elapsed() >= TURN)
    }

    /// Whether a lane whose run has ended is given back: not if there is nothing more of it, or it
    /// was read already.
    pub(super) fn gives_way(&self, key: LaneKey, early: bool) -> bool {
        self.turn_is_over(key)
            && self.lanes.get(&key).is_some_and(|lane| early || (!lane.has_messages() && lane.more))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_messages_are_read_as_are_sent_in_a_turn() {
        assert_eq!(in_slice(Duration::from_millis(10)), 25);
        assert_eq!(in_slice(Duration::from_secs(1)), 0);
        assert!(in_slice(Duration::ZERO) > 1_000, "nothing is known yet");
    }

    #[test]
    fn the_longer_runs_take_the_fewer_lanes_are_claimed_ahead() {
        let mut run = RunTakes::default();
        assert_eq!(ahead(100, run.mean()), 400, "nothing is known yet");
        run.note(Duration::from_millis(50));
        assert_eq!(ahead(100, run.mean()), 200);
        for _ in 0..100 {
            run.note(Duration::from_secs(10));
        }
        let ahead = |slots| ahead(slots, run.mean());
        assert_eq!((ahead(100), ahead(4), ahead(1)), (25, 1, 1));
        run.note(Duration::from_millis(1));
        assert_eq!(super::ahead(100, run.mean()), 25, "one that was short changes little");
    }
}
