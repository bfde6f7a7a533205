//! How much is published, and whether publishers wait for one another: what decides whether they
//! should NOTIFY.

use std::{collections::VecDeque, time::Instant};

/// Over how many heartbeats the rate is told.
const HEARTBEATS: usize = 4;

/// In how many looks on end a publisher must wait for another: one alone may be chance.
const WAITS: u32 = 3;

/// What publishers do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Publishing {
    /// Messages a second, of all publishers together.
    pub(super) per_second: u32,
    /// Whether their commits wait for one another, since each has sent a NOTIFY.
    pub(super) waits: bool,
}

/// What is known of publishers from one heartbeat to the next.
#[derive(Debug, Default)]
pub(super) struct Published {
    /// When it was asked for, and the last message's id.
    ids: VecDeque<(Instant, i64)>,
    waits: u32,
}

impl Published {
    /// The last message has this id, by a question from `asked` to `answered`. Says how many are
    /// published a second, at least.
    pub(super) fn seen(&mut self, asked: Instant, answered: Instant, last_id: i64) -> u32 {
        self.ids.push_back((asked, last_id));
        if self.ids.len() > HEARTBEATS {
            self.ids.pop_front();
        }
        let Some((since, first_id)) = self.ids.front().copied().filter(|(since, _)| *since < asked) else {
            return 0;
        };
        let messages = u128::try_from(last_id.saturating_sub(first_id)).unwrap_or_default();
        let per_second = messages * 1_000_000 / answered.saturating_duration_since(since).as_micros().max(1);
        u32::try_from(per_second).unwrap_or(u32::MAX)
    }

    /// So many publishers were seen to wait for another. Says whether they do all the time.
    pub(super) fn waiting(&mut self, publishers: i64) -> bool {
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
        let mut published = Published::default();
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

        let mut published = Published::default();
        published.seen(at(0), at(10), 0);
        assert_eq!(
            published.seen(at(150), at(600), 600),
            1_000,
            "it took long: they may have come meanwhile"
        );
    }

    #[test]
    fn one_that_waits_now_and_then_is_no_sign() {
        let mut published = Published::default();
        assert_eq!([1, 7, 0, 1, 1].map(|count| published.waiting(count)), [false; 5]);
        assert_eq!([1, 5, 0].map(|count| published.waiting(count)), [true, true, false]);
    }
}
