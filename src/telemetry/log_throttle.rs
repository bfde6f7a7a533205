//! Limits how often the same message is logged. While the database is away, every request would log
//! it.

use std::time::{Duration, Instant};

/// The least time between two lines.
const EVERY: Duration = Duration::from_secs(10);

/// When a message was logged last, and how often it was left out since.
#[derive(Debug)]
pub(crate) struct LogThrottle {
    said: Option<Instant>,
    left_out: u64,
}

impl LogThrottle {
    /// The throttle of a message that was never logged.
    pub(crate) const fn new() -> Self {
        Self { said: None, left_out: 0 }
    }

    /// `Some` if the message may be logged now. It holds how often the message was left out since
    /// the last time.
    pub(crate) fn say(&mut self, now: Instant) -> Option<u64> {
        if self.said.is_some_and(|said| now.duration_since(said) < EVERY) {
            self.left_out += 1;
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_becomes_a_line_each_ten_seconds() {
        let start = Instant::now();
        let mut throttle = LogThrottle::new();
        let said: Vec<_> =
            (0..250).filter_map(|n| throttle.say(start + Duration::from_millis(100) * n)).collect();
        assert_eq!(said, [0, 99, 99]);
        assert_eq!(throttle.say(start + Duration::from_mins(5)), Some(49));
    }
}
