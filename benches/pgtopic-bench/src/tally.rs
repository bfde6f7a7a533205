//! What has arrived: how much, when, and in order or not.

use std::{
    sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// Every partition key of a measurement begins with this. Its number follows.
const KEY: &str = "lane-";

/// The partition key of a lane.
pub(super) fn partition_key(lane: u64) -> String {
    format!("{KEY}{lane}")
}

/// Counts what arrives, from any number of threads, without a lock.
pub(super) struct Tally {
    epoch: Instant,
    /// How long answers take.
    answer_after: Duration,
    /// How long the receiver waits after each piece of a request's body.
    read_pause: Duration,
    endpoints: Vec<Endpoint>,
    /// By message id: when its commit returned to its publisher, and when it arrived last at an
    /// endpoint that answers.
    committed: Vec<AtomicU64>,
    arrived: Vec<AtomicU64>,
}

/// One path of the receiver.
struct Endpoint {
    /// Whether requests are never answered.
    hangs: AtomicBool,
    requests: AtomicU64,
    violations: AtomicU64,
    first: AtomicU64,
    last: AtomicU64,
    /// By lane: the highest position so far.
    highest: Vec<AtomicI64>,
}

/// How long one message was on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Journey {
    /// Since the tally began.
    pub(super) committed: Duration,
    pub(super) milliseconds: f64,
}

impl Tally {
    /// For this many endpoints, each with `lanes` lanes. Keeps the times of messages with ids below
    /// `tracked`.
    pub(super) fn new(lanes: &[u64], tracked: usize) -> Self {
        let endpoint = |lanes: &u64| Endpoint {
            hangs: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            violations: AtomicU64::new(0),
            first: AtomicU64::new(u64::MAX),
            last: AtomicU64::new(0),
            highest: (0..*lanes).map(|_| AtomicI64::new(0)).collect(),
        };
        let times = || (0..tracked).map(|_| AtomicU64::new(0)).collect();
        Self {
            epoch: Instant::now(),
            answer_after: Duration::ZERO,
            read_pause: Duration::ZERO,
            endpoints: lanes.iter().map(endpoint).collect(),
            committed: times(),
            arrived: times(),
        }
    }

    /// The same, but each answer takes this long.
    pub(super) fn answering_after(self, answer_after: Duration) -> Self {
        Self { answer_after, ..self }
    }

    /// The same, but the body of a request is read slowly, with a pause after each piece.
    pub(super) fn reading_slowly(self, read_pause: Duration) -> Self {
        Self { read_pause, ..self }
    }

    /// How long to wait after each piece of a body.
    pub(super) fn read_pause(&self) -> Duration {
        self.read_pause
    }

    /// How long an answer is to take.
    pub(super) fn answer_after(&self) -> Duration {
        self.answer_after
    }

    /// Requests to this endpoint are never answered from now on.
    pub(super) fn hang(&self, endpoint: usize) {
        self.endpoints[endpoint].hangs.store(true, Relaxed);
    }

    /// Notes a request. Returns whether it is to be answered; `None` if there is no such endpoint.
    ///
    /// Positions of a lane must rise. A position that does not rise is a violation. So is a request
    /// that names no lane.
    pub(super) fn note(&self, path: &str, partition: &str, position: &str) -> Option<bool> {
        let number: usize = path.strip_prefix('/')?.parse().ok()?;
        let endpoint = self.endpoints.get(number)?;
        let now = self.now();
        endpoint.first.fetch_min(now, Relaxed);
        endpoint.last.fetch_max(now, Relaxed);
        let lane = partition.strip_prefix(KEY).and_then(|lane| lane.parse::<usize>().ok());
        let highest = lane.and_then(|lane| endpoint.highest.get(lane));
        let position: i64 = position.parse().unwrap_or_default();
        let rises = highest.is_some_and(|highest| highest.fetch_max(position, Relaxed) < position);
        let answers = !endpoint.hangs.load(Relaxed);
        // A request that is never answered is sent again.
        if answers && !rises {
            endpoint.violations.fetch_add(1, Relaxed);
        }
        if answers && let Some(time) = usize::try_from(position).ok().and_then(|id| self.arrived.get(id)) {
            time.store(now, Relaxed);
        }
        endpoint.requests.fetch_add(1, Relaxed);
        Some(answers)
    }

    /// Notes that a publisher's commit has returned.
    pub(super) fn committed(&self, id: i64) {
        if let Some(time) = usize::try_from(id).ok().and_then(|id| self.committed.get(id)) {
            time.store(self.now(), Relaxed);
        }
    }

    /// How many requests an endpoint has got.
    pub(super) fn requests(&self, endpoint: usize) -> u64 {
        self.endpoints[endpoint].requests.load(Relaxed)
    }

    /// How often the order was broken, at all endpoints.
    pub(super) fn violations(&self) -> u64 {
        self.endpoints.iter().map(|endpoint| endpoint.violations.load(Relaxed)).sum()
    }

    /// The time from the first request to the last one, at this many of the first endpoints.
    pub(super) fn span(&self, endpoints: usize) -> Duration {
        let endpoints = &self.endpoints[..endpoints];
        let first = endpoints.iter().map(|endpoint| endpoint.first.load(Relaxed)).min().unwrap_or_default();
        let last = endpoints.iter().map(|endpoint| endpoint.last.load(Relaxed)).max().unwrap_or_default();
        Duration::from_nanos(last.saturating_sub(first))
    }

    /// How long the tracked messages were on their way to endpoints that answer, in the order of
    /// their commits.
    ///
    /// A message that arrived before its publisher heard of the commit took no time.
    pub(super) fn journeys(&self) -> Vec<Journey> {
        self.journeys_with(0)
    }

    /// The same, and the messages that have not arrived yet: as if they arrived now.
    pub(super) fn journeys_so_far(&self) -> Vec<Journey> {
        self.journeys_with(self.now())
    }

    /// `missing`: when a message arrived that has not; 0 leaves it out.
    fn journeys_with(&self, missing: u64) -> Vec<Journey> {
        let times = self.committed.iter().zip(&self.arrived);
        let mut journeys: Vec<Journey> = times
            .map(|(committed, arrived)| (committed.load(Relaxed), arrived.load(Relaxed)))
            .map(|(committed, arrived)| (committed, if arrived == 0 { missing } else { arrived }))
            .filter(|(committed, arrived)| *committed > 0 && *arrived > 0)
            .map(|(committed, arrived)| Journey {
                committed: Duration::from_nanos(committed),
                milliseconds: Duration::from_nanos(arrived.saturating_sub(committed)).as_secs_f64() * 1e3,
            })
            .collect();
        journeys.sort_by_key(|journey| journey.committed);
        journeys
    }

    /// How long the tally has counted.
    pub(super) fn elapsed(&self) -> Duration {
        self.epoch.elapsed()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_that_do_not_rise_are_violations() {
        let tally = Tally::new(&[2], 0);
        for (partition, position) in [("lane-0", "5"), ("lane-1", "4"), ("lane-0", "6")] {
            assert_eq!(tally.note("/0", partition, position), Some(true));
        }
        assert_eq!(tally.violations(), 0);
        for (partition, position) in [("lane-0", "6"), ("lane-1", "3"), ("lane-2", "9"), ("lane-1", "")] {
            tally.note("/0", partition, position);
        }
        assert_eq!((tally.violations(), tally.requests(0)), (4, 7));
    }

    #[test]
    fn endpoints_are_apart_and_may_hang() {
        let tally = Tally::new(&[1, 1], 0);
        tally.hang(1);
        assert_eq!(tally.note("/0", "lane-0", "1"), Some(true));
        assert_eq!(tally.note("/1", "lane-0", "1"), Some(false));
        assert_eq!(tally.note("/1", "lane-0", "1"), Some(false));
        assert_eq!(tally.note("/2", "lane-0", "1"), None);
        assert_eq!((tally.requests(0), tally.requests(1), tally.violations()), (1, 2, 0));
        assert!(tally.span(2) >= tally.span(1));
    }

    #[test]
    fn journeys_are_of_messages_that_left_and_arrived() {
        let tally = Tally::new(&[1], 4);
        tally.committed(1);
        tally.note("/0", "lane-0", "1");
        tally.note("/0", "lane-0", "2");
        tally.committed(3);
        tally.committed(4);
        assert_eq!(tally.journeys().len(), 1);
        assert_eq!(tally.journeys_so_far().len(), 2, "4 is not tracked");
    }

    #[test]
    fn messages_arrive_at_all_endpoints_that_answer() {
        let tally = Tally::new(&[1, 1, 1], 3);
        tally.hang(2);
        for (id, path) in [(0, "/0"), (1, "/1"), (2, "/2")] {
            tally.committed(id);
            tally.note(path, "lane-0", &id.to_string());
        }
        assert_eq!(tally.journeys().len(), 2);
    }
}
