//! What has gathered for the next settle.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::takes::Takes;
use crate::{
    domain::lane::LaneKey,
    store::{AttemptRow, DeadDelivery, DoneDelivery, LaneChange, Settlement},
};

/// How long outcomes gather before they are written, at least, and at most for each worker: fewer, larger statements, and
/// nobody waits for them. What is not written is sent again after a crash.
const GATHER: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(25)];

/// How many times as long as a settle takes to gather, for each worker: all of them together keep the database no busier with
/// settles than one would.
const GATHER_FACTOR: u32 = 8;

/// How many requests wait for the log at most; later ones are left out of it.
const LOG_MAX: usize = 50_000;

/// Outcomes and lane changes that are not written yet.
#[derive(Default)]
pub(super) struct Gathered {
    done: Vec<DoneDelivery>,
    dead: Vec<DeadDelivery>,
    /// The newest change of each claim of a lane: one claim's must not be lost to that of another, which writes nothing
    /// if it is not the row's any more.
    lanes: BTreeMap<(LaneKey, i64), LaneChange>,
    /// For the log, which is written apart: it may be slow, or fail.
    attempts: Vec<AttemptRow>,
    retire: Vec<LaneKey>,
    since: Option<Instant>,
    settle_takes: Takes,
    /// How many workers share the database.
    workers: u32,
}

/// What one settle writes.
pub(super) struct Batch {
    pub(super) settlement: Settlement,
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
        // A log that cannot be written for long must not fill the memory.
        if self.attempts.len() < LOG_MAX {
            self.attempts.push(row);
        }
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
        let workers = self.workers.max(1);
        let [least, most] = GATHER;
        self.since.map(|since| since + self.settle_takes.pause(GATHER_FACTOR * workers, [least, most * workers]))
    }

    /// So many workers share the database.
    pub(super) fn shared_by(&mut self, workers: u32) {
        self.workers = workers;
    }

    /// A settle took so long.
    pub(super) fn settled(&mut self, took: Duration) {
        self.settle_takes.note(took);
    }

    /// Takes all that has gathered but the log.
    pub(super) fn take(&mut self) -> Batch {
        let attempts = self.take_attempts();
        let kept = Self {
            attempts,
            settle_takes: self.settle_takes,
            workers: self.workers,
            ..Self::default()
        };
        let gathered = std::mem::replace(self, kept);
        Batch {
            settlement: Settlement {
                done: gathered.done,
                dead: gathered.dead,
                lanes: gathered.lanes.into_values().collect(),
            },
            retire: gathered.retire,
        }
    }

    /// Takes what has gathered for the log.
    pub(super) fn take_attempts(&mut self) -> Vec<AttemptRow> {
        std::mem::take(&mut self.attempts)
    }

    /// The tokens of the lanes that change.
    pub(super) fn tokens(&self) -> impl Iterator<Item = i64> {
        self.lanes.keys().map(|(_, token)| *token)
    }

    /// Whether nothing has gathered for the log.
    pub(super) fn logged(&self) -> bool {
        self.attempts.is_empty()
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
