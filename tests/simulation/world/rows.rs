//! The rules for what is committed, looked at while a run goes on.
//!
//! | rule | where |
//! |---|---|
//! | nothing is owed at or below a lane's position | `check_lane` |
//! | a lane's row makes sense in itself | `check_lane` |
//! | each delivery has a lane and a message, and none is a dead letter, too | `check_rows` |
//! | a worker that has stopped holds nothing | `check_lane` |
//! | in a calm run each lane is sent soon | `check_calm` |
//! | a worker keeps no lane that it may not send | `check_kept` |
//! | a lane of a worker that has ended is free again soon | `check_taken_over` |
//! | in a calm run no message waits for long while a worker has a free slot | `check_calm` |

use super::{World, history::LaneId, process::DEFAULT_TIMEOUT, queries::sent};
use crate::{
    postgres::{
        tables::{DeadLetter, Delivery, INFINITY, Lane, Message, Webhook},
        view::View,
    },
    schedule::{Micros, SECOND},
};

/// How long a lane may wait in a calm run: sweeps come twice a second, and each second one asks all
/// idle lanes. A worker with one slot also needs some time for each message.
const CALM: Micros = 3 * SECOND;
const CALM_A_MESSAGE: Micros = SECOND / 200;

/// How long a message may wait in a calm run, if a slot was free when it came. The second is for runs
/// in which publishers do not notify. A sweep comes each half second.
const PROMPT: Micros = SECOND * 7 / 10;
const PROMPT_POLLED: Micros = SECOND * 9 / 10;
/// A claim may pause this often.
const PAUSES: Micros = 100;

/// For how long at first a worker's lease may not cover long timeouts, and what that holds back.
const HELD_BACK: Micros = SECOND * 3 / 2;

/// The longest wait of a lane, and what clocks differ by.
const LONGEST_WAIT: Micros = 61 * SECOND;

/// How long a lane may be held by a worker that has ended.
const TAKEN_OVER: Micros = 5 * SECOND;

/// How long a worker may keep a lane that it may not send. A settle may be under way, and must end
/// before the one that gives the lane back: four ways, which may be long.
const KEPT: Micros = 3 * SECOND;
const KEPT_WAYS: Micros = 4;

/// The keys of what a lane owes.
fn owed(lane: LaneId) -> std::ops::RangeInclusive<(i64, i64, i64)> {
    (lane.0, lane.1, i64::MIN)..=(lane.0, lane.1, i64::MAX)
}

impl World {
    /// Looks at all rows, if anything was committed since the last look.
    pub(super) fn check_rows(&self) {
        let newest = self.database.state().xids.newest();
        if self.looked_at.replace(newest) != newest {
            let wrong = self.database.peek(|view| {
                let orphan = view.range::<Delivery>(..).find(|(_, row)| {
                    view.get::<Lane>(&(row.webhook, row.lane)).is_none()
                        && view.get::<Webhook>(&row.webhook).is_some()
                });
                let orphan = orphan.map(|(_, row)| format!("rows: {row:?} has no lane"));
                let twice = view
                    .range::<DeadLetter>(..)
                    .find(|(_, row)| view.get::<Delivery>(&(row.webhook, row.lane, row.message)).is_some());
                let twice = twice.map(|(_, row)| format!("rows: {row:?} is owed, too"));
                let unkept = view.range::<Delivery>(..).find(|(_, row)| {
                    view.get::<Message>(&row.message).is_none()
                        && view.get::<Webhook>(&row.webhook).is_some()
                        && !self.history.borrow().has_crashed
                });
                let unkept = unkept.map(|(_, row)| format!("rows: {row:?}, and its message is deleted"));
                let wrong = orphan.or(twice).or(unkept);
                wrong.or_else(|| view.range::<Lane>(..).find_map(|(_, row)| self.check_lane(view, row)))
            });
            if let Some(wrong) = wrong {
                self.fail(wrong);
            }
            self.note_off();
        }
        if self.plan.is_calm() {
            self.check_calm();
        }
        if self.plan.is_smooth() {
            self.check_kept();
        }
        if self.plan.takes_over_soon() {
            self.check_taken_over();
        }
    }

    /// Notes since when webhooks take no messages.
    fn note_off(&self) {
        let off: Vec<i64> = self.database.peek(|view| {
            let is_off = |id: &i64| view.get::<Webhook>(id).is_none_or(|webhook| !sent(view, webhook));
            self.hooks.borrow().keys().copied().filter(is_off).collect()
        });
        let mut since = self.off_since.borrow_mut();
        since.retain(|id, _| off.contains(id));
        for id in off {
            since.entry(id).or_insert(self.now());
        }
    }

    /// Looks at some lanes, right after they were written.
    pub(super) fn check_lanes(&self, lanes: impl Iterator<Item = LaneId>) {
        let wrong = self.database.peek(|view| {
            let mut rows = lanes.filter_map(|lane| view.get::<Lane>(&lane));
            rows.find_map(|row| self.check_lane(view, row))
        });
        if let Some(wrong) = wrong {
            self.fail(wrong);
        }
    }

    fn check_lane(&self, view: &View<'_>, row: &Lane) -> Option<String> {
        let hooks = self.hooks.borrow();
        let hook = hooks.get(&row.webhook)?;
        // What deleted webhooks are owed is deleted soon.
        view.get::<Webhook>(&row.webhook)?;
        let below = view
            .range::<Delivery>((row.webhook, row.lane, i64::MIN)..=(row.webhook, row.lane, row.position))
            .next();
        let failures = u32::try_from(row.failures).unwrap_or(u32::MAX);
        let is_stopped = |worker: u32| self.history.borrow().stopped.contains(&worker);
        let wrong = if let Some((_, delivery)) = below {
            format!("{} is owed, and lies behind the position", delivery.message)
        } else if row.claimed_by.is_some() != row.token.is_some() {
            "a claim has a worker and a token".to_owned()
        } else if row.halted && (row.claimed_by.is_some() || row.due_at != INFINITY) {
            "a halted lane is never due".to_owned()
        } else if row.due_at != INFINITY && row.due_at > self.latest_due() {
            "it is due too late".to_owned()
        } else if failures > hook.most_retries {
            format!("it has more failures than {}", hook.most_retries)
        } else if row.claimed_by.is_some_and(is_stopped) {
            "its worker has stopped".to_owned()
        } else {
            return None;
        };
        Some(format!("rows: {wrong}: {row:?}"))
    }

    /// No lane waits for longer than a receiver may ask for.
    fn latest_due(&self) -> Micros {
        let steady = self.plan.clock_is_steady();
        if steady { self.database.clock() + LONGEST_WAIT } else { INFINITY }
    }

    fn check_calm(&self) {
        let now = self.now();
        let history = &mut *self.history.borrow_mut();
        let mut late = None;
        let mut waited = 0;
        let (mut missed, mut missed_for) = (None, 0);
        let free_since = self.processes.iter().filter_map(|process| process.free_since.get()).min();
        let has_long_timeout =
            |id: i64| self.hooks.borrow().get(&id).is_some_and(|hook| hook.policy.timeout > DEFAULT_TIMEOUT);
        let unlimited = |id: i64| self.hooks.borrow().get(&id).is_some_and(|hook| !hook.ever_limited);
        self.database.peek(|view| {
            for (_, row) in view.range::<Delivery>(..) {
                let Some(committed) = history.committed.get(&row.message) else { continue };
                let lane = (row.webhook, row.lane);
                let halted = view.get::<Lane>(&lane).is_some_and(|lane| lane.halted);
                let active = history.lanes.get(&lane).map_or(0, |lane| lane.active);
                let owed_again =
                    history.courses.get(&(row.webhook, row.message)).map_or(0, |course| course.owed_again);
                let waits = now - committed.at.max(owed_again).max(active).max(self.quiet_since.get());
                let is_due = !halted && view.get::<Webhook>(&row.webhook).is_some();
                // The lease did not cover a request's timeout.
                let waits_itself = view.get::<Lane>(&lane).is_some_and(|lane| lane.wait.is_some())
                    || now < self.quiet_since.get() + HELD_BACK && has_long_timeout(row.webhook);
                // It came while the slot was free: so a worker that looked had room for it.
                let came = committed.at.max(owed_again).max(self.quiet_since.get());
                // While somebody locks its lane, it waits for that, too.
                let unlocked = waits.min(now - self.locked_until(lane));
                let free = if free_since.is_some_and(|since| since <= came) { unlocked } else { 0 };
                if is_due && !waits_itself && unlimited(row.webhook) && free > missed_for {
                    missed_for = free;
                    let row = view.get::<Lane>(&lane);
                    missed = Some(format!(
                        "late: {} waits for {} ms beside a free slot in {row:?}",
                        lane.1,
                        free / 1_000
                    ));
                }
                if is_due && waits > waited {
                    waited = waits;
                    let row = view.get::<Lane>(&lane);
                    late = Some(format!("late: {} waits for {} ms in {row:?}", lane.1, waits / 1_000));
                }
            }
        });
        history.counts.waited = history.counts.waited.max(waited);
        history.counts.missed = history.counts.missed.max(missed_for);
        if let Some(missed) = missed.filter(|_| missed_for > self.promptly()) {
            history.fail(missed);
        }
        let most = CALM + CALM_A_MESSAGE * Micros::try_from(history.committed.len()).unwrap_or(0);
        if let Some(late) = late.filter(|_| waited > most) {
            history.fail(late);
        }
    }

    /// Until when a worker could not write outcomes of a lane.
    fn locked_until(&self, lane: LaneId) -> Micros {
        let now = self.now();
        let known = self.processes.iter().filter_map(|process| {
            process.knowledge.borrow().as_ref().map(|knows| knows.borrow().locked_until(lane, now))
        });
        known.max().unwrap_or(0)
    }

    /// How long a message may wait in a calm run while a worker has a free slot.
    fn promptly(&self) -> Micros {
        let most = if self.plan.notifies { PROMPT } else { PROMPT_POLLED };
        // A claim of many lanes pauses often.
        most + PAUSES * self.plan.pace.pause
    }

    /// If a worker lives, the lanes of those that have ended are free again soon.
    fn check_taken_over(&self) {
        let now = self.now();
        let history = self.history.borrow();
        let old = |since: &Micros| now - since > TAKEN_OVER;
        let lives = self.processes.iter().any(|process| process.began.get().is_some_and(|since| old(&since)));
        if !lives || history.ended_at.is_empty() {
            return;
        }
        let held = self.database.peek(|view| {
            let has_ended = |worker: u32| history.ended_at.get(&worker).is_some_and(old);
            let mut rows = view.range::<Lane>(..).map(|(_, row)| row);
            rows.find(|row| row.claimed_by.is_some_and(has_ended)).cloned()
        });
        drop(history);
        if let Some(row) = held {
            self.fail(format!("taken over: its worker has ended, and others live: {row:?}"));
        }
    }

    /// A worker that may not send, or whose webhook is off, gives its lanes back.
    fn check_kept(&self) {
        let now = self.now();
        for process in &self.processes {
            let worker = process.worker.get();
            let Some(knowledge) = process.knowledge.borrow().clone().filter(|_| !process.paused.get()) else {
                continue;
            };
            let knowledge = knowledge.borrow();
            let most = KEPT + KEPT_WAYS * self.plan.pace.late_way;
            let old = |since: Micros| now - since > most;
            let all = knowledge.sends_off.is_some_and(old);
            let hook_off = |id: i64| knowledge.hooks_off.get(&id).is_some_and(|since| old(*since));
            if !all && knowledge.hooks_off.is_empty() {
                continue;
            }
            let history = &mut *self.history.borrow_mut();
            let kept = self.database.peek(|view| {
                let mut rows = view.range::<Lane>(..).map(|(_, row)| row);
                let kept = rows.find(|row| {
                    let lane = (row.webhook, row.lane);
                    row.claimed_by == Some(worker)
                        && (all || hook_off(row.webhook))
                        && knowledge.holds_since(lane, row.token).is_some_and(old)
                        && history.flights.get(&lane).is_none_or(Vec::is_empty)
                        && history.lanes.get(&lane).is_none_or(|lane| old(lane.active))
                        && view.get::<Webhook>(&row.webhook).is_some()
                        && view.range::<Delivery>(owed(lane)).next().is_some()
                });
                kept.map(|row| format!("kept: worker {worker} holds what it may not send: {row:?}"))
            });
            if let Some(kept) = kept {
                history.fail(kept);
            }
        }
    }
}
