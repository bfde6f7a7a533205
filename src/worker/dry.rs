//! Idle lanes ("dry" in the code): kept for a while if messages keep arriving, then removed
//! ("retired" in the code).
//!
//! A lane's row is deleted only after the database has found that nothing is owed. Until then the
//! lane stays claimed and is read. If it could not be removed, its removal is tried again, each
//! time a little later.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use super::{
    engine::Engine,
    lane::{Phase, RETIRE_WAIT_MAX},
};
use crate::{domain::lane::LaneKey, store::LaneState};

/// How long an idle lane is kept if messages keep arriving. If its row is deleted and made again,
/// that costs its share of three statements. It also leaves row versions, which later looks walk
/// over while an old snapshot is held.
const HOLD_DRY: Duration = Duration::from_secs(3);

/// If there are other workers: how long a recurring lane stays with this one. After that it is
/// removed as soon as it is idle, and any worker may have it. Each change of worker leaves versions
/// of the lane's row.
const HOLD_CLAIM: Duration = Duration::from_mins(1);

/// The same, while another worker is new, or lanes wait for a slot, or more than half of the slots
/// are in use.
const HOLD_CLAIM_SPREADING: Duration = Duration::from_secs(10);

/// If a lane was held that long, but owed something again when it was to be removed: when to try
/// again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// How long another worker counts as new.
const NEWCOMER_FOR: Duration = Duration::from_mins(1);

/// The most idle lanes that are kept.
const HOLD_DRY_MAX: usize = 1024;

/// The most lanes that are kept because their stripe is taken. Beyond that, lanes are released, and
/// wait in their rows.
const STRIPE_TAKEN_MAX: usize = 512;

/// How long a removed lane is remembered. If it is claimed again in that time, messages keep
/// arriving.
const REMEMBER: Duration = Duration::from_secs(3);

/// The most removed lanes that are remembered: the latest ones.
const REMEMBER_MAX: usize = 4096;

/// How often idle lanes are checked for those to remove.
const RETIRE_EVERY: Duration = Duration::from_millis(20);

/// Lanes that were removed lately.
#[derive(Default)]
pub(super) struct Retired {
    at: HashMap<LaneKey, Instant>,
    /// In the order of removal. A lane that was removed twice stands here twice.
    order: VecDeque<(LaneKey, Instant)>,
}

impl Retired {
    pub(super) fn lately(&self, key: LaneKey, now: Instant) -> bool {
        self.at.get(&key).is_some_and(|at| now.duration_since(*at) < REMEMBER)
    }

    fn add(&mut self, key: LaneKey, now: Instant) {
        self.at.insert(key, now);
        self.order.push_back((key, now));
        while let Some((key, at)) = self.order.front().copied()
            && (self.order.len() > REMEMBER_MAX || now.duration_since(at) >= REMEMBER)
        {
            self.order.pop_front();
            if self.at.get(&key) == Some(&at) {
                self.at.remove(&key);
            }
        }
    }
}

impl Engine {
    /// A lane owes nothing that is known: keeps it as an idle lane, or removes it.
    pub(super) fn ran_dry(&mut self, key: LaneKey) {
        let Some(lane) = self.lanes.get(&key) else { return };
        let now = Instant::now();
        let held_long = self.hold_claim(now).is_some_and(|time| now.duration_since(lane.claimed_at) > time)
            && lane.kept_at.is_none_or(|at| now.duration_since(at) > TRY_AGAIN);
        if !lane.recurring || held_long || self.dry.len() >= HOLD_DRY_MAX {
            self.retire(key);
            return;
        }
        let told = lane.read_at.is_some_and(|read_at| self.news.tells_since(read_at, now));
        self.dry_until(key, now + HOLD_DRY);
        // Read it once more, unless tail reads have told of everything since it was read. While
        // publishers notify, a message that came during the burst may have woken no worker that
        // could read it.
        if !(told && self.pace.polling(now)) {
            self.read_on(key);
        }
    }

    /// How long a recurring lane stays with this worker. `None`: for ever, since there are no other
    /// workers.
    fn hold_claim(&self, now: Instant) -> Option<Duration> {
        let newcomer = self.signals.newcomer()?;
        let spreading = now.duration_since(newcomer) < NEWCOMER_FOR
            || !self.turns.is_empty()
            || self.slots.used() * 2 > self.config.concurrency;
        Some(if spreading { HOLD_CLAIM_SPREADING } else { HOLD_CLAIM })
    }

    /// Keeps a lane as an idle lane, to be removed at `retire_at`.
    pub(super) fn dry_until(&mut self, key: LaneKey, retire_at: Instant) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        if retire_at <= Instant::now() {
            self.retire(key);
            return;
        }
        lane.phase = Phase::Dry { retire_at };
        self.dry.insert(key);
        self.next_retire.get_or_insert_with(|| Instant::now() + RETIRE_EVERY);
    }

    /// Begins to remove a lane. The next settle does it.
    pub(super) fn retire(&mut self, key: LaneKey) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        lane.phase = Phase::Retiring;
        if lane.unsaved(64) {
            let change = lane.change(LaneState::Held, None);
            self.gathered.lane((key, lane.token), change);
        }
        self.gathered.retire(key);
    }

    /// Removes the idle lanes whose time has come.
    pub(super) fn retire_dry(&mut self, now: Instant) {
        if self.next_retire.is_none_or(|at| now < at) {
            return;
        }
        for key in std::mem::take(&mut self.dry) {
            match self.lanes.get(&key).map(|lane| &lane.phase) {
                Some(Phase::Dry { retire_at }) if now >= *retire_at || self.draining => self.retire(key),
                Some(Phase::Dry { .. }) => {
                    self.dry.insert(key);
                }
                // It is not idle any more.
                _ => {}
            }
        }
        self.next_retire = (!self.dry.is_empty()).then(|| now + RETIRE_EVERY);
    }

    /// A lane's row is gone.
    pub(super) fn on_retired(&mut self, key: LaneKey) {
        if !self.lanes.get(&key).is_some_and(|lane| matches!(lane.phase, Phase::Retiring)) {
            return;
        }
        self.lanes.remove(&key);
        self.retired.add(key, Instant::now());
    }

    /// A lane was not removed: its stripe is taken, or it owes something.
    pub(super) fn on_not_retired(&mut self, key: LaneKey) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        if !matches!(lane.phase, Phase::Retiring) {
            return;
        }
        // If it owes something again, messages keep arriving.
        lane.recurring = true;
        lane.kept_at = Some(Instant::now());
        if self.draining || lane.has_messages() {
            self.advance(key);
            return;
        }
        let wait = lane.next_retire_wait();
        if wait >= RETIRE_WAIT_MAX && self.dry.len() >= STRIPE_TAKEN_MAX {
            // A long transaction may hold the stripes of any number of lanes. They must not fill
            // this worker.
            self.release(key, LaneState::Waiting(RETIRE_WAIT_MAX));
            return;
        }
        self.dry_until(key, Instant::now() + wait);
        self.read_on(key);
    }

    /// Has all idle lanes read, for something new.
    pub(super) fn read_dry(&mut self) {
        let keys: Vec<LaneKey> = self.dry.iter().copied().collect();
        for key in keys {
            self.read_on(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_retirements_are_remembered_for_a_while() {
        let key = |lane| LaneKey { webhook_id: 1, lane };
        let start = Instant::now();
        let mut retired = Retired::default();
        for lane in 0..10_000 {
            retired.add(key(lane), start);
        }
        assert!(!retired.lately(key(10_000 - 4097), start));
        assert!(retired.lately(key(10_000 - 4096), start));
        assert_eq!((retired.at.len(), retired.order.len()), (REMEMBER_MAX, REMEMBER_MAX));

        // Removed again: only the first time is forgotten.
        let later = start + Duration::from_millis(2_999);
        retired.add(key(9_999), later);
        let end = start + REMEMBER;
        assert!(!retired.lately(key(9_998), end));
        retired.add(key(1), end);
        assert!(retired.lately(key(9_999), end));
        assert_eq!((retired.at.len(), retired.order.len()), (2, 2));
    }
}
