//! Whether the worker of this process works.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long a worker must have been ready after a failure before it counts as working. A worker
/// whose session ends at once each time is ready for a moment each time.
const PROVEN: Duration = Duration::from_secs(1);

/// What a worker says of itself. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct WorkerHealth(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    ready: Option<Instant>,
    failed: bool,
}

impl WorkerHealth {
    /// The worker is ready.
    pub fn ready(&self) {
        self.change(|state| state.ready = Some(Instant::now()));
    }

    /// The worker has failed, and starts over.
    pub fn failed(&self) {
        self.change(|state| *state = State { ready: None, failed: true });
    }

    /// The worker has stopped.
    pub fn stopped(&self) {
        self.change(|state| state.ready = None);
    }

    /// Whether the worker works.
    pub fn works(&self) -> bool {
        self.works_at(Instant::now())
    }

    fn works_at(&self, now: Instant) -> bool {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let needed = if state.failed { PROVEN } else { Duration::ZERO };
        state.ready.is_some_and(|since| now.saturating_duration_since(since) >= needed)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_works_while_it_is_ready() {
        let health = WorkerHealth::default();
        assert!(!health.works());
        health.ready();
        assert!(health.works());
        health.stopped();
        assert!(!health.works());
    }

    #[test]
    fn after_a_failure_it_must_stay_ready_for_a_while() {
        let health = WorkerHealth::default();
        health.ready();
        health.failed();
        assert!(!health.works());
        health.ready();
        assert!(!health.works());
        assert!(health.works_at(Instant::now() + PROVEN));
    }
}
