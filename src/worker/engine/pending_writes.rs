//! Outcomes that gather for the next settle (group commit).

use std::time::{Duration, Instant};

use super::super::{
    scheduling::moving_average::MovingAverage,
    tuning::{FEW_REQUESTS, GATHER_FEW, GATHER_MANY, GATHER_MIN, OUTCOMES_MAX},
};
use crate::{
    domain::lane::LaneKey,
    store::{Claim, DeadDelivery, LaneChange, LaneOutcomes, Settlement},
};

/// Outcomes and lane changes that are not written yet.
#[derive(Default)]
pub(super) struct PendingWrites {
    /// By claim, not by lane. A settle writes nothing for a claim that does not hold the row any
    /// more. What belongs to another claim of the same lane must not be lost with that.
    settlement: Settlement,
    remove: Vec<LaneKey>,
    /// How many accepted requests these outcomes come from.
    requests: usize,
    /// How many outcomes there are, and how many are being written.
    outcomes: usize,
    under_way: usize,
    /// Whether somebody waits for the settle.
    hurried: bool,
    /// Since when outcomes gather; `None` while there are none.
    since: Option<Instant>,
    settle_takes: MovingAverage,
    /// How many workers share the database.
    workers: u32,
}

/// What one settle writes.
pub(super) struct Batch {
    pub(super) settlement: Settlement,
    pub(super) remove: Vec<LaneKey>,
}

impl PendingWrites {
    /// A request was accepted, with all of its messages.
    pub(super) fn done(&mut self, claim: Claim, message_ids: &[i64], now: Instant) {
        self.of(claim, now).done.extend_from_slice(message_ids);
        self.requests += 1;
        self.outcomes += message_ids.len();
    }

    pub(super) fn dead(&mut self, claim: Claim, dead: DeadDelivery, now: Instant) {
        self.of(claim, now).dead.push(dead);
        self.outcomes += 1;
        self.hurry();
    }

    /// A lane's row changes. The newest change counts.
    pub(super) fn lane(&mut self, claim: Claim, change: LaneChange, now: Instant) {
        let before = self.of(claim, now).change.replace(change);
        self.outcomes += usize::from(before.is_none());
    }

    pub(super) fn remove(&mut self, key: LaneKey, now: Instant) {
        self.since.get_or_insert(now);
        self.remove.push(key);
    }

    /// Somebody waits: the settle should come soon.
    pub(super) fn hurry(&mut self) {
        self.hurried = true;
    }

    /// Whether so much waits that no burst may begin.
    pub(super) fn full(&self) -> bool {
        self.outcomes + self.under_way >= OUTCOMES_MAX
    }

    fn of(&mut self, claim: Claim, now: Instant) -> &mut LaneOutcomes {
        self.since.get_or_insert(now);
        self.settlement.entry(claim).or_default()
    }

    /// When to settle; `None` while there is nothing to write.
    pub(super) fn due(&self) -> Option<Instant> {
        let (factor, most) = if self.hurried || self.requests <= FEW_REQUESTS {
            GATHER_FEW
        } else {
            let (factor, most) = GATHER_MANY;
            let workers = self.workers.max(1);
            (factor * workers, most * workers)
        };
        self.since.map(|since| since + self.settle_takes.times(factor, [GATHER_MIN, most]))
    }

    /// Sets how many workers share the database.
    pub(super) fn shared_by(&mut self, workers: u32) {
        self.workers = workers;
    }

    /// A settle was answered, after this long.
    pub(super) fn settled(&mut self, took: Duration) {
        self.under_way = 0;
        self.settle_takes.add(took);
    }

    /// Takes all that has gathered.
    pub(super) fn take(&mut self) -> Batch {
        let kept = Self {
            settle_takes: self.settle_takes,
            workers: self.workers,
            under_way: self.outcomes,
            ..Self::default()
        };
        let gathered = std::mem::replace(self, kept);
        Batch { settlement: gathered.settlement, remove: gathered.remove }
    }

    /// Puts back what could not be written. Then all that waits here gathers from `due` on.
    pub(super) fn put_back(&mut self, settlement: Settlement, due: Instant) {
        for (claim, mut outcomes) in settlement {
            let newer = self.settlement.entry(claim).or_default();
            outcomes.add(std::mem::take(newer));
            *newer = outcomes;
        }
        self.outcomes = self.settlement.values().map(LaneOutcomes::count).sum();
        self.since = Some(due);
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{domain::dead_letter::Reason, store::LaneState};

    const KEY: LaneKey = LaneKey { webhook_id: 1, lane: 1 };
    const CLAIM: Claim = (KEY, 1);

    /// One instant, the same in each call.
    fn start() -> Instant {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *START.get_or_init(Instant::now)
    }

    /// The outcomes of `requests` requests. A settle takes `took`, and `workers` workers share the
    /// database.
    fn pending(requests: usize, took: Duration, workers: u32) -> PendingWrites {
        let mut pending = PendingWrites::default();
        pending.settled(took);
        pending.shared_by(workers);
        (0..requests).for_each(|_| pending.done(CLAIM, &[1], start()));
        pending
    }

    /// How long these outcomes gather.
    fn gathers(pending: &PendingWrites) -> Duration {
        pending.due().zip(pending.since).map(|(due, since)| due - since).unwrap_or_default()
    }

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[rstest]
    #[case(1, Duration::ZERO, 1, GATHER_MIN)]
    #[case(FEW_REQUESTS, MILLISECOND, 4, 3 * MILLISECOND)]
    #[case(FEW_REQUESTS + 1, MILLISECOND, 1, 8 * MILLISECOND)]
    #[case(FEW_REQUESTS + 1, MILLISECOND, 4, 32 * MILLISECOND)]
    #[case(FEW_REQUESTS, 100 * MILLISECOND, 4, 8 * MILLISECOND)]
    #[case(FEW_REQUESTS + 1, 100 * MILLISECOND, 1, 25 * MILLISECOND)]
    #[case(FEW_REQUESTS + 1, 100 * MILLISECOND, 4, 100 * MILLISECOND)]
    fn few_are_written_soon_and_many_gather_for_longer_the_more_workers_there_are(
        #[case] requests: usize,
        #[case] took: Duration,
        #[case] workers: u32,
        #[case] time: Duration,
    ) {
        assert_eq!(gathers(&pending(requests, took, workers)), time);
    }

    #[test]
    fn a_request_with_many_messages_is_one() {
        let mut pending = pending(0, MILLISECOND, 1);
        assert_eq!(pending.due(), None);
        pending.done(CLAIM, &[1; 100], start());
        assert_eq!(gathers(&pending), 3 * MILLISECOND);
    }

    #[test]
    fn nobody_who_waits_waits_for_many_others() {
        let mut pending = pending(100, MILLISECOND, 4);
        pending.remove(KEY, start());
        assert_eq!(gathers(&pending), 32 * MILLISECOND);
        pending.hurry();
        assert_eq!(gathers(&pending), 3 * MILLISECOND);
        pending.take();
        assert_eq!(pending.settle_takes.get(), MILLISECOND, "what is known of settles stays");
        (0..100).for_each(|_| pending.done(CLAIM, &[1], start()));
        assert_eq!(gathers(&pending), 32 * MILLISECOND, "nobody waits any more");
        pending.dead(CLAIM, dead(1), start());
        assert_eq!(gathers(&pending), 3 * MILLISECOND);
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
            epoch: None,
        }
    }

    #[test]
    fn what_is_put_back_comes_before_what_came_meanwhile() {
        let mut pending = PendingWrites::default();
        pending.done(CLAIM, &[1], start());
        pending.lane(CLAIM, change(1), start());
        let batch = pending.take();
        pending.done(CLAIM, &[2], start());
        pending.lane(CLAIM, change(2), start());
        pending.lane((KEY, 2), change(9), start());
        pending.put_back(batch.settlement, start());
        assert_eq!(pending.outcomes, 4);
        let settlement = pending.take().settlement;
        let of = |claim| {
            let outcomes: &LaneOutcomes = &settlement[&claim];
            (outcomes.done.clone(), outcomes.change.as_ref().map(|change| change.position))
        };
        assert_eq!((of(CLAIM), of((KEY, 2))), ((vec![1, 2], Some(2)), (vec![], Some(9))));
    }

    #[test]
    fn it_is_full_at_a_limit_until_all_is_written() {
        let mut pending = PendingWrites::default();
        pending.done(CLAIM, &vec![1; OUTCOMES_MAX - 1], start());
        assert!(!pending.full());
        pending.dead(CLAIM, dead(1), start());
        assert!(pending.full());
        pending.take();
        assert!(pending.full(), "it is being written");
        pending.settled(MILLISECOND);
        assert!(!pending.full());
    }
}
