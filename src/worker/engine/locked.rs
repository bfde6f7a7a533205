//! Outcomes that could not be written: somebody has locked the lane's row, or PostgreSQL refuses a
//! row.
//!
//! Promised: they hold up their own lane alone. They are tried again, apart from all others, after
//! 50 ms, then after twice as long each time, up to 5 s. Until they are written, or the lane is
//! lost, no burst of the lane begins. So no more than one burst of each lane waits here.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tracing::{info, warn};

use super::super::tuning::LOCKED_WAIT;
use crate::store::{Claim, LaneOutcomes, Settlement};

/// A lane that has to wait longer than this is logged. It has then waited for about as long. Steps
/// of jobs lock rows, too, but not for so long.
const TOLD_AFTER: Duration = Duration::from_secs(1);

/// The outcomes of one lane that wait.
struct Waiting {
    outcomes: LaneOutcomes,
    wait: Duration,
    due: Instant,
}

/// Outcomes of lanes that could not be written, by claim.
#[derive(Default)]
pub(super) struct Locked {
    lanes: BTreeMap<Claim, Waiting>,
    /// Whether it was logged that some wait.
    told: bool,
}

impl Locked {
    /// A claim's outcomes could not be written: they wait, longer each time.
    pub(super) fn keep(&mut self, claim: Claim, outcomes: LaneOutcomes, why: &str, now: Instant) {
        let new =
            Waiting { outcomes: LaneOutcomes::default(), wait: LOCKED_WAIT[0], due: now + LOCKED_WAIT[0] };
        let waiting = self
            .lanes
            .entry(claim)
            .and_modify(|waiting| {
                waiting.wait = (waiting.wait * 2).min(LOCKED_WAIT[1]);
                waiting.due = now + waiting.wait;
            })
            .or_insert(new);
        let later = std::mem::replace(&mut waiting.outcomes, outcomes);
        waiting.outcomes.add(later);
        if waiting.wait > TOLD_AFTER && !self.told {
            self.told = true;
            warn!(
                webhook_id = claim.0.webhook_id,
                lane = claim.0.lane,
                why,
                "outcomes of a lane cannot be written; others go on"
            );
        }
    }

    /// Takes out of a settlement what belongs to claims that wait here, and keeps it with them.
    pub(super) fn keep_back(&mut self, settlement: &mut Settlement) {
        for (claim, waiting) in &mut self.lanes {
            if let Some(outcomes) = settlement.remove(claim) {
                waiting.outcomes.add(outcomes);
            }
        }
    }

    /// When to try again; `None` while nothing waits.
    pub(super) fn due(&self) -> Option<Instant> {
        self.lanes.values().map(|waiting| waiting.due).min()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Takes the outcomes that are to be tried now. Their claims stay here until
    /// [`Locked::settled`] or [`Locked::keep`] is called for them.
    pub(super) fn take_due(&mut self, now: Instant) -> Settlement {
        let due = self.lanes.iter_mut().filter(|(_, waiting)| waiting.due <= now);
        due.map(|(claim, waiting)| (*claim, std::mem::take(&mut waiting.outcomes))).collect()
    }

    /// A claim's outcomes were written, or will never be. Returns those that came meanwhile.
    pub(super) fn settled(&mut self, claim: Claim) -> LaneOutcomes {
        let outcomes = self.lanes.remove(&claim).map(|waiting| waiting.outcomes).unwrap_or_default();
        if self.lanes.is_empty() && std::mem::take(&mut self.told) {
            info!("all outcomes of lanes can be written again");
        }
        outcomes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::lane::LaneKey;

    const CLAIM: Claim = (LaneKey { webhook_id: 1, lane: 2 }, 3);

    fn done(message_id: i64) -> LaneOutcomes {
        LaneOutcomes { done: vec![message_id], ..LaneOutcomes::default() }
    }

    #[test]
    fn what_cannot_be_written_waits_longer_each_time_and_stays_in_order() {
        let start = Instant::now();
        let mut locked = Locked::default();
        locked.keep(CLAIM, done(1), "locked", start);
        assert_eq!(locked.due(), Some(start + LOCKED_WAIT[0]));
        assert!(locked.take_due(start).is_empty());

        let mut now = start + LOCKED_WAIT[0];
        let tried = locked.take_due(now).remove(&CLAIM).unwrap();
        assert_eq!(tried.done, [1]);
        let mut settlement = Settlement::from([(CLAIM, done(2)), ((CLAIM.0, 4), done(9))]);
        locked.keep_back(&mut settlement);
        assert_eq!(settlement.len(), 1, "another claim");
        locked.keep(CLAIM, tried, "locked", now);
        assert_eq!(locked.due(), Some(now + LOCKED_WAIT[0] * 2));

        for _ in 0..20 {
            now = locked.due().unwrap();
            let tried = locked.take_due(now).remove(&CLAIM).unwrap();
            assert_eq!(tried.done, [1, 2]);
            locked.keep(CLAIM, tried, "locked", now);
        }
        assert_eq!(locked.due(), Some(now + LOCKED_WAIT[1]));

        locked.take_due(now + LOCKED_WAIT[1]);
        assert!(locked.told);
        assert!(locked.settled(CLAIM).done.is_empty() && locked.is_empty() && !locked.told);
    }

    /// A step of a job may lock a row for a moment. That is no news.
    #[test]
    fn a_short_wait_is_not_logged() {
        let start = Instant::now();
        let mut locked = Locked::default();
        let mut now = start;
        while now < start + TOLD_AFTER {
            assert!(!locked.told, "after {:?}", now - start);
            locked.keep(CLAIM, done(1), "locked", now);
            now = locked.due().unwrap();
        }
        locked.keep(CLAIM, done(1), "locked", now);
        assert!(locked.told, "after {:?}", now - start);
    }
}
