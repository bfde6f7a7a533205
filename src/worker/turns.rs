//! Round robin among lanes ("turns" in the code): if more lanes wait than there are slots, each
//! gets a slot for a while.
//!
//! Promises:
//! - No lane's backlog, however deep, keeps other lanes from being sent. This includes lanes that
//!   are not claimed yet.
//! - A worker leaves lanes that it has no slot for to other workers, except those that keep its own
//!   slots busy.
//!
//! Deficit round robin does the same for packets (Shreedhar and Varghese, 1996). Here lanes share
//! the time in a slot, since receivers differ in how long they take.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{claim::MESSAGES, engine::Engine, lane::Phase, run::Run, takes::Takes};
use crate::{domain::lane::LaneKey, store::LaneState};

/// The time slice: how long a burst may last while other lanes wait for its slot.
const SLICE: Duration = Duration::from_millis(250);

/// How long a lane may stay claimed while other lanes of its webhook are due and not claimed. To
/// give it back and to claim it again costs as much as a few messages, and what was read ahead is
/// read again.
const TURN: Duration = Duration::from_secs(1);

/// So many lanes are claimed ahead that they keep the slots busy for this long.
const AHEAD: Duration = Duration::from_millis(100);

/// The most lanes that are claimed ahead, for each slot.
const AHEAD_MAX: usize = 4;

/// Lanes are given back only if the first one in line has waited this long for a slot.
const LONG_WAIT: Duration = Duration::from_millis(500);

/// The time between two checks of the time slices.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long a lane, or one of its messages, takes in a slot.
pub(super) type RunTakes = Takes<16>;

/// How many lanes to claim ahead for a webhook that may use `slots`, if a burst takes `run`.
fn ahead(slots: usize, run: Duration) -> usize {
    let in_time = slots as u128 * AHEAD.as_micros() / run.as_micros().max(1);
    usize::try_from(in_time).unwrap_or(usize::MAX).clamp((slots / 4).max(1), slots * AHEAD_MAX)
}

/// How many messages of a lane are sent in one time slice, if each takes `message`.
fn in_slice(message: Duration) -> usize {
    usize::try_from(SLICE.as_micros() / message.as_micros().max(1)).unwrap_or(usize::MAX)
}

impl Engine {
    /// How many messages to read of each lane of this webhook: as many as it sends in one time
    /// slice. What is read and not sent then may be read again by another worker. At least as many
    /// as one request carries.
    pub(super) fn messages_in_slice(&self, webhook_id: i64) -> usize {
        let batch = self.targets.get(&webhook_id).map_or(1, |target| target.settings.batch_size);
        in_slice(self.claims.message_takes(webhook_id)).max(MESSAGES).max(batch)
    }

    /// Starts bursts while slots are free, webhook by webhook (round robin).
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
                // No other lane of the webhook waits here, but more are due in the database: claim
                // them.
                if self.claims.more(webhook_id) {
                    self.claims.ask(webhook_id);
                }
            } else {
                self.turns.push_back(webhook_id);
            }
            if !key.is_some_and(|key| self.start_run(key)) {
                self.slots.give_back(webhook_id);
            }
            // A slot was taken or given back: a webhook that was refused may get one now.
            refused = 0;
        }
    }

    /// Starts a queued lane's burst in a slot that was taken for it. Returns false if the lane does
    /// not need the slot.
    fn start_run(&mut self, key: LaneKey) -> bool {
        let Some(lane) = self.lanes.get_mut(&key) else { return false };
        if !matches!(lane.phase, Phase::Queued { .. }) {
            return false;
        }
        if lane.locked || !lane.has_messages() {
            self.advance(key);
            return false;
        }
        let target = self.targets.get(&key.webhook_id).filter(|target| target.deliverable());
        let Some(target) = target.filter(|_| !self.draining).map(Arc::clone) else {
            self.advance(key);
            return false;
        };
        let (messages, batching, end) = lane.start_run(target.settings.batch_size);
        let run = Run { key, target, messages, batching, failures: lane.failures, end };
        self.runs.spawn(run.send(Arc::clone(&self.sender)));
        true
    }

    /// If lanes wait for slots, plans the next check of the time slices.
    pub(super) fn expect_turns(&mut self, now: Instant) {
        if !self.turns.is_empty() {
            self.next_turns.get_or_insert(now + LOOK_EVERY);
        }
    }

    /// If lanes wait for slots: ends the bursts that have used up their time slice, and gives back
    /// the lanes that are too many. There are too many if bursts take longer than they did when the
    /// lanes were claimed, or if other webhooks have come to share the slots.
    pub(super) fn take_turns(&mut self, now: Instant) {
        if self.next_turns.is_none_or(|at| now < at) {
            return;
        }
        self.next_turns = None;
        let mut held: HashMap<i64, usize> = HashMap::new();
        let begun_before = now.checked_sub(SLICE);
        // If so, lanes of other webhooks may wait for any slot.
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
            // Not for a few lanes: a lane that is given back waits behind all others.
            if held > most + most / 4 + 1 {
                self.give_back_waiting(webhook_id, held - most);
            }
        }
    }

    /// For how long the first one of a webhook's lanes in line has waited for a slot.
    fn waited(&self, webhook_id: i64, now: Instant) -> Duration {
        let first =
            self.queued.get(&webhook_id).and_then(VecDeque::front).and_then(|key| self.lanes.get(key));
        match first.map(|lane| &lane.phase) {
            Some(Phase::Queued { since }) => now.duration_since(*since),
            _ => Duration::ZERO,
        }
    }

    /// How many lanes a webhook may have claimed beside those in its `slots`. Claiming and giving
    /// back follow this one rule. Otherwise the same lanes would be claimed and given back again
    /// and again.
    pub(super) fn ahead(&self, webhook_id: i64, slots: usize, now: Instant) -> usize {
        // A burst that is still under way says nothing about how long bursts take. The lanes that
        // wait for its slot do.
        ahead(slots, self.claims.run_takes(webhook_id).max(self.waited(webhook_id, now)))
    }

    /// How many webhooks have lanes that wait and could use one more slot. A webhook that has all
    /// slots that it may use (it hangs, or is limited) does not count.
    pub(super) fn waiting(&self) -> usize {
        self.turns.iter().filter(|id| self.slots.could_use(**id, self.own_limit(**id))).count()
    }

    /// How many slots a webhook may use: at most an equal part. `waiting`: how many webhooks have
    /// lanes that wait. This one is added if it has none.
    pub(super) fn fair_slots(&self, webhook_id: i64, waiting: usize) -> usize {
        let waiting = waiting + usize::from(!self.queued.contains_key(&webhook_id));
        self.slots.fair_limit(webhook_id, self.own_limit(webhook_id), waiting)
    }

    pub(super) fn own_limit(&self, webhook_id: i64) -> Option<usize> {
        self.targets.get(&webhook_id).and_then(|target| target.own_limit())
    }

    /// Gives back `count` of the webhook's lanes that wait here: those that have waited for the
    /// shortest time.
    fn give_back_waiting(&mut self, webhook_id: i64, count: usize) {
        for _ in 0..count {
            // One lane must stay: the webhook's queue may not be empty while the webhook is in
            // `turns`.
            let queue = self.queued.get_mut(&webhook_id).filter(|queue| queue.len() > 1);
            let Some(key) = queue.and_then(VecDeque::pop_back) else { return };
            if self.lanes.get(&key).is_some_and(|lane| matches!(lane.phase, Phase::Queued { .. })) {
                self.release(key, LaneState::Ready);
            }
        }
    }

    /// Releases a lane that has no burst under way: it waits in the database.
    pub(super) fn release(&mut self, key: LaneKey, state: LaneState) {
        if let Some(mut lane) = self.lanes.remove(&key) {
            let claim = (lane.key, lane.token);
            self.gathered.lane(claim, lane.change(state, None));
        }
    }

    /// Whether a lane has had its turn, while other lanes of its webhook wait here and in the
    /// database. Such a lane is not read further, and is given back when its burst has ended.
    pub(super) fn turn_is_over(&self, key: LaneKey) -> bool {
        self.queued.contains_key(&key.webhook_id)
            && self.claims.more(key.webhook_id)
            && self.lanes.get(&key).is_some_and(|lane| lane.claimed_at.elapsed() >= TURN)
    }

    /// Whether a lane whose burst has ended is given back. It is not if it owes nothing more, or if
    /// the next messages were read already (and the burst did not end `early`).
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
