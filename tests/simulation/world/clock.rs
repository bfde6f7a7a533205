//! Virtual time as the engine and the database name it.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::schedule::{Micros, Schedule};

/// Gives the virtual time as an `Instant`.
#[derive(Clone)]
pub(super) struct Clock {
    schedule: Schedule,
    origin: Instant,
}

impl Clock {
    pub(super) fn new(schedule: &Schedule) -> Self {
        Self { schedule: schedule.clone(), origin: Instant::now() }
    }

    pub(super) fn now(&self) -> Instant {
        self.origin + duration(self.schedule.now())
    }

    /// The first microsecond that is not before an instant.
    pub(super) fn micros(&self, at: Instant) -> Micros {
        let nanoseconds = at.saturating_duration_since(self.origin).as_nanos();
        Micros::try_from(nanoseconds.div_ceil(1_000)).unwrap_or(Micros::MAX)
    }
}

pub(super) fn duration(micros: Micros) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

pub(super) fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}

pub(super) fn timestamp(micros: Micros) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX)
}
