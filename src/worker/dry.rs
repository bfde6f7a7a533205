//! Lanes that ran dry: held on for a while where messages keep arriving, then retired.
//!
//! A lane's row goes only when the database has found that nothing is owed; until then the lane
//! stays claimed, is read on, and is tried again, a little later each time.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use super::{
    engine::Engine,
    lane::{Phase, RETIRE_WAIT_MAX},
};
use crate::{domain::lane::LaneKey, store::LaneState};

/// How long a lane where messages keep arriving is held after it ran dry. Deleting its row and
/// making it anew costs three statements' share, and leaves versions that later looks walk over
/// while an old snapshot is held.
const HOLD_DRY: Duration = Duration::from_secs(3);

/// How long a lane that runs dry now and then stays with this worker while there are others: then
/// anybody may have it. Each change of hands leaves versions of the lane's row.
const HOLD_CLAIM: Duration = Duration::from_mins(1);

/// The same while one of them is a newcomer, or lanes wait for a slot, or half of the slots are in
/// use.
const HOLD_CLAIM_SPREADING: Duration = Duration::from_secs(10);

/// After how long it is tried again to retire one that is held for that long, and owed something
/// again the last time.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// How long another worker is a newcomer.
const NEWCOMER_FOR: Duration = Duration::from_mins(1);

/// How many dry lanes are held at most.
const HOLD_DRY_MAX: usize = 1024;

/// How many lanes are held at most because their stripe is taken; beyond that their rows wait, not
/// this worker.
const STRIPE_TAKEN_MAX: usize = 512;

/// How long a retired lane is remembered, to see that messages keep arriving.
const REMEMBER: Duration = Duration::from_secs(3);

/// How many retired lanes are remembered at most: the latest.
const REMEMBER_MAX: usize = 4096;

/// How often dry lanes are looked through for those to retire.
const RETIRE_EVERY: Duration = Duration::from_millis(20);

/// Lanes that were retired lately.
#[derive(Default)]
pub(super) struct Retired {
    at: HashMap<LaneKey, Instant>,
    /// In the order of their retirement; a lane that was retired twice stands here twice.
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
    /// A lane owes nothing that is known: it is held, or retired.
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
        // While publishers notify, what came while the lane was sending has woken nobody who could
        // read it.
        if !(told && self.pace.polling(now)) {
            self.read_on(key);
        }
    }

    /// How long a lane that runs dry now and then stays with this worker: for ever, unless there
    /// are others.
    fn hold_claim(&self, now: Instant) -> Option<Duration> {
        let newcomer = self.signals.newcomer()?;
        let spreading = now.duration_since(newcomer) < NEWCOMER_FOR
            || !self.turns.is_empty()
            || self.slots.used() * 2 > self.config.concurrency;
        Some(if spreading { HOLD_CLAIM_SPREADING } else { HOLD_CLAIM })
    }

    /// A lane owes nothing that is known: retire it at `retire_at`.
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

    pub(super) fn retire(&mut self, key: LaneKey) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        lane.phase = Phase::Retiring;
        if lane.unsaved(64) {
            let change = lane.change(LaneState::Held, None);
            self.gathered.lane((key, lane.token), change);
        }
        self.gathered.retire(key);
    }

    /// Retires the dry lanes whose time has come.
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
                // It has become something else meanwhile.
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

    /// A lane was not retired: its stripe is taken, or it owes something.
    pub(super) fn on_not_retired(&mut self, key: LaneKey) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        if !matches!(lane.phase, Phase::Retiring) {
            return;
        }
        // Where it owes something again, messages keep arriving.
        lane.recurring = true;
        lane.kept_at = Some(Instant::now());
        if self.draining || lane.has_messages() {
            self.advance(key);
            return;
        }
        let wait = lane.next_retire_wait();
        if wait >= RETIRE_WAIT_MAX && self.dry.len() >= STRIPE_TAKEN_MAX {
            // A long transaction may hold the stripes of any number of lanes, which must not fill
            // this worker.
            self.release(key, LaneState::Waiting(RETIRE_WAIT_MAX));
            return;
        }
        self.dry_until(key, Instant::now() + wait);
        self.read_on(key);
    }

    /// Reads the lanes that ran dry and are held, for something new.
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

        // Retired again: the first time is forgotten, not the second.
        let later = start + Duration::from_millis(2_999);
        retired.add(key(9_999), later);
        let end = start + REMEMBER;
        assert!(!retired.lately(key(9_998), end));
        retired.add(key(1), end);
        assert!(retired.lately(key(9_999), end));
        assert_eq!((retired.at.len(), retired.order.len()), (2, 2));
    }
}
