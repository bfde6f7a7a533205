//! Writing outcomes: when, and what their answers mean.

use std::{collections::HashMap, sync::Arc, time::Instant};

use super::{
    command::Command,
    event::{SettleAnswer, Written},
    failure::{Effect, Failure, Lost},
    lane::{Lane, Reading},
    pending_writes::Batch,
    settles::UnderWay,
    state::Engine,
    troubles::Kind,
};
use crate::{
    domain::lane::LaneKey,
    store::{Claim, HeldLane, LaneOutcomes, LaneState, Removal, SettleOutcome, Settlement},
};

impl Engine {
    /// When to settle next; `None` while nothing is to be written, or a settle is under way.
    pub(super) fn next_settle(&self) -> Option<Instant> {
        let new = self.pending.due().filter(|_| !self.settles.is_under_way(false));
        let again = self.locked.due().filter(|_| !self.settles.is_under_way(true));
        [new, again].into_iter().flatten().min()
    }

    /// Settles what has gathered, if it is time, and writes the attempt log beside it.
    pub(super) fn start_settles(&mut self, now: Instant) {
        self.pending.shared_by(self.workers());
        if self.stopping {
            // Other workers wait for these lanes.
            self.pending.hurry();
        }
        if self.pending.due().is_none() {
            self.log_attempts();
        }
        if !self.settles.is_under_way(true) && self.locked.due().is_some_and(|due| now >= due) {
            let settlement = self.locked.take_due(now);
            self.settle(settlement, Vec::new(), true, now);
        }
        if self.settles.is_under_way(false) || self.pending.due().is_none_or(|due| now < due) {
            return;
        }
        self.log_attempts();
        let Batch { mut settlement, mut remove } = self.pending.take();
        self.locked.keep_back(&mut settlement);
        for ((key, token), outcomes) in &mut settlement {
            let held = self.lanes.get(key).filter(|lane| lane.token == *token);
            outcomes.generation = held.map(|lane| lane.backlog.generation());
        }
        remove.sort_unstable();
        let lanes = remove.iter().filter_map(|key| self.lanes.get(key));
        let remove = lanes.filter(|lane| lane.is_removing()).map(Lane::held).collect();
        self.settle(settlement, remove, false, now);
    }

    fn settle(&mut self, settlement: Settlement, remove: Vec<HeldLane>, again: bool, now: Instant) {
        let settlement = Arc::new(settlement);
        let under_way = UnderWay { settlement: Arc::clone(&settlement), remove: remove.clone(), asked: now };
        self.settles.begin(again, under_way);
        self.commands.push(Command::Settle { settlement, again, remove });
    }

    /// A settle was answered, and the removal behind it.
    pub(super) fn on_settled(&mut self, answer: SettleAnswer, now: Instant) -> Result<(), Lost> {
        let SettleAnswer { again, written, removed } = answer;
        let Some(UnderWay { settlement, remove, asked }) = self.settles.end(again) else { return Ok(()) };
        let settlement = Arc::unwrap_or_clone(settlement);
        if !again {
            self.pending.settled(now.duration_since(asked));
        }
        match written {
            Ok(written) => {
                self.troubles.succeeded(Kind::Settle);
                self.on_written(settlement, written, now);
            }
            Err(failure) => {
                // Whether it was written is not known. A new incarnation reads everything again.
                let failure = nothing_done(failure)?;
                let wait = self.troubles.failed(Kind::Settle, &failure, now);
                if again {
                    for (claim, outcomes) in settlement {
                        self.locked.keep(claim, outcomes, "PostgreSQL refuses all statements", now);
                    }
                } else {
                    self.pending.put_back(settlement, now + wait);
                    self.breakers.settle_failed(self.settles.ended(), self.settles.next_number());
                }
            }
        }
        let removed = match removed {
            Ok(removed) => {
                self.troubles.succeeded(Kind::RemoveIdle);
                removed
            }
            Err(failure) => {
                let failure = nothing_done(failure)?;
                self.troubles.failed(Kind::RemoveIdle, &failure, now);
                HashMap::new()
            }
        };
        self.on_removal_answered(&remove, &removed, now);
        Ok(())
    }

    fn on_removal_answered(&mut self, asked: &[HeldLane], removed: &HashMap<LaneKey, Removal>, now: Instant) {
        for HeldLane { key, token, .. } in asked {
            // The answer may come late: if the lane was claimed again, it says nothing about it.
            if self.held(*key, *token).is_none() {
                continue;
            }
            match removed.get(key) {
                Some(Removal::Removed) => self.on_removed(*key, now),
                Some(Removal::Rewound) | None => self.on_not_removed(*key, now),
            }
        }
    }

    /// Takes in what became of each claim of a settlement.
    fn on_written(&mut self, mut settlement: Settlement, written: Written, now: Instant) {
        for (claim, outcome) in written.outcomes {
            let outcomes = settlement.remove(&claim).unwrap_or_default();
            match outcome {
                SettleOutcome::Written => self.on_lane_written(claim, &outcomes, now),
                SettleOutcome::Renewed(generation) => {
                    self.on_lane_written(claim, &outcomes, now);
                    self.on_lane_renewed(claim, generation, now);
                }
                SettleOutcome::Lost => self.on_lane_lost(claim),
                SettleOutcome::Locked => {
                    self.on_lane_locked(claim);
                    self.locked.keep(claim, outcomes, "somebody has locked the lane's row", now);
                }
            }
        }
        for (claim, failure) in written.refused {
            let outcomes = settlement.remove(&claim).unwrap_or_default();
            self.on_lane_locked(claim);
            self.locked.keep(claim, outcomes, &failure.text, now);
        }
    }

    fn on_lane_written(&mut self, claim: Claim, outcomes: &LaneOutcomes, now: Instant) {
        let (key, token) = claim;
        if let Some(lane) = self.held(key, token) {
            lane.backlog.wrote(outcomes.done.len() + outcomes.dead.len());
        }
        let ready = outcomes.change.as_ref().is_some_and(|change| change.state == LaneState::Ready);
        if ready && self.is_deliverable(key.webhook_id) {
            self.claims.released(key.webhook_id);
            if !self.queue.has(key.webhook_id) {
                self.claims.ask(key.webhook_id);
            }
        }
        if !outcomes.dead.is_empty() {
            // The dead letter is written: its lane may be claimed again and go on.
            self.claims.look();
        }
        if self.locked.is_empty() {
            self.go_on_reading(key, token, now);
            return;
        }
        let later = self.locked.settled(claim);
        if later.count() > 0 {
            self.pending.put_back(Settlement::from([(claim, later)]), now);
        }
        if let Some(lane) = self.held(key, token)
            && lane.set_locked(false)
            && lane.is_waiting()
        {
            self.advance(key, now);
        }
        self.go_on_reading(key, token, now);
    }

    /// A lane that waits for its outcomes to be written, and for nothing else, goes on. `advance`
    /// looks whether enough of them are.
    fn go_on_reading(&mut self, key: LaneKey, token: i64, now: Instant) {
        if self
            .held(key, token)
            .is_some_and(|lane| lane.is_waiting() && lane.reading == Reading::No && !lane.is_locked())
        {
            self.advance(key, now);
        }
    }

    /// What a lane owes has changed: it is read anew.
    fn on_lane_renewed(&mut self, (key, token): Claim, generation: i32, now: Instant) {
        let Some(lane) = self.held(key, token) else { return };
        if lane.backlog.generation() == generation {
            return;
        }
        lane.backlog.outdate();
        if lane.in_burst() {
            self.commands.push(Command::StopBurst(key));
        } else if lane.is_idle() {
            self.read_now(key, now);
        }
    }

    /// A lane is not this worker's any more.
    fn on_lane_lost(&mut self, claim: Claim) {
        self.locked.settled(claim);
        let (key, token) = claim;
        if self.held(key, token).is_some() {
            self.forget_lane(key);
        }
    }

    /// A lane's outcomes cannot be written: no further request of it begins until they are.
    fn on_lane_locked(&mut self, (key, token): Claim) {
        let Some(lane) = self.held(key, token) else { return };
        lane.set_locked(true);
        if lane.in_burst() {
            self.commands.push(Command::StopBurst(key));
        }
    }
}

/// The failure, if the statement did nothing for certain, and the worker is still registered.
///
/// # Errors
/// Otherwise the engine cannot go on.
pub(super) fn nothing_done(failure: Failure) -> Result<Failure, Lost> {
    if failure.effect == Effect::Nothing { Ok(failure) } else { Err(Lost(failure)) }
}
