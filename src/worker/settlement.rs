//! What has gathered for the next settle.

use std::time::{Duration, Instant};

use super::takes::Takes;
use crate::{
    domain::lane::LaneKey,
    store::{Claim, DeadDelivery, LaneChange, LaneOutcomes, Settlement},
};

/// How long outcomes gather before they are written, at least: fewer, larger statements, and nobody
/// waits for them. What is not written is sent again after a crash.
const GATHER_MIN: Duration = Duration::from_millis(2);

/// How long they gather at most, and how many times as long as a settle takes, where few have come
/// or somebody waits: for the lane of a dead letter, or one that is to be retired and owes
/// something again, or for this worker's end.
const GATHER_FEW: (u32, Duration) = (3, Duration::from_millis(8));

/// The same where many come, for each worker: all workers together keep the database no busier with
/// settles than one would.
const GATHER_MANY: (u32, Duration) = (8, Duration::from_millis(25));

/// So many requests are few: then no more are worth waiting for.
const FEW: usize = 4;

/// How many outcomes wait to be written at most, those aside whose lane's row is locked: above that
/// no run begins.
const OUTCOMES_MAX: usize = 50_000;

/// Outcomes and lane changes that are not written yet.
#[derive(Default)]
pub(super) struct Gathered {
    /// By claim: one claim's must not be lost to that of another, which writes nothing if it is not
    /// the row's any more.
    settlement: Settlement,
    retire: Vec<LaneKey>,
    /// How many requests have brought this.
    requests: usize,
    /// How many outcomes there are.
    outcomes: usize,
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
    /// A request was accepted, for all of its messages.
    pub(super) fn done(&mut self, claim: Claim, message_ids: &[i64]) {
        self.of(claim).done.extend_from_slice(message_ids);
        self.requests += 1;
        self.outcomes += message_ids.len();
    }

    pub(super) fn dead(&mut self, claim: Claim, dead: DeadDelivery) {
        self.of(claim).dead.push(dead);
        self.outcomes += 1;
        self.hasten();
    }

    /// A lane's row changes. The newest change counts.
    pub(super) fn lane(&mut self, claim: Claim, change: LaneChange) {
        let before = self.of(claim).change.replace(change);
        self.outcomes += usize::from(before.is_none());
    }

    pub(super) fn retire(&mut self, key: LaneKey) {
        self.begin();
        self.retire.push(key);
    }

    /// Somebody waits for what has gathered.
    pub(super) fn hasten(&mut self) {
        self.hasty = true;
    }

    /// Whether so much waits that nothing may be added.
    pub(super) fn full(&self) -> bool {
        self.outcomes >= OUTCOMES_MAX
    }

    fn of(&mut self, claim: Claim) -> &mut LaneOutcomes {
        self.begin();
        self.settlement.entry(claim).or_default()
    }

    fn begin(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// When it should be written; `None` while there is nothing.
    pub(super) fn due(&self) -> Option<Instant> {
        let (factor, most) = if self.hasty || self.requests <= FEW {
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
        Batch { settlement: gathered.settlement, retire: gathered.retire }
    }

    /// Puts back what could not be written, to be tried again after `wait`.
    pub(super) fn put_back(&mut self, settlement: Settlement, wait: Duration) {
        for (claim, mut outcomes) in settlement {
            let newer = self.settlement.entry(claim).or_default();
            outcomes.add(std::mem::take(newer));
            *newer = outcomes;
        }
        self.outcomes = self.settlement.values().map(LaneOutcomes::count).sum();
        self.since = Some(Instant::now() + wait);
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::store::{DeadReason, LaneState};

    const KEY: LaneKey = LaneKey { webhook_id: 1, lane: 1 };
    const CLAIM: Claim = (KEY, 1);

    /// What so many requests have brought, where a settle takes `took` and so many workers share
    /// the database.
    fn gathered(requests: usize, took: Duration, workers: u32) -> Gathered {
        let mut gathered = Gathered::default();
        gathered.settled(took);
        gathered.shared_by(workers);
        (0..requests).for_each(|_| gathered.done(CLAIM, &[1]));
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
        gathered.done(CLAIM, &[1; 100]);
        assert_eq!(gathers(&gathered), 3 * MILLISECOND);
    }

    #[test]
    fn nobody_who_waits_waits_for_many_others() {
        let mut gathered = gathered(100, MILLISECOND, 4);
        gathered.retire(KEY);
        assert_eq!(gathers(&gathered), 32 * MILLISECOND);
        gathered.hasten();
        assert_eq!(gathers(&gathered), 3 * MILLISECOND);
        gathered.take();
        assert_eq!(gathered.settle_takes.mean(), MILLISECOND, "what is known of settles stays");
        (0..100).for_each(|_| gathered.done(CLAIM, &[1]));
        assert_eq!(gathers(&gathered), 32 * MILLISECOND, "nobody waits any more");
        gathered.dead(CLAIM, dead(1));
        assert_eq!(gathers(&gathered), 3 * MILLISECOND);
    }
    fn dead(message_id: i64) -> DeadDelivery {
        DeadDelivery { message_id, reason: DeadReason::AttemptsExhausted, attempts: 1, last: None }
    }

    fn change(position: i64) -> LaneChange {
        LaneChange {
            generation: 0,
            position,
            state: LaneState::Held,
            head_message_id: None,
            failures: 0,
            last_error: None,
        }
    }

    #[test]
    fn what_is_put_back_comes_before_what_came_meanwhile() {
        let mut gathered = Gathered::default();
        gathered.done(CLAIM, &[1]);
        gathered.lane(CLAIM, change(1));
        let batch = gathered.take();
        gathered.done(CLAIM, &[2]);
        gathered.lane(CLAIM, change(2));
        gathered.lane((KEY, 2), change(9));
        gathered.put_back(batch.settlement, MILLISECOND);
        assert_eq!(gathered.outcomes, 4);
        let settlement = gathered.take().settlement;
        let of = |claim| {
            let outcomes: &LaneOutcomes = &settlement[&claim];
            (outcomes.done.clone(), outcomes.change.as_ref().map(|change| change.position))
        };
        assert_eq!((of(CLAIM), of((KEY, 2))), ((vec![1, 2], Some(2)), (vec![], Some(9))));
    }

    #[test]
    fn it_is_full_at_a_limit_and_empty_when_taken() {
        let mut gathered = Gathered::default();
        gathered.done(CLAIM, &vec![1; OUTCOMES_MAX - 1]);
        assert!(!gathered.full());
        gathered.dead(CLAIM, dead(1));
        assert!(gathered.full());
        gathered.take();
        assert!(!gathered.full());
    }
}
