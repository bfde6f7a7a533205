//! What happened in a run, and what is wrong with it.
//!
//! | rule | where |
//! |---|---|
//! | a lane is in flight at one worker only | `start` |
//! | first sends of a lane rise; n+1 is not sent before n was accepted or has left the lane | `start` |
//! | no message is sent that was not committed | `start` |
//! | what was accepted is sent again only after a crash, or as a replay | `start` |
//! | no more requests are in flight than `max_in_flight` allows | `in_flight` |
//! | over all workers, a webhook has one probe in flight | `start` |
//! | while a breaker is open, nothing is sent but probes of lanes that were claimed later | `start` |
//! | while a breaker is open, nothing becomes a dead letter but by a probe | `breakers` |
//! | nothing is given up before its attempts | `given_up` |
//! | nothing is lost | `checker` |

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    postgres::{Database, tables::Delivery},
    schedule::Micros,
};

/// A lane: its webhook, and its number.
pub(super) type LaneId = (i64, i64);

/// A request that is under way.
#[derive(Clone, Debug)]
struct Flight {
    request: u64,
    worker: u32,
    until: Micros,
    probe: bool,
}

/// What is known of a message and a webhook.
#[derive(Clone, Debug, Default)]
pub(super) struct Course {
    /// Whether it was sent, replays aside.
    sent: bool,
    /// Requests that were not accepted, since it was given up last.
    failed: u32,
    /// Who has got a 2xx for it.
    accepted_by: Option<u32>,
    /// Whether the receiver has taken it, whatever the worker heard.
    pub(super) arrived: bool,
}

/// A message that was committed.
#[derive(Clone, Debug)]
pub(super) struct Committed {
    /// The webhooks that must get it.
    pub(super) webhooks: Vec<i64>,
    pub(super) lane: i64,
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
}

#[derive(Default)]
pub(super) struct History {
    lines: Vec<(Micros, LaneId, String)>,
    hash: u64,
    flights: HashMap<LaneId, Vec<Flight>>,
    requests: u64,
    /// The newest message of each lane that was sent, replays aside.
    newest: HashMap<LaneId, i64>,
    pub(super) courses: BTreeMap<(i64, i64), Course>,
    pub(super) committed: BTreeMap<i64, Committed>,
    /// Workers whose incarnation has ended, or that were taken for dead or hung.
    ended: BTreeSet<u32>,
    /// How often the database has crashed.
    pub(super) crashes: u32,
    crashed_since: BTreeSet<(i64, i64)>,
    /// When each breaker was known to be open, and its epoch.
    pub(super) opened: BTreeMap<i64, (Micros, i64)>,
    /// When the call began that has claimed a lane last, by worker.
    pub(super) claims: HashMap<(LaneId, u32), Micros>,
    /// When the server's clock was stepped last.
    pub(super) stepped: Micros,
    pub(super) counts: Counts,
    broken: Option<String>,
}

/// A request as a worker starts it.
pub(super) struct Start<'a> {
    pub(super) worker: u32,
    pub(super) lane: LaneId,
    pub(super) messages: &'a [i64],
    pub(super) replay: bool,
    pub(super) probe: bool,
    pub(super) until: Micros,
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

    /// What led to it: the last lines about a lane, and about all lanes.
    pub(super) fn tell(&self, lane: Option<LaneId>, most: usize) -> Vec<String> {
        let about = |line: &&(Micros, LaneId, String)| {
            lane.is_none_or(|lane| line.1 == lane || line.1 == (0, 0) || line.1.0 == 0 && line.1.1 == lane.1)
        };
        let lines: Vec<_> = self.lines.iter().filter(about).collect();
        lines[lines.len().saturating_sub(most)..]
            .iter()
            .map(|(at, lane, text)| format!("{:>10.3} ms {lane:?} {text}", *at as f64 / 1_000.0))
            .collect()
    }

    /// A request starts: its bytes leave now. Returns its number.
    pub(super) fn start(&mut self, now: Micros, start: &Start<'_>, database: &Database) -> u64 {
        let Start { worker, lane, messages, replay, probe, until } = *start;
        self.requests += 1;
        self.counts.requests += 1;
        let request = self.requests;
        let kind = match (probe, replay) {
            (true, _) => " probe",
            (false, true) => " replay",
            (false, false) => "",
        };
        self.counts.probes += u64::from(probe);
        self.check_breaker(now, start, database);
        self.note(now, lane, format!("worker {worker} sends{kind} {messages:?}"));
        let flights = self.flights.entry(lane).or_default();
        flights.retain(|flight| flight.until > now);
        let other = flights.first().map(|flight| flight.worker);
        flights.push(Flight { request, worker, until, probe });
        if let Some(other) = other {
            self.fail(format!(
                "overlap: lane {lane:?} is in flight at worker {other} and at worker {worker}"
            ));
        }
        for message in messages {
            if !self.committed.contains_key(message) {
                self.fail(format!("phantom: worker {worker} sends {message}, which is not committed"));
            }
            if !replay {
                self.check_order(lane, *message, messages, worker, database);
            }
        }
        request
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

    fn check_order(&mut self, lane: LaneId, message: i64, request: &[i64], worker: u32, database: &Database) {
        let newest = self.newest.get(&lane).copied();
        let course = self.courses.entry((lane.0, message)).or_default();
        let first = !std::mem::replace(&mut course.sent, true);
        let accepted_by = course.accepted_by;
        if first && newest.is_some_and(|newest| newest > message) {
            self.fail(format!(
                "order: worker {worker} sends {message} of lane {lane:?} for the first time, after {newest:?}"
            ));
        }
        self.newest.insert(lane, newest.map_or(message, |newest| newest.max(message)));
        // What comes before it, and is owed, must have been accepted; or goes with it.
        let before: Vec<(i64, bool)> = database.peek(|view| {
            let rows = view.range::<Delivery>((lane.0, lane.1, i64::MIN)..(lane.0, lane.1, message));
            rows.map(|(_, row)| (row.message, row.replayed)).collect()
        });
        for (earlier, replayed) in before {
            let accepted =
                self.courses.get(&(lane.0, earlier)).is_some_and(|course| course.accepted_by.is_some());
            if !replayed && !accepted && !request.contains(&earlier) {
                self.fail(format!(
                    "order: worker {worker} sends {message} of lane {lane:?}, and {earlier} is owed and not accepted"
                ));
            }
        }
        if let Some(by) = accepted_by {
            let explained =
                by != worker && self.ended.contains(&by) || self.crashed_since.contains(&(lane.0, message));
            if !explained {
                self.fail(format!(
                    "duplicate: worker {worker} sends {message} of lane {lane:?} again; worker {by} had got its 2xx"
                ));
            }
        }
    }

    /// The receiver has taken messages.
    pub(super) fn arrived(&mut self, now: Micros, lane: LaneId, messages: &[i64]) {
        self.note(now, lane, format!("taken {messages:?}"));
        for message in messages {
            self.courses.entry((lane.0, *message)).or_default().arrived = true;
        }
    }

    /// A request has ended at its worker.
    pub(super) fn end(&mut self, now: Micros, request: u64, start: &Start<'_>, accepted: bool) {
        let Start { worker, lane, messages, .. } = *start;
        let said = if accepted { "has 2xx for" } else { "failed with" };
        self.note(now, lane, format!("worker {worker} {said} {messages:?}"));
        self.flights.entry(lane).or_default().retain(|flight| flight.request != request);
        for message in messages {
            let course = self.courses.entry((lane.0, *message)).or_default();
            if accepted {
                course.accepted_by = Some(worker);
                self.crashed_since.remove(&(lane.0, *message));
            } else {
                course.failed += 1;
            }
        }
    }

    /// A worker sends no more: its requests are aborted.
    pub(super) fn ended(&mut self, now: Micros, worker: u32, why: &str) {
        self.note(now, (0, 0), format!("worker {worker} ends: {why}"));
        self.ended.insert(worker);
        self.excuse(worker);
    }

    /// Others may take this worker's lanes from now on.
    pub(super) fn gone(&mut self, now: Micros, worker: u32, by: u32) {
        self.note(now, (0, 0), format!("worker {worker} is marked gone by {by}"));
        self.ended.insert(worker);
    }

    /// Its requests count no more: it stands still, and its session is gone.
    pub(super) fn excuse(&mut self, worker: u32) {
        for flights in self.flights.values_mut() {
            flights.retain(|flight| flight.worker != worker);
        }
    }

    /// The database has crashed: what was accepted may be sent again.
    pub(super) fn crashed(&mut self) {
        self.crashes += 1;
        let accepted = self.courses.iter().filter(|(_, course)| course.accepted_by.is_some());
        let all: Vec<_> = accepted.map(|(key, _)| *key).collect();
        self.crashed_since.extend(all);
    }

    /// A worker gives a message up after so many attempts.
    pub(super) fn given_up(&mut self, now: Micros, lane: LaneId, message: i64, needed: u32) {
        self.note(now, lane, format!("{message} is given up"));
        self.counts.dead += 1;
        // The count goes on: whether this is written is not known yet. If a crash comes first, the
        // message is tried again, and its row may still know of all attempts but the last.
        let made = self.courses.entry((lane.0, message)).or_default().failed;
        if made < needed {
            self.fail(format!(
                "given up too early: {message} of lane {lane:?} had {made} attempts, and {needed} were due"
            ));
        }
    }

    /// A message was replayed: it may be sent again, and has all its attempts.
    pub(super) fn replayed(&mut self, now: Micros, webhook: i64, message: i64, outcome: &str) {
        self.note(now, (webhook, 0), format!("replay of {message}: {outcome}"));
    }
}
