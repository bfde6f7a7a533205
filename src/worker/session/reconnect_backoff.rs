//! How long a worker waits before it opens a new session after it has lost one.

use std::time::Duration;

use backoff::{ExponentialBackoff, backoff::Backoff as _};

/// The longest wait, before jitter.
const LONGEST: Duration = Duration::from_secs(2);

/// A session that was good for at least this long makes the next wait short again. A shorter
/// session does not: if every session ends soon after it was opened, only the growing waits keep
/// the worker from doing nothing but opening sessions.
const GOOD: Duration = Duration::from_secs(1);

/// The waits of one worker.
pub(crate) struct ReconnectBackoff(ExponentialBackoff);

impl ReconnectBackoff {
    pub(crate) fn new() -> Self {
        let first = Duration::from_millis(50);
        Self(ExponentialBackoff {
            initial_interval: first,
            current_interval: first,
            max_interval: LONGEST,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        })
    }

    /// The next wait. `lived`: how long the last incarnation was ready; zero if it never was.
    pub(crate) fn next(&mut self, lived: Duration) -> Duration {
        if lived >= GOOD {
            self.0.reset();
        }
        // There is no maximum of elapsed time, so there is always a next wait.
        self.0.next_backoff().unwrap_or(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_while_no_session_can_be_had() {
        let mut restarts = ReconnectBackoff::new();
        assert!(restarts.next(Duration::ZERO) < Duration::from_millis(100));
        let last = (0..20).map(|_| restarts.next(Duration::ZERO)).last().unwrap_or_default();
        assert!(last >= LONGEST / 2, "{last:?}");
    }

    #[test]
    fn a_session_that_was_good_makes_the_next_wait_short() {
        let mut restarts = ReconnectBackoff::new();
        (0..20).for_each(|_| _ = restarts.next(Duration::ZERO));
        // A session that is lost at once does not.
        assert!(restarts.next(GOOD / 2) >= LONGEST / 2);
        assert!(restarts.next(GOOD) < Duration::from_millis(100));
    }
}
