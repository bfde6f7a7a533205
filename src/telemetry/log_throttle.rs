//! Saying the same again and again, but seldom: while the database is away, each request would say
//! so.

use std::time::{Duration, Instant};

/// Between two times.
const EVERY: Duration = Duration::from_secs(10);

/// When something was said last, and what was left out since.
#[derive(Debug)]
pub(crate) struct LogThrottle {
    said: Option<Instant>,
    left_out: u64,
}

impl LogThrottle {
    /// Nothing was said yet.
    pub(crate) const fn new() -> Self {
        Self { said: None, left_out: 0 }
    }

    /// Whether to say it now; then, how often it was left out before.
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
