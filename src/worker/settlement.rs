//! What has gathered for the next settle.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::takes::Takes;
use crate::{
    domain::lane::LaneKey,
    store::{DeadDelivery, DoneDelivery, LaneChange, Settlement},
};

/// How long outcomes gather before they are written, at least: fewer, larger statements, and nobody waits for them. What is
/// not written is sent again after a crash.
const GATHER_MIN: Duration = Duration::from_millis(2);

/// How long they gather at most, and how many times as long as a settle takes, where few have come or somebody waits: for
/// the lane of a dead letter, or one that is to be retired and owes something again, or for this worker's end.
const GATHER_FEW: (u32, Duration) = (3, Duration::from_millis(8));

/// The same where many come, for each worker: all workers together keep the database no busier with settles than one would.
const GATHER_MANY: (u32, Duration) = (8, Duration::from_millis(25));

/// So many requests are few: then no more are worth waiting for.
const FEW: usize = 4;

/// Outcomes and lane changes that are not written yet.
#[derive(Default)]
pub(super) struct Gathered {
    done: Vec<DoneDelivery>,
    dead: Vec<DeadDelivery>,
    /// The newest change of each claim of a lane: one claim's must not be lost to that of another, which writes nothing
    /// if it is not the row's any more.
    lanes: BTreeMap<(LaneKey, i64), LaneChange>,
    retire: Vec<LaneKey>,
    /// How many requests have brought this.
    requests: usize,
    /// Whether somebody waits for it.
    hasty: bool,
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
    /// A request was answered, for all of its messages.
    pub(super) fn done(&mut self, done: impl Iterator<Item = DoneDelivery>) {
        self.begin();
        self.done.extend(done);
        self.requests += 1;
    }

    pub(super) fn dead(&mut self, dead: DeadDelivery) {
        self.begin();
        self.dead.push(dead);
    }

    pub(super) fn lane(&mut self, change: LaneChange) {
        self.begin();
        self.lanes.insert((change.key, change.token), change);
    }

    pub(super) fn retire(&mut self, key: LaneKey) {
        self.begin();
        self.retire.push(key);
    }

    /// Somebody waits for what has gathered.
    pub(super) fn hasten(&mut self) {
        self.hasty = true;
    }

    fn begin(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// When it should be written; `None` while there is nothing.
    pub(super) fn due(&self) -> Option<Instant> {
        let (factor, most) = if self.hasty || !self.dead.is_empty() || self.requests <= FEW {
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

    /// Takes all that has gathered.
    pub(super) fn take(&mut self) -> Batch {
        let kept = Self { settle_takes: self.settle_takes, workers: self.workers, ..Self::default() };
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

    /// The tokens of the lanes that change.
    pub(super) fn tokens(&self) -> impl Iterator<Item = i64> {
        self.lanes.keys().map(|(_, token)| *token)
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
    use rstest::rstest;

    use super::*;
    use crate::store::DeadReason;

    const DONE: DoneDelivery =
        DoneDelivery { key: LaneKey { webhook_id: 1, lane: 1 }, token: 1, message_id: 1 };

    /// What so many requests have brought, where a settle takes `took` and so many workers share the database.
    fn gathered(requests: usize, took: Duration, workers: u32) -> Gathered {
        let mut gathered = Gathered::default();
        gathered.settled(took);
        gathered.shared_by(workers);
        (0..requests).for_each(|_| gathered.done([DONE].into_iter()));
        gathered
    }

    /// How long that gathers.
    fn gathers(gathered: &Gathered) -> Duration {
        gathered.due().zip(gathered.since).map(|(due, since)| due - since).unwrap_or_default()
    }

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[rstest]
    #[case(1, Duration::ZERO, 1, GATHER_MIN)]
    #[case(FEW, MILLISECOND, 4, 3 * MILLISECOND)]
    #[case(FEW + 1, MILLISECOND, 1, 8 * MILLISECOND)]
    #[case(FEW + 1, MILLISECOND, 4, 32 * MILLISECOND)]
    #[case(FEW, 100 * MILLISECOND, 4, 8 * MILLISECOND)]
    #[case(FEW + 1, 100 * MILLISECOND, 1, 25 * MILLISECOND)]
    #[case(FEW + 1, 100 * MILLISECOND, 4, 100 * MILLISECOND)]
    fn few_are_written_soon_and_many_gather_for_longer_the_more_workers_there_are(
        #[case] requests: usize,
        #[case] took: Duration,
        #[case] workers: u32,
        #[case] time: Duration,
    ) {
        assert_eq!(gathers(&gathered(requests, took, workers)), time);
    }

    #[test]
    fn a_request_with_many_messages_is_one() {
        let mut gathered = gathered(0, MILLISECOND, 1);
        assert_eq!(gathered.due(), None);
        gathered.done([DONE; 100].into_iter());
        assert_eq!(gathers(&gathered), 3 * MILLISECOND);
    }

    #[test]
    fn nobody_who_waits_waits_for_many_others() {
        let mut gathered = gathered(100, MILLISECOND, 4);
        gathered.retire(DONE.key);
        assert_eq!(gathers(&gathered), 32 * MILLISECOND);
        gathered.hasten();
        assert_eq!(gathers(&gathered), 3 * MILLISECOND);
        gathered.take();
        assert_eq!(gathered.settle_takes.mean(), MILLISECOND, "what is known of settles stays");
        (0..100).for_each(|_| gathered.done([DONE].into_iter()));
        assert_eq!(gathers(&gathered), 32 * MILLISECOND, "nobody waits any more");
        gathered.dead(DeadDelivery {
            delivery: DONE,
            reason: DeadReason::AttemptsExhausted,
            attempts: 1,
            last_error: None,
        });
        assert_eq!(gathers(&gathered), 3 * MILLISECOND);
    }
}
