//! How long a statement takes of late, and how long to pause after it: a busy database is asked less often, and each
//! answer holds more.

use std::time::Duration;

/// A moving mean; zero until something was noted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Takes(Duration);

impl Takes {
    pub(super) fn note(&mut self, took: Duration) {
        self.0 = (self.0 * 3 + took) / 4;
    }

    pub(super) fn mean(self) -> Duration {
        self.0
    }

    /// `factor` times as long, within bounds.
    pub(super) fn pause(self, factor: u32, [least, most]: [Duration; 2]) -> Duration {
        (self.0 * factor).clamp(least, most)
    }
}
