//! How many lanes to claim of each webhook.
//!
//! Promises:
//! - A worker holds at most [`HELD_PER_SLOT`] busy lanes for each of its slots.
//! - A webhook holds at most as many lanes as are free, and always finds room for [`FLOOR`] while
//!   any are free.
//! - Webhooks that do not answer, or have not answered yet, hold at most half of the lanes.

use std::time::Duration;

use super::{
    super::tuning::{AHEAD, AHEAD_MAX, CLAIM_MAX, CLAIM_MESSAGES, HELD_PER_SLOT, SLICE},
    fair_queue::Line,
};

/// Each webhook may have this many lanes claimed, however many the others hold, while any are free.
const FLOOR: usize = 4;

/// How many lanes to claim ahead for a webhook that may use `slots`, if a burst takes `burst`.
pub(crate) fn ahead(slots: usize, burst: Duration) -> usize {
    let in_time = slots as u128 * AHEAD.as_micros() / burst.as_micros().max(1);
    let most = slots * AHEAD_MAX;
    usize::try_from(in_time).unwrap_or(usize::MAX).clamp((slots / 4).max(1).min(most), most)
}

/// How many messages of a lane are read: as many as are sent in one time slice, if each takes
/// `message`. What is read and not sent then may be read again by another worker. At least as many
/// as one request carries.
pub(crate) fn messages_in_slice(message: Duration, batch_size: usize) -> usize {
    let in_slice = SLICE.as_micros() / message.as_micros().max(1);
    usize::try_from(in_slice).unwrap_or(usize::MAX).max(CLAIM_MESSAGES).max(batch_size)
}

/// What is left for one claim.
#[derive(Debug)]
pub(crate) struct ClaimBudget {
    free: usize,
    free_doubtful: usize,
    /// Lanes that this claim may still take.
    left: usize,
}

/// What a webhook would like to claim.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    /// The line in which it waits for slots.
    pub(crate) line: Line,
    /// How many busy lanes it holds.
    pub(crate) held: usize,
    /// How many slots it may use.
    pub(crate) slots: usize,
    /// How many lanes it may have claimed beside those in its slots.
    pub(crate) ahead: usize,
    /// Whether it is to learn that any lane is due, even if it has no room. If one is due, lanes of
    /// this worker yield to it.
    pub(crate) peek: bool,
}

impl ClaimBudget {
    /// `held`: how many busy lanes all webhooks hold, and how many of them belong to webhooks that
    /// do not answer.
    pub(crate) fn new(concurrency: usize, held: usize, held_doubtful: usize) -> Self {
        let most = concurrency * HELD_PER_SLOT;
        Self {
            free: most.saturating_sub(held),
            free_doubtful: (most / 2).saturating_sub(held_doubtful),
            left: CLAIM_MAX,
        }
    }

    /// Whether this claim takes no further lanes.
    pub(crate) fn is_used_up(&self) -> bool {
        self.free == 0 || self.left == 0
    }

    /// How many lanes to claim. `None`: this webhook has no room.
    pub(crate) fn grant(&mut self, ask: Ask) -> Option<usize> {
        let Ask { line, held, slots, ahead, peek } = ask;
        let free = match line {
            Line::Answering => self.free,
            Line::Newcomers | Line::Doubtful => self.free.min(self.free_doubtful),
        };
        let most = slots + ahead;
        let room = most.min(free.max(FLOOR)).saturating_sub(held).min(free);
        // A small claim costs as much as a large one, so wait until a part of the room is free.
        let lanes = if room > 0 && (room >= ahead / 3 || held <= FLOOR) {
            room
        } else if peek && free > 0 {
            1
        } else {
            return None;
        };
        let lanes = lanes.min(self.left);
        self.free -= lanes;
        self.left -= lanes;
        if line != Line::Answering {
            self.free_doubtful -= lanes;
        }
        (lanes > 0).then_some(lanes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::moving_average::MovingAverage, *};

    #[test]
    fn as_many_messages_are_read_as_are_sent_in_a_time_slice() {
        assert_eq!(messages_in_slice(Duration::from_millis(5), 1), 50);
        assert_eq!(messages_in_slice(Duration::from_secs(1), 1), CLAIM_MESSAGES);
        assert_eq!(messages_in_slice(Duration::from_secs(1), 100), 100, "a whole batch");
        assert!(messages_in_slice(Duration::ZERO, 1) > 1_000, "nothing is known yet");
    }

    #[test]
    fn the_longer_bursts_take_the_fewer_lanes_are_claimed_ahead() {
        let mut burst = MovingAverage::<16>::default();
        assert_eq!(ahead(100, burst.get()), 400, "nothing is known yet");
        burst.add(Duration::from_millis(50));
        assert_eq!(ahead(100, burst.get()), 200);
        for _ in 0..100 {
            burst.add(Duration::from_secs(10));
        }
        let ahead_of = |slots| ahead(slots, burst.get());
        assert_eq!((ahead_of(100), ahead_of(4), ahead_of(1)), (25, 1, 1));
        burst.add(Duration::from_millis(1));
        assert_eq!(ahead(100, burst.get()), 25, "one that was short changes little");
    }

    #[test]
    fn ten_thousand_webhooks_hold_no_more_than_the_limit_and_half_if_they_do_not_answer() {
        let ask = |line| Ask { line, held: 0, slots: 100, ahead: 400, peek: true };
        for (line, most) in [(Line::Answering, 1_000), (Line::Doubtful, 500)] {
            let mut held = 0;
            for _ in 0..100 {
                let doubtful = if line == Line::Doubtful { held } else { 0 };
                let mut budget = ClaimBudget::new(100, held, doubtful);
                held += (0..10_000).filter_map(|_| budget.grant(ask(line))).sum::<usize>();
            }
            assert_eq!(held, most);
        }
        let mut budget = ClaimBudget::new(100, 500, 500);
        assert_eq!(budget.grant(ask(Line::Doubtful)), None);
        assert!(budget.grant(ask(Line::Answering)).is_some(), "one that answers finds room");
    }

    proptest! {
        #[test]
        fn no_claim_exceeds_a_limit(
            concurrency in 1usize..200,
            asks in prop::collection::vec((any::<bool>(), 0usize..50, 1usize..200, 0usize..800, any::<bool>()), 1..100),
        ) {
            let mut budget = ClaimBudget::new(concurrency, 0, 0);
            let (mut all, mut doubtful) = (0, 0);
            for (answers, held, slots, ahead, peek) in asks {
                let line = if answers { Line::Answering } else { Line::Doubtful };
                let lanes = budget.grant(Ask { line, held, slots, ahead, peek }).unwrap_or_default();
                all += lanes;
                doubtful += if answers { 0 } else { lanes };
                prop_assert!(lanes <= (slots + ahead).max(1));
            }
            prop_assert!(all <= (concurrency * HELD_PER_SLOT).min(CLAIM_MAX));
            prop_assert!(doubtful <= concurrency * HELD_PER_SLOT / 2);
        }
    }
}
