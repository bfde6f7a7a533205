//! How long something takes of late: statements, so that a busy database is asked less often and
//! each answer holds more; and runs, so that no more lanes are claimed than get a slot soon.

use std::time::Duration;

/// A moving mean, in which the latest has a weight of one in so many; zero until something was
/// noted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Takes<const ONE_IN: u32 = 4>(Duration);

impl<const ONE_IN: u32> Takes<ONE_IN> {
    pub(super) fn note(&mut self, took: Duration) {
        self.0 = if self.0.is_zero() { took } else { (self.0 * (ONE_IN - 1) + took) / ONE_IN };
    }

    pub(super) fn mean(self) -> Duration {
        self.0
    }

    /// `factor` times as long, within bounds.
    pub(super) fn pause(self, factor: u32, [least, most]: [Duration; 2]) -> Duration {
        (self.0 * factor).clamp(least, most)
    }
}
