//! Settles and removals on the model.

use std::{collections::HashMap, sync::Arc};

use pgtopic::{
    domain::{dead_letter, lane::LaneKey},
    store::{Claim, HeldLane, LaneState, Removal, SettleOutcome, Settlement},
    worker::engine::event::{SettleAnswer, Written},
};

use super::{
    calls::CallError,
    clock::micros,
    plan::Kind,
    statements::{Called, Statements, answer, held},
};
use crate::{
    functions::{
        self as sql,
        read_lanes::Held,
        remove_idle_lanes::remove_idle_lanes,
        settle::{Becomes, Outcome, Said, settle},
    },
    postgres::tables::Reason,
};

impl Statements {
    pub(super) async fn settle(
        &self,
        settlement: Arc<Settlement>,
        again: bool,
        remove: Vec<HeldLane>,
    ) -> SettleAnswer {
        let claims: Vec<Claim> = settlement.keys().copied().collect();
        let written = self
            .in_halves(claims, CallError::may_be_of_a_lane, async |claims: Vec<Claim>| {
                self.settle_some(&settlement, claims).await
            })
            .await;
        let written = answer(written).map(|(outcomes, failed)| Written {
            outcomes,
            refused: failed.into_iter().map(|(claim, error)| (claim, error.failure())).collect(),
        });
        let mut removed = Ok(HashMap::new());
        if written.is_ok() {
            let called = self
                .in_halves(remove, CallError::may_be_of_a_lane, async |lanes: Vec<HeldLane>| {
                    let held: Vec<Held> = lanes.iter().map(held).collect();
                    let worker = self.worker;
                    let world = self.world.clone();
                    let called = self.world.call(self.process, Kind::Remove, async move |session| {
                        let before =
                            world.holds(worker, held.iter().map(|held| (held.lane_id(), held.token)));
                        let removed = remove_idle_lanes(session, worker, &held).await?;
                        world.check_removed(worker, &before, &removed);
                        Ok(removed)
                    });
                    called.await
                })
                .await;
            removed = answer(called).map(|(rows, _)| rows.into_iter().map(removal).collect());
        }
        SettleAnswer { again, written, removed }
    }

    async fn settle_some(&self, all: &Settlement, claims: Vec<Claim>) -> Called<Vec<(Claim, SettleOutcome)>> {
        // A call with nothing to write is none.
        let call = model(self.worker, all, &claims);
        let knows: Vec<bool> = claims
            .iter()
            .map(|claim| {
                all.get(claim).is_some_and(|lane| lane.change.is_some() || lane.generation.is_some())
            })
            .collect();
        let began = self.world.now();
        let buried = self.world.would_bury(&call);
        let (world, worker) = (self.world.clone(), self.worker);
        let called = self.world.call(self.process, Kind::Settle, async move |session| {
            let claims = || call.lanes.iter().map(|lane| ((lane.webhook, lane.lane), lane.token));
            let before = world.holds(worker, claims());
            let said = settle(session, &call).await?;
            world.check_settled(worker, &before, &world.holds(worker, claims()), &said);
            Ok(said)
        });
        let called = called.await;
        self.world.check_lanes(claims.iter().map(|(key, _)| (key.webhook_id, key.lane)));
        let said = called?;
        self.world.check_buried(&buried, began);
        let mut outcomes: Vec<_> = claims.iter().map(|claim| (*claim, SettleOutcome::Written)).collect();
        for (number, said) in said {
            outcomes[number].1 = match said {
                Said::Locked => SettleOutcome::Locked,
                Said::Lost => SettleOutcome::Lost,
                Said::Renewed(generation) if knows[number] => SettleOutcome::Renewed(generation),
                Said::Renewed(_) => continue,
            };
        }
        Ok(outcomes)
    }
}

fn removal(((webhook_id, lane), removed): ((i64, i64), bool)) -> (LaneKey, Removal) {
    let removal = if removed { Removal::Removed } else { Removal::Rewound };
    (LaneKey { webhook_id, lane }, removal)
}

/// The reason of a dead letter, as far as the model knows it.
fn reason(reason: dead_letter::Reason) -> Reason {
    match reason {
        dead_letter::Reason::Superseded => Reason::Superseded,
        _ => Reason::AttemptsExhausted,
    }
}

/// The call of `settle`.
fn model(worker: u32, all: &Settlement, claims: &[Claim]) -> sql::settle::Settlement {
    let mut call = sql::settle::Settlement { worker, lanes: Vec::new(), done: Vec::new(), dead: Vec::new() };
    for (number, claim) in claims.iter().enumerate() {
        let Some(lane) = all.get(claim) else { continue };
        let change = lane.change.as_ref();
        let several = change.and_then(|change| change.failed).filter(|failed| failed.count > 1);
        call.lanes.push(Outcome {
            webhook: claim.0.webhook_id,
            lane: claim.0.lane,
            token: claim.1,
            becomes: match change.map(|change| change.state) {
                None => Becomes::Untouched,
                Some(LaneState::Held) => Becomes::Held,
                Some(LaneState::Ready) => Becomes::Ready,
                Some(LaneState::Waiting(_)) => Becomes::Waiting,
                Some(LaneState::Halted) => Becomes::Halted,
            },
            generation: change.map(|change| change.generation).or(lane.generation).unwrap_or_default(),
            position: change.map_or(0, |change| change.position),
            delay: match change.map(|change| change.state) {
                Some(LaneState::Waiting(delay)) => micros(delay),
                _ => 0,
            },
            head: change.and_then(|change| change.failed).map(|failed| failed.first),
            failures: change.map_or(0, |change| i32::try_from(change.failures).unwrap_or(i32::MAX)),
            batch_last: several.map(|failed| failed.last),
            batch_count: several.map(|failed| i32::try_from(failed.count).unwrap_or(i32::MAX)),
            split_until: change.and_then(|change| change.split_until),
            error: change.and_then(|change| change.last_error.as_ref()).map(|_| 1),
            epoch: change.and_then(|change| change.epoch),
        });
        call.done.extend(lane.done.iter().map(|message| (number, *message)));
        let attempts = |attempts| i32::try_from(attempts).unwrap_or(i32::MAX);
        call.dead.extend(
            lane.dead
                .iter()
                .map(|dead| (number, dead.message_id, attempts(dead.attempts), reason(dead.reason))),
        );
    }
    call
}
