//! Idle lanes: kept for a while if messages keep arriving, then removed.
//!
//! A lane's row is deleted only after the database has found that nothing is owed. Until then the
//! lane stays claimed and is read. If it could not be removed, its removal is tried again, each
//! time a little later.

use std::time::{Duration, Instant};

use super::{
    super::tuning::{
        IDLE_MAX, KEEP_CLAIM, KEEP_CLAIM_SPREADING, KEEP_IDLE, NEWCOMER_FOR, REMOVAL_WAIT, REMOVE_AGAIN,
        REMOVE_IDLE_EVERY, SAVE_POSITION_BEFORE_REMOVAL, STRIPE_TAKEN_MAX,
    },
    lane::{Lane, Phase},
    state::Engine,
};
use crate::{domain::lane::LaneKey, store::LaneState};

impl Engine {
    /// A lane owes nothing that is known: keeps it as an idle lane, or removes it.
    pub(super) fn became_idle(&mut self, key: LaneKey, now: Instant) {
        let Some(lane) = self.lanes.get(&key) else { return };
        let held_long = self.keep_claim(now).is_some_and(|time| now.duration_since(lane.claimed_at) > time)
            && lane.kept_at.is_none_or(|at| now.duration_since(at) > REMOVE_AGAIN);
        if !lane.recurring || held_long || self.idle.len() >= IDLE_MAX {
            self.remove(key, now);
            return;
        }
        let told = lane.backlog.read_at().is_some_and(|read_at| self.tail.tells_since(read_at, now));
        self.keep_idle(key, now + KEEP_IDLE, now);
        // Read it once more, unless tail reads have told of everything since it was read. While
        // publishers notify, a message that came during the burst may have woken no worker that
        // could read it.
        if !(told && self.wakeup.polling(now)) {
            self.read_now(key, now);
        }
    }

    /// How long a recurring lane stays with this worker. `None`: for ever, since there are no other
    /// workers.
    fn keep_claim(&self, now: Instant) -> Option<Duration> {
        let newcomer = self.session.newcomer?;
        let spreading = now.duration_since(newcomer) < NEWCOMER_FOR
            || !self.queue.is_empty()
            || self.slots.used() * 2 > self.slots.capacity();
        Some(if spreading { KEEP_CLAIM_SPREADING } else { KEEP_CLAIM })
    }

    /// Keeps a lane as an idle lane, to be removed at `remove_at`.
    pub(super) fn keep_idle(&mut self, key: LaneKey, remove_at: Instant, now: Instant) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        if remove_at <= now {
            self.remove(key, now);
            return;
        }
        lane.keep_idle(remove_at);
        self.idle.insert(key);
        self.next_removal.get_or_insert(now + REMOVE_IDLE_EVERY);
    }

    /// Begins to remove a lane. The next settle does it.
    fn remove(&mut self, key: LaneKey, now: Instant) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        lane.begin_removal();
        if lane.backlog.unsaved(SAVE_POSITION_BEFORE_REMOVAL) {
            let change = lane.change(LaneState::Held, None);
            self.pending.lane((key, lane.token), change, now);
        }
        self.pending.remove(key, now);
    }

    /// Removes the idle lanes whose time has come.
    pub(super) fn remove_idle(&mut self, now: Instant) {
        if self.next_removal.is_none_or(|at| now < at) {
            return;
        }
        for key in std::mem::take(&mut self.idle) {
            match self.lanes.get(&key).map(Lane::phase) {
                Some(Phase::Idle { remove_at }) if now >= remove_at || self.stopping => self.remove(key, now),
                Some(Phase::Idle { .. }) => {
                    self.idle.insert(key);
                }
                // It is not idle any more.
                _ => {}
            }
        }
        self.next_removal = (!self.idle.is_empty()).then(|| now + REMOVE_IDLE_EVERY);
    }

    /// A lane's row is gone.
    pub(super) fn on_removed(&mut self, key: LaneKey, now: Instant) {
        if self.lanes.get(&key).is_some_and(Lane::is_removing) {
            self.lanes.remove(&key);
            self.removed_lately.add(key, now);
        }
    }

    /// A lane was not removed: it owes something, its stripe is taken, its row is locked, or the
    /// call failed.
    pub(super) fn on_not_removed(&mut self, key: LaneKey, now: Instant) {
        let Some(lane) = self.lanes.get_mut(&key).filter(|lane| lane.is_removing()) else { return };
        // Perhaps it owes something again: then messages keep arriving. Perhaps only its stripe was
        // taken, by a publisher of another partition. Then it is kept for `KEEP_IDLE` for nothing.
        lane.recurring = true;
        lane.kept_at = Some(now);
        if self.stopping || lane.backlog.has_messages() {
            self.advance(key, now);
            return;
        }
        let wait = lane.next_removal_wait();
        if wait >= REMOVAL_WAIT[1] && self.idle.len() >= STRIPE_TAKEN_MAX {
            // A long transaction may hold the stripes of any number of lanes. They must not fill
            // this worker.
            self.release(key, LaneState::Waiting(wait), now);
            return;
        }
        self.keep_idle(key, now + wait, now);
        self.read_now(key, now);
    }
}
