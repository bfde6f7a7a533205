//! How much is published, and whether publishers wait for one another. Both decide whether
//! publishers should NOTIFY (`mode`).

use std::{collections::VecDeque, time::Instant};

/// The rate is measured over this many heartbeats.
const HEARTBEATS: usize = 4;

/// Publishers are said to wait for one another if this many checks in a row saw one wait. A single
/// one may be chance.
const WAITS: u32 = 3;

/// What publishers did lately.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Publishing {
    /// Messages a second, of all publishers together.
    pub per_second: u32,
    /// Whether commits wait for one another. They do if each transaction has sent a NOTIFY.
    pub waits: bool,
}

/// What is remembered from one heartbeat to the next.
#[derive(Debug, Default)]
pub(crate) struct PublishRate {
    /// When each of the last heartbeats was sent, and how many ids were given out by then.
    given: VecDeque<(Instant, i64)>,
    /// How many checks in a row saw a publisher wait.
    waits: u32,
}

impl PublishRate {
    /// Notes how many ids were given out, by a question that was sent at `asked` and answered at
    /// `answered`. Returns how many messages a second were published, at least; 0 if there is
    /// nothing to compare with.
    pub(crate) fn seen(&mut self, asked: Instant, answered: Instant, given_ids: i64) -> u32 {
        self.given.push_back((asked, given_ids));
        if self.given.len() > HEARTBEATS {
            self.given.pop_front();
        }
        let Some((since, before)) = self.given.front().copied().filter(|(since, _)| *since < asked) else {
            return 0;
        };
        let messages = u128::try_from(given_ids.saturating_sub(before)).unwrap_or_default();
        let per_second = messages * 1_000_000 / answered.saturating_duration_since(since).as_micros().max(1);
        u32::try_from(per_second).unwrap_or(u32::MAX)
    }

    /// Notes how many publishers were seen to wait for another one. Returns whether the last
    /// [`WAITS`] checks all saw some.
    pub(crate) fn waiting(&mut self, publishers: i64) -> bool {
        self.waits = if publishers > 0 { self.waits.saturating_add(1) } else { 0 };
        self.waits >= WAITS
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_heartbeats() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut published = PublishRate::default();
        let mut seen = |milliseconds, id| published.seen(at(milliseconds), at(milliseconds), id);
        assert_eq!(seen(0, 1_000_000), 0, "nothing to compare it with");
        assert_eq!(seen(150, 1_000_030), 200);
        assert_eq!(seen(300, 1_000_060), 200);
        assert_eq!(seen(450, 1_000_450), 1_000);
        assert_eq!(seen(600, 1_000_450), 933);
        assert_eq!(seen(750, 1_000_450), 866);
        assert_eq!(seen(900, 1_000_450), 0);
        assert_eq!(seen(1_050, 0), 0, "another database took this one's place");
        assert_eq!(seen(1_050, i64::MAX), u32::MAX);

        let mut published = PublishRate::default();
        published.seen(at(0), at(10), 0);
        assert_eq!(
            published.seen(at(150), at(600), 600),
            1_000,
            "it took long: they may have come meanwhile"
        );
    }

    #[test]
    fn one_that_waits_now_and_then_is_no_sign() {
        let mut published = PublishRate::default();
        assert_eq!([1, 7, 0, 1, 1].map(|count| published.waiting(count)), [false; 5]);
        assert_eq!([1, 5, 0].map(|count| published.waiting(count)), [true, true, false]);
    }
}
