//! The rules for what statements do and say. They compare what was committed when a statement began
//! with its answer. Some things never come back after their end: a claim, an epoch, a turn to probe, a
//! worker.
//!
//! | rule | where |
//! |---|---|
//! | a worker that is gone claims nothing; nobody claims lanes of a webhook that is off, or whose breaker is open, but as probes | `check_claimed` |
//! | a settle writes nothing for a claim that has ended, and calls none lost that goes on | `check_settled` |
//! | a removal takes no lane whose claim has ended | `check_removed` |
//! | a read returns the lanes whose claims go on, and no others | `check_read` |
//! | a breaker opens for failures of its present epoch, and if no other worker succeeds | `check_opened` |
//! | only the worker whose turn it is ends it | `check_turn` |
//! | the leader takes nothing out of a lane that a worker holds; nobody takes out what it sends | `check_taken_out` |

use std::collections::{BTreeMap, BTreeSet};

use super::{World, history::LaneId, queries::sent};
use crate::{
    functions::{
        Claimed,
        cancel_deliveries::Canceled,
        end_probe::Turn,
        is_held::held_for,
        open_breaker::{Ask, Opening},
        remove_idle_lanes::Removed,
        settle::Said,
    },
    postgres::tables::{Breaker, Delivery, Lane, Reason, Webhook, Worker},
    schedule::{Micros, SECOND},
};

/// Whether claims of a worker go on: the lane, the token, and whether its row names both.
pub(super) type Holds = Vec<(LaneId, i64, bool)>;

/// How a worker and all webhooks stand.
pub(super) struct Standing {
    lives: bool,
    /// Webhooks that take no messages.
    off: BTreeSet<i64>,
    /// The epochs of open breakers, by webhook.
    open: BTreeMap<i64, i64>,
    /// How often webhooks have changed.
    changes: u64,
}

/// The lanes of messages that are to be taken out: worker, token, generation and head of each.
pub(super) type Holders = BTreeMap<LaneId, (u32, i64, i32, Option<i64>)>;

impl World {
    /// Which claims of a worker go on.
    pub(super) fn holds(&self, worker: u32, claims: impl Iterator<Item = (LaneId, i64)>) -> Holds {
        self.database.peek(|view| {
            let is_its = |lane: &LaneId, token: i64| {
                let row = view.get::<Lane>(lane);
                row.is_some_and(|row| (row.claimed_by, row.token) == (Some(worker), Some(token)))
            };
            claims.map(|(lane, token)| (lane, token, is_its(&lane, token))).collect()
        })
    }

    /// How a worker and all webhooks stand.
    pub(super) fn standing(&self, worker: u32) -> Standing {
        let now = self.database.clock();
        self.database.peek(|view| {
            let is_off = |row: &&Webhook| !sent(view, row) || held_for(row, now).is_some();
            let off = view.range::<Webhook>(..).map(|(_, row)| row).filter(is_off).map(|row| row.id);
            let open = view.range::<Breaker>(..).map(|(_, row)| row).filter(|row| row.open);
            Standing {
                lives: view.get::<Worker>(&worker).is_some_and(|row| !row.gone),
                off: off.collect(),
                open: open.map(|row| (row.webhook, row.epoch)).collect(),
                changes: self.webhook_changes.get(),
            }
        })
    }

    /// `before`: how all stood when the claim began. `probes`: whether the lanes are probes.
    pub(super) fn check_claimed(&self, worker: u32, before: &Standing, probes: bool, claimed: &[Claimed]) {
        let after = self.standing(worker);
        let unchanged = before.changes == after.changes;
        for Claimed { lane, .. } in claimed {
            let webhook = lane.webhook;
            let still_open =
                before.open.get(&webhook).is_some_and(|epoch| after.open.get(&webhook) == Some(epoch));
            let why = if !before.lives {
                "the worker is gone"
            } else if unchanged && before.off.contains(&webhook) && after.off.contains(&webhook) {
                "its webhook is off"
            } else if still_open && !probes {
                "its breaker is open"
            } else {
                continue;
            };
            let lane = (webhook, lane.lane);
            self.fail(format!("answers: worker {worker} has claimed lane {lane:?}, and {why}"));
        }
    }

    pub(super) fn check_settled(&self, worker: u32, before: &Holds, after: &Holds, said: &[(usize, Said)]) {
        for (number, ((lane, token, held), (.., still))) in before.iter().zip(after).enumerate() {
            let of_it = said.iter().filter(|(of, _)| *of == number);
            let lost = of_it.clone().any(|(_, said)| *said == Said::Lost);
            let locked = of_it.clone().any(|(_, said)| *said == Said::Locked);
            let what = match (*held, lost || locked) {
                (false, false) => "was written, and had ended",
                (true, _) if lost && *still => "was called lost, and goes on",
                _ => continue,
            };
            self.fail(format!("answers: claim {token} of lane {lane:?} by worker {worker} {what}"));
        }
    }

    pub(super) fn check_removed(&self, worker: u32, before: &Holds, removed: &Removed) {
        for (lane, token, _) in before.iter().filter(|(.., held)| !held) {
            if removed.iter().any(|(of, _)| of == lane) {
                self.fail(format!(
                    "answers: lane {lane:?} was removed for claim {token} of worker {worker}, which had ended"
                ));
            }
        }
    }

    pub(super) fn check_read(&self, worker: u32, before: &Holds, after: &Holds, read: &[Claimed]) {
        for ((lane, token, held), (.., still)) in before.iter().zip(after) {
            let is_read = read.iter().any(|of| (of.lane.webhook, of.lane.lane) == *lane);
            if is_read && !held || !is_read && *held && *still {
                self.fail(format!(
                    "answers: claim {token} of lane {lane:?} by worker {worker}: read {is_read}, held {held}"
                ));
            }
        }
    }

    // -- Breakers -------------------------------------------------------------------------------------

    /// A webhook's breaker as it is committed.
    pub(super) fn breaker(&self, webhook: i64) -> Option<Breaker> {
        self.database.peek(|view| view.get::<Breaker>(&webhook).cloned())
    }

    /// `before`: the row and the server's time when the call began.
    pub(super) fn check_opened(&self, ask: &Ask, before: &(Option<Breaker>, Micros), opening: Opening) {
        let (Some(row), began) = before else { return };
        if !matches!(opening, Opening::Opened(_)) {
            return;
        }
        let Ask { worker, webhook, epoch, .. } = *ask;
        let took = self.clock_now() - began;
        // Later questions end an objection, but none within a second.
        let objects = row.success.is_some_and(|(by, at)| {
            by != worker && at > began - 9 * SECOND && at <= *began && (0..SECOND).contains(&took)
        });
        let why = if row.open || row.epoch != epoch {
            format!("its row said open {}, epoch {}", row.open, row.epoch)
        } else if objects {
            "another worker had said that its requests are accepted".to_owned()
        } else {
            return;
        };
        self.fail(format!(
            "answers: worker {worker} opened the breaker of webhook {webhook} in epoch {epoch}, and {why}"
        ));
    }

    /// A turn to probe was ended. `before`: the row when the call began.
    pub(super) fn check_turn(&self, turn: &Turn, before: Option<&Breaker>) {
        let is_its = |row: &Breaker| {
            let probe = row.probe.as_ref().map(|probe| (probe.by, probe.token));
            row.open && row.epoch == turn.epoch && probe == Some((turn.worker, turn.token))
        };
        if !before.is_some_and(is_its) {
            let Turn { worker, webhook, .. } = turn;
            self.fail(format!("answers: worker {worker} ended a turn to probe {webhook} that was not its"));
        }
    }

    // -- What is taken out ----------------------------------------------------------------------------

    /// The lanes of a webhook that living workers hold.
    pub(super) fn holders(&self, webhook: i64) -> Holders {
        self.database.peek(|view| {
            let rows = view.range::<Lane>((webhook, i64::MIN)..=(webhook, i64::MAX)).map(|(_, row)| row);
            let holder = |row: &Lane| {
                let worker =
                    row.claimed_by.filter(|id| view.get::<Worker>(id).is_some_and(|row| !row.gone))?;
                let owed = view.range::<Delivery>(
                    (webhook, row.lane, row.position.saturating_add(1))..=(webhook, row.lane, i64::MAX),
                );
                let head = owed.map(|(_, row)| row.message).next();
                Some(((webhook, row.lane), (worker, row.token?, row.generation, head)))
            };
            rows.filter_map(holder).collect()
        })
    }

    /// Messages were taken out. `before`, `after`: who held the lanes when the call began and ended.
    pub(super) fn check_taken_out(
        &self,
        reason: Reason,
        before: &Holders,
        after: &Holders,
        rows: &[Canceled],
    ) {
        let lane_of = |message: i64| {
            let history = self.history.borrow();
            history.committed.get(&message).map(|committed| committed.lane)
        };
        let removed: Vec<(i64, i64)> = rows
            .iter()
            .filter(|(_, outcome, _)| *outcome == "removed")
            .filter_map(|(message, ..)| Some((*message, lane_of(*message)?)))
            .collect();
        for (lane, (worker, token, generation, head)) in before {
            let Some((_, _, raised, _)) = after.get(lane).filter(|(by, of, ..)| (by, of) == (worker, token))
            else {
                continue;
            };
            let of_lane: Vec<i64> =
                removed.iter().filter(|(_, of)| *of == lane.1).map(|(message, _)| *message).collect();
            let by_leader = reason == Reason::Superseded && !of_lane.is_empty();
            // If nobody else has changed what it owes, its head was its head all the time.
            let alone = usize::try_from(raised - generation) == Ok(of_lane.len());
            let takes_head = alone && head.is_some_and(|head| of_lane.contains(&head));
            if by_leader || takes_head {
                self.fail(format!(
                    "answers: {of_lane:?} were taken out of lane {lane:?}, which worker {worker} holds; its head is {head:?}"
                ));
            }
        }
    }
}
