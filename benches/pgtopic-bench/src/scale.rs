//! How much is measured.

use std::time::Duration;

/// How many partition keys publishers choose from.
pub(super) const KEYS: u64 = 1_000;

/// Sizes of all scenarios.
#[derive(Debug, Clone)]
pub(super) struct Scale {
    /// Messages of a drain.
    pub(super) messages: u64,
    /// Over how many lanes they are spread; one measurement each.
    pub(super) lanes: Vec<u64>,
    /// How many publishers; one measurement each.
    pub(super) clients: Vec<usize>,
    /// How often each measurement is made; medians are told.
    pub(super) rounds: usize,
    /// How long publishers publish.
    pub(super) length: Duration,
    /// How many messages a second the publishers of `sustained` publish together; as many as they
    /// can without.
    pub(super) per_second: Option<u64>,
    /// How many worker processes; one measurement each.
    pub(super) workers: Vec<usize>,
    /// Messages of the large backlog.
    pub(super) backlog: u64,
    /// Messages that wait for the endpoint that hangs.
    pub(super) hanging: u64,
    /// How many webhooks there are in `webhooks`; one measurement each.
    pub(super) webhooks: Vec<u64>,
    /// How long nothing is published there, while the costs of idling are measured.
    pub(super) idle: Duration,
    /// How many webhooks hang in `hanging`.
    pub(super) hanging_webhooks: u64,
    /// How long messages are published beside them.
    pub(super) beside: Duration,
    /// Large payloads, and over how many lanes they are spread.
    pub(super) large_payloads: u64,
    pub(super) large_lanes: u64,
    /// How long a snapshot is held.
    pub(super) held: Duration,
    /// Lanes in flight in one worker.
    pub(super) concurrency: usize,
}

impl Scale {
    /// Sizes whose figures mean something.
    pub(super) fn full() -> Self {
        Self {
            messages: 100_000,
            lanes: vec![20, 1_000, 100_000],
            clients: vec![1, 8, 32],
            rounds: 3,
            length: Duration::from_secs(5),
            per_second: None,
            workers: vec![1, 2, 4],
            backlog: 1_000_000,
            hanging: 100_000,
            webhooks: vec![1, 1_000, 10_000],
            idle: Duration::from_secs(20),
            hanging_webhooks: 150,
            beside: Duration::from_secs(30),
            large_payloads: 1_000,
            large_lanes: 100,
            held: Duration::from_mins(2),
            concurrency: 100,
        }
    }

    /// Sizes that only show that everything works.
    pub(super) fn quick() -> Self {
        Self {
            messages: 1_000,
            lanes: vec![20, 500],
            clients: vec![1, 4],
            rounds: 1,
            length: Duration::from_secs(1),
            workers: vec![1, 2],
            backlog: 10_000,
            hanging: 1_000,
            webhooks: vec![1, 20],
            idle: Duration::from_secs(1),
            hanging_webhooks: 10,
            beside: Duration::from_secs(2),
            large_payloads: 20,
            large_lanes: 10,
            held: Duration::from_secs(2),
            ..Self::full()
        }
    }
}
