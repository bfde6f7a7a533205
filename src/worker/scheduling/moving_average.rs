//! How long statements and bursts take lately. If statements take long, the database is busy: it is
//! asked less often, and each answer holds more. If bursts take long, fewer lanes are claimed, so
//! that each of them gets a slot soon.

use std::time::Duration;

/// A moving average of durations. The latest value has a weight of 1/`ONE_IN`. Zero before the
/// first value.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MovingAverage<const ONE_IN: u32 = 4>(Duration);

impl<const ONE_IN: u32> MovingAverage<ONE_IN> {
    pub(crate) fn add(&mut self, took: Duration) {
        self.0 = if self.0.is_zero() { took } else { (self.0 * (ONE_IN - 1) + took) / ONE_IN };
    }

    pub(crate) fn get(self) -> Duration {
        self.0
    }

    /// `factor` times the average, within the bounds.
    pub(crate) fn times(self, factor: u32, [least, most]: [Duration; 2]) -> Duration {
        (self.0 * factor).clamp(least, most)
    }
}
