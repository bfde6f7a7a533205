//! Outcomes that gather for the next settle (group commit).

use std::time::{Duration, Instant};

use super::takes::Takes;
use crate::{
    domain::lane::LaneKey,
    store::{Claim, DeadDelivery, LaneChange, LaneOutcomes, Settlement},
};

/// Outcomes gather at least this long before they are written. So statements are fewer and larger,
/// and nobody waits for them. After a crash, requests whose outcomes were not written are repeated.
const GATHER_MIN: Duration = Duration::from_millis(2);

/// How long outcomes gather if few have come, or if somebody waits: this many times what a settle
/// takes, and at most this long. These may wait: the lane of a dead letter, a lane that is being
/// removed and owes something again, and this worker when it stops.
const GATHER_FEW: (u32, Duration) = (3, Duration::from_millis(8));

/// The same if many have come. Both values are multiplied by the number of workers: so all workers
/// together keep the database no busier with settles than one worker would.
const GATHER_MANY: (u32, Duration) = (8, Duration::from_millis(25));

/// Up to this many requests are few: to wait for more is not worth it.
const FEW: usize = 4;

/// If this many outcomes wait to be written, no burst begins. Outcomes of lanes whose row is locked
/// do not count.
const OUTCOMES_MAX: usize = 50_000;

/// Outcomes and lane changes that are not written yet.
#[derive(Default)]
pub(super) struct Gathered {
    /// By claim, not by lane. A settle writes nothing for a claim that does not hold the row any
    /// more. What belongs to another claim of the same lane must not be lost with that.
    settlement: Settlement,
    retire: Vec<LaneKey>,
    /// How many requests these outcomes come from.
    requests: usize,
    /// How many outcomes there are.
    outcomes: usize,
    /// Whether somebody waits for the settle.
    hasty: bool,
    /// Since when outcomes gather; `None` while there are none.
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
    /// A request was accepted, with all of its messages.
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

    /// Somebody waits: the settle should come soon.
    pub(super) fn hasten(&mut self) {
        self.hasty = true;
    }

    /// Whether so much waits that no burst may begin.
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

    /// When to settle; `None` while there is nothing to write.
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

    /// Sets how many workers share the database.
    pub(super) fn shared_by(&mut self, workers: u32) {
        self.workers = workers;
    }

    /// A settle has taken this long.
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
    use crate::{domain::dead_letter::Reason, store::LaneState};

    const KEY: LaneKey = LaneKey { webhook_id: 1, lane: 1 };
    const CLAIM: Claim = (KEY, 1);

    /// The outcomes of `requests` requests. A settle takes `took`, and `workers` workers share the
    /// database.
    fn gathered(requests: usize, took: Duration, workers: u32) -> Gathered {
        let mut gathered = Gathered::default();
        gathered.settled(took);
        gathered.shared_by(workers);
        (0..requests).for_each(|_| gathered.done(CLAIM, &[1]));
        gathered
    }

    /// How long these outcomes gather.
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
        DeadDelivery { message_id, reason: Reason::AttemptsExhausted, attempts: 1, last: None }
    }

    fn change(position: i64) -> LaneChange {
        LaneChange {
            generation: 0,
            position,
            state: LaneState::Held,
            failed: None,
            failures: 0,
            split_until: None,
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
