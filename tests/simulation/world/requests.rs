//! The rules for requests: who may start one, and when.
//!
//! | rule | where |
//! |---|---|
//! | no lane is in flight twice | `started` |
//! | no more requests are in flight to a webhook, over all workers, than it allows | `shares` |
//! | no request starts against what its worker was told | `check_told` |
//! | no request starts to a webhook that has been off for some time | `check_off` |
//! | no request starts unless the lane's row names its worker and its claim | `check_held` |
//! | nothing is sent when the session was lost for longer than its worker may rely on it | `check_held` |
//! | which messages, and in which order | `order` |
//! | how often, and how soon again | `attempts` |
//! | none but probes while the breaker of its webhook is open | `breakers` |

use super::{
    World,
    history::{FailedRequest, Flight, LaneId},
    knowledge::{Basis, Knowledge},
    plan::What,
    queries::sent,
};
use crate::{
    postgres::tables::{Lane, Webhook},
    schedule::{Micros, SECOND},
};

/// How long a worker may send on after its session was lost.
const ALIVE_FOR: Micros = SECOND * 7 / 10;

/// How long requests may go on after their webhook was paused, disabled or deleted, or its topic was
/// put on hold.
const OFF: Micros = 3 * SECOND;

/// A request as a worker starts it.
pub(super) struct Start<'a> {
    pub(super) process: usize,
    pub(super) worker: u32,
    pub(super) lane: LaneId,
    pub(super) messages: &'a [i64],
    pub(super) replay: bool,
    pub(super) probe: bool,
    /// The number of the attempt, as it is told to the receiver.
    pub(super) attempt: u32,
    pub(super) until: Micros,
    pub(super) basis: Basis,
}

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    Accepted,
    Failed,
    /// 410: that is no failure of the message.
    Gone,
    /// The receiver asks for a pause: no attempt is used up.
    Held,
}

impl World {
    /// A request starts: its bytes leave now. Returns its number.
    pub(super) fn started(&self, start: &Start<'_>, knows: &Knowledge) -> u64 {
        let Start { worker, lane, messages, until, .. } = *start;
        let now = self.now();
        let request = {
            let history = &mut *self.history.borrow_mut();
            history.requests += 1;
            history.counts.requests += 1;
            history.counts.probes += u64::from(start.probe);
            let kind = match (start.probe, start.replay) {
                (true, _) => " probe",
                (false, true) => " replay",
                (false, false) => "",
            };
            history.check_breaker(now, start, &self.database);
            let attempt = start.attempt;
            history.note(now, lane, format!("worker {worker} sends{kind} {messages:?}, attempt {attempt}"));
            history.lane(lane).active = now;
            let request = history.requests;
            let flights = history.flights.entry(lane).or_default();
            flights.retain(|flight| flight.until > now);
            let other = flights.first().map(|flight| flight.worker);
            flights.push(Flight { request, worker, until, probe: start.probe });
            // Whoever frees a lane by hand lets another worker in.
            let excused = history.lane(lane).freed && other != Some(worker);
            if let Some(other) = other.filter(|_| !excused) {
                history.fail(format!(
                    "overlap: lane {lane:?} is in flight at worker {other} and at worker {worker}"
                ));
            }
            request
        };
        self.check_in_flight(lane.0);
        self.check_told(start, knows);
        self.check_off(start);
        self.check_held(start);
        self.check_order(start);
        self.check_attempt(start);
        request
    }

    fn check_told(&self, start: &Start<'_>, knows: &Knowledge) {
        let Start { worker, lane, messages, .. } = start;
        if let Some(why) = knows.forbids(*lane, &start.basis) {
            self.fail(format!("told: worker {worker} sends {messages:?} of lane {lane:?}, although {why}"));
        }
        if knows.hooks_off.contains_key(&lane.0) {
            self.fail(format!("told: worker {worker} sends {messages:?} to {}, which is off", lane.0));
        }
    }

    /// Workers hear of it soon, unless they hear nothing.
    fn check_off(&self, start: &Start<'_>) {
        let hears = !self.plan.has(|what| matches!(what, What::Notices { .. } | What::Suppress { .. }));
        if !(hears && self.plan.is_smooth()) {
            return;
        }
        let since = self.off_since.borrow().get(&start.lane.0).copied();
        let is_off = || {
            self.database.peek(|view| view.get::<Webhook>(&start.lane.0).is_none_or(|row| !sent(view, row)))
        };
        if let Some(since) = since.filter(|since| self.now() - since > OFF && is_off()) {
            let Start { worker, lane, messages, .. } = start;
            let ago = (self.now() - since) / 1_000;
            self.fail(format!(
                "off: worker {worker} sends {messages:?} of lane {lane:?}, and its webhook is off since {ago} ms"
            ));
        }
    }

    fn check_held(&self, start: &Start<'_>) {
        let Start { process, worker, lane, .. } = *start;
        if let Some(lost) = self.processes[process].lost_at.get() {
            if self.now() > lost + ALIVE_FOR {
                let ago = (self.now() - lost) / 1_000;
                self.fail(format!("alive: worker {worker} sends, and its session was lost {ago} ms ago"));
            }
            // Its claims may be lost, too.
            return;
        }
        let (is_there, row) = self.database.peek(|view| {
            let row = view.get::<Lane>(&lane).map(|row| (row.claimed_by, row.token));
            (view.get::<Webhook>(&lane.0).is_some(), row)
        });
        let freed = self.history.borrow_mut().lane(lane).freed;
        if is_there && !freed && row != Some((Some(worker), Some(start.basis.token))) {
            let token = start.basis.token;
            self.fail(format!(
                "held: worker {worker} sends for lane {lane:?} by claim {token}, and its row says {row:?}"
            ));
        }
    }

    /// A request has ended at its worker.
    pub(super) fn request_ended(&self, request: u64, start: &Start<'_>, ended: Ended) {
        let Start { worker, lane, messages, .. } = *start;
        let now = self.now();
        // If what the lane owes has changed meanwhile, or its claim has ended, its row need not tell
        // of this failure.
        let generation = self.database.peek(|view| view.get::<Lane>(&lane).map(|row| row.generation));
        let freed = self.history.borrow_mut().lane(lane).freed;
        let counts = generation == Some(start.basis.heard) && !freed;
        let epoch = self.breaker(lane.0).filter(|row| row.open).map(|row| row.epoch);
        let history = &mut *self.history.borrow_mut();
        history.note(now, lane, format!("worker {worker} got {ended:?} for {messages:?}"));
        history.flights.entry(lane).or_default().retain(|flight| flight.request != request);
        if let Some(epoch) = epoch.filter(|_| start.probe && ended == Ended::Failed) {
            history.probe_failed.insert(lane.0, (now, epoch));
        }
        for message in messages {
            history.crashed_since.remove(&(lane.0, *message));
            let course = history.course(lane, *message);
            match ended {
                Ended::Accepted => {
                    course.accepted = Some((worker, start.basis.token));
                    course.ever_accepted = true;
                    course.surely_failed = 0;
                }
                Ended::Failed => {
                    course.failed += 1;
                    course.surely_failed += u32::from(counts);
                }
                Ended::Gone => course.failed += 1,
                Ended::Held => {}
            }
        }
        let known = history.lane(lane);
        known.active = now;
        let before = known.failed.take().filter(|failed| failed.messages == messages);
        known.failed = match ended {
            Ended::Failed if counts => Some(FailedRequest {
                worker,
                messages: messages.to_vec(),
                at: now,
                count: before.map_or(start.attempt, |failed| failed.count + 1),
            }),
            // What has failed before is still to be repeated.
            Ended::Held if counts => before.map(|failed| FailedRequest { worker, at: now, ..failed }),
            Ended::Failed | Ended::Held | Ended::Accepted | Ended::Gone => None,
        };
        if matches!(ended, Ended::Failed | Ended::Held) && !counts {
            history.disturbed(lane);
        }
    }

    /// The receiver has taken messages.
    pub(super) fn arrived(&self, lane: LaneId, messages: &[i64]) {
        self.note(lane, format!("taken {messages:?}"));
    }
}
