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

/// How long outcomes gather before they are written, at least: fewer, larger statements, and nobody waits for them. What is
/// not written is sent again after a crash.
const GATHER_MIN: Duration = Duration::from_millis(2);

/// How long they gather at most, and how many times as long as a settle takes, where few have come or a lane waits: a dead
/// letter's, or one that ran dry and owes something again.
const GATHER_FEW: (u32, Duration) = (3, Duration::from_millis(8));

/// The same where many come, for each worker: all workers together keep the database no busier with settles than one would.
const GATHER_MANY: (u32, Duration) = (8, Duration::from_millis(25));

/// So many are few: then no more are worth waiting for.
const FEW: usize = 4;

/// So many requests are worth a statement of their own for the log.
const LOG_MANY: usize = 256;

/// How many requests one statement adds to the log at most: it needs several times their memory.
const LOG_BATCH: usize = 512;

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
        // Where many lanes run dry, nobody adds to most of them.
        let one_waits = !self.dead.is_empty() || (1..=FEW).contains(&self.retire.len());
        let (factor, most) = if one_waits || self.done.len() <= FEW {
            GATHER_FEW
        } else {
            let (factor, most) = GATHER_MANY;
            let workers = self.workers.max(1);
            (factor * workers, most * workers)
        };
        self.since.map(|since| since + self.settle_takes.pause(factor, [GATHER_MIN, most]))
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
        let attempts = std::mem::take(&mut self.attempts);
        let kept =
            Self { attempts, settle_takes: self.settle_takes, workers: self.workers, ..Self::default() };
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

    /// Takes what the next statement adds to the log.
    pub(super) fn take_attempts(&mut self) -> Vec<AttemptRow> {
        self.attempts.drain(..self.attempts.len().min(LOG_BATCH)).collect()
    }

    /// The tokens of the lanes that change.
    pub(super) fn tokens(&self) -> impl Iterator<Item = i64> {
        self.lanes.keys().map(|(_, token)| *token)
    }

    /// Whether much has gathered for the log.
    pub(super) fn logs_many(&self) -> bool {
        self.attempts.len() >= LOG_MANY
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::DeadReason;

    fn done(message_id: i64) -> DoneDelivery {
        DoneDelivery { key: LaneKey { webhook_id: 1, lane: 1 }, token: 1, message_id }
    }

    /// How long so many outcomes gather where a settle takes `took` and so many workers share the database.
    fn gathers(outcomes: usize, took: Duration, workers: u32) -> Duration {
        let mut gathered = Gathered::default();
        gathered.settled(took);
        gathered.shared_by(workers);
        for message_id in 0..outcomes {
            gathered.done(done(i64::try_from(message_id).unwrap_or_default()));
        }
        gathered.due().zip(gathered.since).map(|(due, since)| due - since).unwrap_or_default()
    }

    #[test]
    fn few_are_written_soon_and_many_gather_for_longer_the_more_workers_there_are() {
        let milliseconds = Duration::from_millis;
        assert_eq!(Gathered::default().due(), None);
        assert_eq!(gathers(1, Duration::ZERO, 1), GATHER_MIN);
        assert_eq!(gathers(FEW, milliseconds(1), 4), milliseconds(3));
        assert_eq!(gathers(FEW + 1, milliseconds(1), 1), milliseconds(8));
        assert_eq!(gathers(FEW + 1, milliseconds(1), 4), milliseconds(32));
        assert_eq!(gathers(FEW, milliseconds(100), 4), milliseconds(8));
        assert_eq!(gathers(FEW + 1, milliseconds(100), 1), milliseconds(25));
        assert_eq!(gathers(FEW + 1, milliseconds(100), 4), milliseconds(100));
    }

    #[test]
    fn a_lane_that_ran_dry_does_not_wait_for_many_others_unless_many_did() {
        let mut gathered = Gathered::default();
        gathered.settled(Duration::from_millis(100));
        (0..100).for_each(|message_id| gathered.done(done(message_id)));
        let before = gathered.due();
        gathered.retire(LaneKey { webhook_id: 1, lane: 0 });
        assert!(gathered.due() < before);
        (0..100).for_each(|lane| gathered.retire(LaneKey { webhook_id: 1, lane }));
        assert_eq!(gathered.due(), before);
    }

    #[test]
    fn a_dead_letter_does_not_wait_for_many_others() {
        let mut gathered = Gathered::default();
        gathered.settled(Duration::from_millis(100));
        (0..100).for_each(|message_id| gathered.done(done(message_id)));
        let before = gathered.due();
        gathered.dead(DeadDelivery {
            delivery: done(100),
            reason: DeadReason::AttemptsExhausted,
            attempts: 1,
            last_error: None,
        });
        assert!(gathered.due() < before);
        gathered.take();
        gathered.done(done(101));
        assert!(gathered.settle_takes.mean() > Duration::ZERO, "what is known of settles stays");
    }
}
