//! When webhooks are tried that do not answer, or were never tried.
//!
//! Promised: they get slots also while webhooks that answer use all slots and have more to send.
//! Webhooks that answer are served first, so they would take each slot that comes free.

use std::time::Instant;

use super::{super::tuning::TRIED_PART, fair_queue::Line};

/// The last slot that went to a webhook that does not answer, or was never tried.
#[derive(Debug, Default)]
pub(crate) struct Trial {
    began: Option<Instant>,
    /// When the next slot went to a webhook that answers.
    followed: Option<Instant>,
}

impl Trial {
    /// A slot was taken for a webhook of this line.
    pub(crate) fn took_slot(&mut self, line: Line, now: Instant) {
        if line == Line::Answering {
            self.followed.get_or_insert(now);
        } else {
            *self = Self { began: Some(now), followed: None };
        }
    }

    /// Whether the next free slot is for a webhook that does not answer, or was never tried. `used`:
    /// how many slots such webhooks use.
    ///
    /// They use less than one of [`TRIED_PART`] slots, and the last slot went to a webhook that
    /// answers. A single slot serves them for half of the time.
    pub(crate) fn is_due(&self, used: usize, capacity: usize, now: Instant) -> bool {
        let has_part = used >= (capacity / TRIED_PART).max(1);
        let is_next = match (self.began, self.followed) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(began), Some(followed)) => {
                capacity > 1 || now.duration_since(followed) >= followed.duration_since(began)
            }
        };
        is_next && !has_part
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_second_slot_is_for_a_trial_until_they_have_their_part() {
        let (mut trial, now) = (Trial::default(), Instant::now());
        for used in 0..12 {
            assert!(trial.is_due(used, 100, now));
            trial.took_slot(Line::Newcomers, now);
            assert!(!trial.is_due(used + 1, 100, now), "the next one is for one that answers");
            trial.took_slot(Line::Answering, now);
        }
        assert!(!trial.is_due(12, 100, now));
        assert!(trial.is_due(0, 2, now) && !trial.is_due(1, 2, now), "one at least");
    }

    #[test]
    fn a_single_slot_serves_both_for_as_long() {
        let (mut trial, now) = (Trial::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        trial.took_slot(Line::Doubtful, now);
        trial.took_slot(Line::Answering, after(10));
        trial.took_slot(Line::Answering, after(15));
        assert!(!trial.is_due(0, 1, after(19)));
        assert!(trial.is_due(0, 1, after(20)));
    }
}
