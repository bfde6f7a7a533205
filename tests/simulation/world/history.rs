//! What happened in a run, and what is wrong with it. The rules are in `requests`, `order`,
//! `attempts`, `breakers`, `answers`, `rows` and `run`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::schedule::Micros;

/// A lane: its webhook, and its number.
pub(super) type LaneId = (i64, i64);

/// A request that is under way.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) request: u64,
    pub(super) worker: u32,
    pub(super) until: Micros,
    pub(super) probe: bool,
}

/// What is known of a message and a webhook, since it was owed last.
#[derive(Clone, Debug, Default)]
pub(super) struct Course {
    /// Whether it was ever sent, replays aside.
    pub(super) sent: bool,
    /// Requests that were not accepted.
    pub(super) failed: u32,
    /// Those of them that must count: nothing has happened since that may have reset them.
    pub(super) surely_failed: u32,
    /// Who has got a 2xx for it, and by which claim.
    pub(super) accepted: Option<(u32, i64)>,
    /// Whether anybody has ever got a 2xx for it.
    pub(super) ever_accepted: bool,
    /// It was taken out by an operator: the lane's generation since then.
    pub(super) canceled: Option<i32>,
    /// It was taken out, and owed again. If a request of it was under way, its end may settle what is
    /// owed again.
    pub(super) doubtful: bool,
    /// When it was owed again.
    pub(super) owed_again: Micros,
}

/// What is known of a lane.
#[derive(Clone, Debug, Default)]
pub(super) struct LaneCourse {
    /// The newest message that was sent, replays aside.
    pub(super) newest: Option<i64>,
    /// The last request, if it was not accepted, and must be repeated.
    pub(super) failed: Option<FailedRequest>,
    /// Somebody has freed it by hand: a worker that holds it does not know.
    pub(super) freed: bool,
    /// When a request of it began or ended last.
    pub(super) active: Micros,
}

/// A request that was not accepted.
#[derive(Clone, Debug)]
pub(super) struct FailedRequest {
    pub(super) worker: u32,
    pub(super) messages: Vec<i64>,
    pub(super) at: Micros,
    /// How often exactly these messages have failed.
    pub(super) count: u32,
}

/// A message that was committed.
#[derive(Clone, Debug)]
pub(super) struct Committed {
    /// The webhooks that must get it.
    pub(super) webhooks: Vec<i64>,
    pub(super) lane: i64,
    pub(super) at: Micros,
}

/// What one run did.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) requests: u64,
    pub(super) messages: u64,
    pub(super) faults: u64,
    pub(super) operations: u64,
    pub(super) engine: u64,
    pub(super) incarnations: u64,
    pub(super) dead: u64,
    pub(super) opened: u64,
    pub(super) probes: u64,
    /// The longest rest that a run needed, and the longest wait of a message in a calm one.
    pub(super) rest: Micros,
    pub(super) waited: Micros,
    /// The same beside a free slot.
    pub(super) missed: Micros,
}

#[derive(Default)]
pub(super) struct History {
    lines: Vec<(Micros, LaneId, String)>,
    hash: u64,
    pub(super) flights: HashMap<LaneId, Vec<Flight>>,
    pub(super) requests: u64,
    pub(super) lanes: BTreeMap<LaneId, LaneCourse>,
    pub(super) courses: BTreeMap<(i64, i64), Course>,
    pub(super) committed: BTreeMap<i64, Committed>,
    /// Workers whose incarnation has ended, or that were taken for dead or hung.
    pub(super) ended: BTreeSet<u32>,
    /// When the processes of those ended that are gone for good.
    pub(super) ended_at: BTreeMap<u32, Micros>,
    /// Workers that have stopped, and had nothing left to do.
    pub(super) stopped: BTreeSet<u32>,
    /// The webhooks of those who take messages out and have no answer yet.
    pub(super) canceling: Vec<i64>,
    /// Messages that were accepted before the database crashed.
    pub(super) crashed_since: BTreeSet<(i64, i64)>,
    /// When each breaker was known to be open, and its epoch.
    pub(super) opened: BTreeMap<i64, (Micros, i64)>,
    /// Messages that a look has brought to a lane that was held: it says nothing of newer ones.
    pub(super) followers: BTreeSet<(LaneId, i64)>,
    /// When a probe of each webhook has failed last, the epoch of its breaker, and the worker.
    pub(super) probe_failed: BTreeMap<i64, (Micros, i64, u32)>,
    /// When the call began that has claimed a lane last, by worker; and its token.
    pub(super) claims: HashMap<(LaneId, u32), (Micros, i64)>,
    /// Whether the database has crashed.
    pub(super) has_crashed: bool,
    /// When the server's clock was stepped last.
    pub(super) stepped: Micros,
    pub(super) counts: Counts,
    broken: Option<String>,
}

impl History {
    /// Notes something, for people and for the hash.
    pub(super) fn note(&mut self, now: Micros, lane: LaneId, text: String) {
        for byte in now.to_le_bytes().iter().chain(text.as_bytes()) {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
        self.lines.push((now, lane, text));
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// Something is wrong. The first thing counts.
    pub(super) fn fail(&mut self, text: String) {
        self.broken.get_or_insert(text);
    }

    pub(super) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// What led to it: the last lines.
    pub(super) fn tell(&self, most: usize) -> Vec<String> {
        self.lines[self.lines.len().saturating_sub(most)..]
            .iter()
            .map(|(at, lane, text)| format!("{:>10.3} ms {lane:?} {text}", *at as f64 / 1_000.0))
            .collect()
    }

    pub(super) fn course(&mut self, lane: LaneId, message: i64) -> &mut Course {
        self.courses.entry((lane.0, message)).or_default()
    }

    pub(super) fn lane(&mut self, lane: LaneId) -> &mut LaneCourse {
        self.lanes.entry(lane).or_default()
    }

    /// A worker that has a probe of a webhook under way.
    pub(super) fn probes(&self, webhook: i64, now: Micros) -> Option<u32> {
        let flights = self.flights.iter().filter(|(lane, _)| lane.0 == webhook);
        let mut flights = flights.flat_map(|(_, flights)| flights);
        flights.find(|flight| flight.probe && flight.until > now).map(|flight| flight.worker)
    }

    /// How many requests of a webhook are under way.
    pub(super) fn in_flight(&self, webhook: i64, now: Micros) -> usize {
        let flights = self.flights.iter().filter(|(lane, _)| lane.0 == webhook);
        flights.flat_map(|(_, flights)| flights).filter(|flight| flight.until > now).count()
    }

    /// A worker sends no more: its requests are aborted. `stopped`: it was told to, and had nothing
    /// left to do.
    pub(super) fn ended(&mut self, now: Micros, worker: u32, why: &str, stopped: bool) {
        self.note(now, (0, 0), format!("worker {worker} ends: {why}"));
        self.ended_at.insert(worker, now);
        if stopped {
            self.stopped.insert(worker);
        } else {
            self.ended.insert(worker);
            self.forget_failures_of(worker);
        }
        self.excuse(worker);
    }

    /// Others may take this worker's lanes from now on.
    pub(super) fn gone(&mut self, now: Micros, worker: u32, by: u32) {
        self.note(now, (0, 0), format!("worker {worker} is marked gone by {by}"));
        self.ended.insert(worker);
        self.forget_failures_of(worker);
    }

    /// Its requests count no more: it stands still, and its session is gone.
    pub(super) fn excuse(&mut self, worker: u32) {
        for flights in self.flights.values_mut() {
            flights.retain(|flight| flight.worker != worker);
        }
    }

    /// What this worker knew of failures may be lost.
    fn forget_failures_of(&mut self, worker: u32) {
        let lanes: Vec<LaneId> = self
            .lanes
            .iter()
            .filter(|(_, lane)| lane.failed.as_ref().is_some_and(|failed| failed.worker == worker))
            .map(|(lane, _)| *lane)
            .collect();
        for lane in lanes {
            self.disturbed(lane);
        }
    }

    /// Something has happened to a lane after which its failures may count no more, and a request need
    /// not be repeated as it was.
    pub(super) fn disturbed(&mut self, lane: LaneId) {
        self.lane(lane).failed = None;
        let messages: Vec<i64> =
            self.committed.iter().filter(|(_, row)| row.lane == lane.1).map(|(id, _)| *id).collect();
        for message in messages {
            if let Some(course) = self.courses.get_mut(&(lane.0, message)) {
                course.surely_failed = 0;
            }
        }
    }

    /// The same for all lanes of a webhook, or of all webhooks.
    pub(super) fn all_disturbed(&mut self, webhook: Option<i64>) {
        let is_it = |id: i64| webhook.is_none_or(|webhook| webhook == id);
        self.lanes.iter_mut().filter(|(lane, _)| is_it(lane.0)).for_each(|(_, lane)| lane.failed = None);
        let courses = self.courses.iter_mut().filter(|((id, _), _)| is_it(*id));
        courses.for_each(|(_, course)| course.surely_failed = 0);
    }

    /// The database has crashed: what was accepted may be sent again.
    pub(super) fn crashed(&mut self) {
        let accepted = self.courses.iter().filter(|(_, course)| course.accepted.is_some());
        let all: Vec<_> = accepted.map(|(key, _)| *key).collect();
        self.crashed_since.extend(all);
        self.has_crashed = true;
        self.all_disturbed(None);
    }

    /// A message was asked to be owed again. If it is: it has all its attempts.
    pub(super) fn replayed(&mut self, now: Micros, webhook: i64, message: i64, outcome: &str) {
        self.note(now, (webhook, 0), format!("replay of {message}: {outcome}"));
        if outcome != "owed" {
            return;
        }
        let lane = self.committed.get(&message).map_or(0, |committed| committed.lane);
        self.disturbed((webhook, lane));
        let course = self.course((webhook, lane), message);
        let doubtful = course.canceled.is_some() || course.doubtful;
        let Course { sent, ever_accepted, .. } = *course;
        *course = Course { sent, ever_accepted, doubtful, owed_again: now, ..Course::default() };
        self.crashed_since.remove(&(webhook, message));
    }

    /// Somebody who takes messages out of a webhook has an answer, or will never have one.
    pub(super) fn no_longer_canceling(&mut self, webhook: i64) {
        if let Some(at) = self.canceling.iter().position(|id| *id == webhook) {
            self.canceling.swap_remove(at);
        }
    }

    /// A message was taken out of what a lane owes.
    pub(super) fn canceled(&mut self, lane: LaneId, message: i64, generation: i32) {
        self.disturbed(lane);
        self.course(lane, message).canceled = Some(generation);
    }
}
