//! What has gathered for the next settle.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    domain::lane::LaneKey,
    store::{AttemptRow, DeadDelivery, DoneDelivery, LaneChange, Settlement},
};

/// How long outcomes gather before they are written: fewer, larger statements, and nobody waits for them.
const GATHER: Duration = Duration::from_millis(2);

/// Outcomes and lane changes that are not written yet.
#[derive(Default)]
pub(super) struct Gathered {
    done: Vec<DoneDelivery>,
    dead: Vec<DeadDelivery>,
    /// The newest change of each claim of a lane: one claim's must not be lost to that of another, which writes nothing
    /// if it is not the row's any more.
    lanes: BTreeMap<(LaneKey, i64), LaneChange>,
    attempts: Vec<AttemptRow>,
    retire: Vec<LaneKey>,
    since: Option<Instant>,
}

/// What one settle writes.
pub(super) struct Batch {
    pub(super) settlement: Settlement,
    pub(super) attempts: Vec<AttemptRow>,
    pub(super) retire: Vec<LaneKey>,
}

impl Gathered {
    pub(super) fn done(&mut self, done: DoneDelivery) {
        self.begin();
        self.done.push(done);
    }

    pub(super) fn dead(&mut self, dead: DeadDelivery) {
        self.begin();
        self.dead.push(dead);
    }

    pub(super) fn lane(&mut self, change: LaneChange) {
        self.begin();
        self.lanes.insert((change.key, change.token), change);
    }

    pub(super) fn attempt(&mut self, row: AttemptRow) {
        self.begin();
        self.attempts.push(row);
    }

    pub(super) fn retire(&mut self, key: LaneKey) {
        self.begin();
        self.retire.push(key);
    }

    fn begin(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// When it should be written; `None` while there is nothing.
    pub(super) fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + GATHER)
    }

    /// Takes all that has gathered.
    pub(super) fn take(&mut self) -> Batch {
        let gathered = std::mem::take(self);
        Batch {
            settlement: Settlement {
                done: gathered.done,
                dead: gathered.dead,
                lanes: gathered.lanes.into_values().collect(),
            },
            attempts: gathered.attempts,
            retire: gathered.retire,
        }
    }

    /// Puts back what could not be written, to be tried again after `wait`. Newer changes of a lane count.
    pub(super) fn put_back(&mut self, settlement: Settlement, wait: Duration) {
        self.done.extend(settlement.done);
        self.dead.extend(settlement.dead);
        for change in settlement.lanes {
            self.lanes.entry((change.key, change.token)).or_insert(change);
        }
        self.since = Some(Instant::now() + wait);
    }
}
