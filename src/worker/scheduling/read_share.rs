//! Which lanes one read holds, and how many messages of each, so that each lane gets a fair part of
//! the bytes.
//!
//! Promises:
//! - Each lane of a read may get one request's messages.
//! - All lanes of a read get the same number of messages. They fit into the read's bytes, as far as
//!   is known how large they are.
//! - Lanes with large messages are read apart from the others: few of them fit into a read, and
//!   the others would get few messages beside them.

use super::super::tuning::{READ_BYTES, READ_LANES};

/// Messages that are larger than this are large: if all lanes of a read had one, they would not
/// fit.
const LARGE: usize = READ_BYTES / READ_LANES;

/// How many bytes a message of a webhook has lately: a moving average, in which the latest value
/// has a weight of 1/16. Zero before the first value.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MessageBytes(usize);

impl MessageBytes {
    /// So many messages with so many bytes in all were read.
    pub(crate) fn add(&mut self, messages: usize, bytes: usize) {
        let Some(latest) = bytes.checked_div(messages) else { return };
        self.0 = if self.0 == 0 { latest } else { self.0 - self.0 / 16 + latest / 16 };
    }

    pub(crate) fn get(self) -> usize {
        self.0
    }
}

/// One read, while its lanes are chosen.
#[derive(Debug)]
pub(crate) struct ReadShare {
    /// How many bytes the answer may hold.
    bytes: usize,
    /// How many bytes one request of each lane takes.
    requests: usize,
    /// How many bytes one message of each lane takes.
    messages: usize,
    /// Whether its lanes have large messages; `None` while it has no lane.
    large: Option<bool>,
    /// How many messages the largest request has.
    batch: usize,
}

impl ReadShare {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { bytes, requests: 0, messages: 0, large: None, batch: 1 }
    }

    /// Takes in a lane if there is room for it. The first lane always finds room. `message`: the
    /// bytes of one of its messages; zero if nothing is known. `batch`: the messages of a request.
    pub(crate) fn takes(&mut self, message: usize, batch: usize) -> bool {
        let requests = self.requests.saturating_add(message.saturating_mul(batch));
        let large = message > LARGE;
        if self.large.is_some_and(|others| others != large || requests > self.bytes) {
            return false;
        }
        self.requests = requests;
        self.messages = self.messages.saturating_add(message);
        self.large = Some(large);
        self.batch = self.batch.max(batch);
        true
    }

    /// How many messages of each lane to read.
    pub(crate) fn messages_per_lane(&self) -> usize {
        self.bytes.checked_div(self.messages).unwrap_or(usize::MAX).max(self.batch)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How many of these lanes a read takes, and how many messages of each.
    fn share(bytes: usize, lanes: impl IntoIterator<Item = (usize, usize)>) -> (usize, usize) {
        let mut share = ReadShare::new(bytes);
        let taken = lanes.into_iter().filter(|(message, batch)| share.takes(*message, *batch)).count();
        (taken, share.messages_per_lane())
    }

    #[test]
    fn the_larger_messages_are_the_fewer_of_them_each_lane_gets() {
        let lanes = |message, batch| share(READ_BYTES, vec![(message, batch); 100]);
        assert_eq!(lanes(300, 1), (100, 69));
        assert_eq!(lanes(8_000, 1), (100, 2));
        assert_eq!(lanes(30_000, 1), (69, 1));
        assert_eq!(lanes(1 << 20, 1), (2, 1));
        assert_eq!(lanes(100 << 20, 1), (1, 1), "a message that does not fit is read alone");
        assert_eq!(lanes(8_000, 50), (5, 52), "a whole batch");
        assert_eq!(lanes(1 << 20, 50), (1, 50));
        assert_eq!(lanes(0, 1), (100, usize::MAX), "nothing is known yet");
    }

    #[test]
    fn small_messages_are_not_read_beside_large_ones() {
        let lanes = |first| [first, (1 << 20, 1), (300, 1), (0, 1), (1 << 20, 1), (300, 1)];
        assert_eq!(share(READ_BYTES, lanes((300, 1))), (4, READ_BYTES / 900));
        assert_eq!(share(READ_BYTES, lanes((1 << 19, 1))), (2, 1));
    }

    #[test]
    fn the_average_follows_slowly() {
        let mut bytes = MessageBytes::default();
        bytes.add(0, 0);
        assert_eq!(bytes.get(), 0, "nothing was read");
        bytes.add(10, 3_000);
        assert_eq!(bytes.get(), 300);
        bytes.add(1, 1 << 20);
        assert!((60_000..70_000).contains(&bytes.get()), "{}", bytes.get());
        for _ in 0..200 {
            bytes.add(1, 300);
        }
        assert!((280..=320).contains(&bytes.get()), "{}", bytes.get());
    }

    proptest! {
        #[test]
        fn what_is_planned_fits_and_each_lane_gets_its_part(
            bytes in 1usize..4 << 20,
            lanes in prop::collection::vec((0usize..2 << 20, 1usize..50), 1..300),
        ) {
            let mut share = ReadShare::new(bytes);
            let (taken, left): (Vec<_>, Vec<_>) =
                lanes.into_iter().partition(|(message, batch)| share.takes(*message, *batch));
            let each = share.messages_per_lane();
            prop_assert!(!taken.is_empty());
            prop_assert!(taken.iter().all(|(_, batch)| each >= *batch), "a whole request for each lane");
            let planned = |of: &dyn Fn(usize) -> usize| -> usize {
                taken.iter().map(|(message, batch)| message.saturating_mul(of(*batch))).sum()
            };
            let batch = taken.iter().map(|(_, batch)| *batch).max().unwrap_or(1);
            prop_assert!(taken.len() == 1 || planned(&|batch| batch) <= bytes, "one request of each fits");
            prop_assert!(each == batch || planned(&|_| each) <= bytes, "what is planned fits");
            prop_assert!(each == usize::MAX || planned(&|_| each + 1) > bytes, "nothing is left unused");
            let large = |(message, _): &(usize, usize)| *message > LARGE;
            prop_assert!(taken.iter().all(|lane| large(lane) == large(&taken[0])));
            let all = planned(&|batch| batch);
            for lane in &left {
                let fits = all.saturating_add(lane.0.saturating_mul(lane.1)) <= bytes;
                prop_assert!(large(lane) != large(&taken[0]) || !fits, "a lane that is left does not fit");
            }
        }
    }
}
