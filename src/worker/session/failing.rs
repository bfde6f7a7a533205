//! When a worker that fails again and again says so.

use std::time::{Duration, Instant};

/// How often the same reason is said.
const EVERY: Duration = Duration::from_mins(1);

/// An incarnation that was ready for at least this long is no part of a row of failures.
const GOOD: Duration = Duration::from_secs(10);

/// A row of failures of one worker.
#[derive(Default)]
pub(crate) struct Failing(Option<Row>);

struct Row {
    since: Instant,
    said: Instant,
    reason: String,
    tries: u64,
}

/// What is said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Say {
    /// How often it has failed in this row.
    pub(crate) tries: u64,
    /// For how long.
    pub(crate) since: Duration,
}

impl Failing {
    /// An incarnation has failed. `lived`: how long it was ready; zero if it never was. `Some` if
    /// that is said now.
    pub(crate) fn failed(&mut self, now: Instant, reason: &str, lived: Duration) -> Option<Say> {
        let row = match &mut self.0 {
            Some(row) if lived < GOOD => row,
            row => {
                *row = Some(Row { since: now, said: now, reason: reason.to_owned(), tries: 1 });
                return Some(Say { tries: 1, since: Duration::ZERO });
            }
        };
        row.tries += 1;
        if row.reason == reason && now.duration_since(row.said) < EVERY {
            return None;
        }
        row.said = now;
        reason.clone_into(&mut row.reason);
        Some(Say { tries: row.tries, since: now.duration_since(row.since) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_reason_is_said_at_once_and_then_each_minute() {
        let (mut failing, start) = (Failing::default(), Instant::now());
        let said: Vec<u64> = (0..=180)
            .filter(|second| {
                let now = start + Duration::from_secs(*second);
                failing.failed(now, "no rights", Duration::ZERO).is_some()
            })
            .collect();
        assert_eq!(said, [0, 60, 120, 180]);
        let say = failing.failed(start + Duration::from_secs(181), "no database", Duration::ZERO);
        assert_eq!(say, Some(Say { tries: 182, since: Duration::from_secs(181) }));
    }

    #[test]
    fn a_worker_that_was_good_for_a_while_says_it_at_once() {
        let (mut failing, start) = (Failing::default(), Instant::now());
        assert!(failing.failed(start, "lost", GOOD).is_some());
        assert!(failing.failed(start + GOOD, "lost", GOOD).is_some());
        assert!(failing.failed(start + GOOD * 2, "lost", GOOD / 2).is_none());
    }
}
