//! The rules of breakers. They hold in all plans; breakers open only where `Plan::breakers` says so.
//!
//! | rule | where |
//! |---|---|
//! | over all workers, a webhook has one probe in flight, and none soon after one that failed | `check_breaker` |
//! | while a breaker is open, nothing is sent but probes, and what was claimed before | `check_breaker` |
//! | while a breaker is open, nothing becomes a dead letter but by a probe | `check_buried` |

use super::{
    World,
    history::{History, LaneId},
    requests::Start,
};
use crate::{
    functions::{Claimed, settle::Settlement},
    postgres::{
        Database,
        tables::{Breaker, DeadLetter, Reason},
    },
    schedule::{Micros, SECOND},
};

/// How long nobody probes a webhook after a probe that has failed, at least.
const PROBE_WAIT: Micros = SECOND;

/// A dead letter that a settle is about to write.
pub(super) type Buried = (LaneId, i64);

impl History {
    /// A worker has heard that it has opened a breaker.
    pub(super) fn opened(&mut self, now: Micros, webhook: i64, epoch: i64) {
        self.note(now, (webhook, 0), format!("its breaker is open, epoch {epoch}"));
        self.counts.opened += 1;
        self.opened.insert(webhook, (now, epoch));
    }

    /// A call that began then has claimed lanes.
    pub(super) fn claimed(&mut self, began: Micros, worker: u32, token: i64, lanes: &[Claimed]) {
        for claimed in lanes {
            self.claims.insert(((claimed.lane.webhook, claimed.lane.lane), worker), (began, token));
        }
    }

    /// Since when a breaker is open for certain, if it is open now, in the same epoch.
    fn open_since(&self, webhook: i64, database: &Database) -> Option<Micros> {
        let (since, epoch) = self.opened.get(&webhook)?;
        let row = database.peek(|view| view.get::<Breaker>(&webhook).cloned())?;
        (row.open && row.epoch == *epoch).then_some(*since)
    }

    pub(super) fn check_breaker(&mut self, now: Micros, start: &Start<'_>, database: &Database) {
        let Start { worker, lane, probe, .. } = *start;
        if probe {
            // The turn ends by the server's clock.
            let stepped = self.stepped > 0 && self.stepped >= now - 60 * SECOND;
            if let Some(other) = self.probes(lane.0, now).filter(|_| !stepped) {
                self.fail(format!("two probes of webhook {} at once: workers {other} and {worker}", lane.0));
            }
            let epoch = database.peek(|view| view.get::<Breaker>(&lane.0).map(|row| row.epoch));
            let failed = self.probe_failed.get(&lane.0).filter(|(_, of, _)| Some(*of) == epoch && !stepped);
            // A worker that has ended may not have written the end of its probe.
            let failed = failed.filter(|(_, _, worker)| !self.ended_at.contains_key(worker));
            if let Some((at, ..)) = failed.filter(|(at, ..)| now - at < PROBE_WAIT) {
                let after = (now - at) / 1_000;
                self.fail(format!("webhook {} is probed {after} ms after a probe of it has failed", lane.0));
            }
            return;
        }
        let Some(since) = self.open_since(lane.0, database) else { return };
        let claimed = self.claims.get(&(lane, worker)).copied();
        if claimed.is_some_and(|(began, _)| began > since) {
            self.fail(format!("worker {worker} sends from lane {lane:?}, and its breaker is open"));
        }
    }
}

impl World {
    /// The dead letters of a settle that are no outcomes of probes, and that there are not yet.
    pub(super) fn would_bury(&self, call: &Settlement) -> Vec<Buried> {
        let failed = call.dead.iter().filter(|(number, .., reason)| {
            call.lanes[*number].epoch.is_some() && *reason != Reason::Superseded
        });
        let new = failed.filter(|(number, message, ..)| {
            let key = (call.lanes[*number].webhook, *message);
            self.database.peek(|view| view.find_second::<DeadLetter>(&key).is_none())
        });
        new.map(|(number, message, ..)| ((call.lanes[*number].webhook, call.lanes[*number].lane), *message))
            .collect()
    }

    /// A settle was answered that began then.
    pub(super) fn check_buried(&self, buried: &[Buried], began: Micros) {
        let mut history = self.history.borrow_mut();
        for (lane, message) in buried {
            let written =
                self.database.peek(|view| view.find_second::<DeadLetter>(&(lane.0, *message)).is_some());
            let since = history.open_since(lane.0, &self.database);
            if written && since.is_some_and(|since| since < began) {
                history.fail(format!(
                    "{message} of lane {lane:?} became a dead letter while its breaker was open"
                ));
            }
        }
    }
}
