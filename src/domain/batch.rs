//! Batches: which messages of a lane one request carries.

/// The messages of one request that failed: consecutive ones of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// The id of the first message.
    pub first: i64,
    /// The id of the last message.
    pub last: i64,
    /// How many messages there are.
    pub count: usize,
}

impl Batch {
    /// The batch of these messages, given by rising ids; `None` if there are none.
    pub fn of(ids: &[i64]) -> Option<Self> {
        Some(Self { first: *ids.first()?, last: *ids.last()?, count: ids.len() })
    }

    /// Whether a lane that owes these messages, given by rising ids, still owes the whole batch,
    /// and nothing before it or between.
    pub fn begins(&self, ids: &[i64]) -> bool {
        ids.get(..self.count).and_then(Self::of) == Some(*self)
    }
}

/// How the messages of a lane are put into requests.
#[derive(Debug, Clone, Copy, Default)]
pub struct Batching {
    /// How many messages a request may carry.
    pub size: usize,
    /// The batch that failed last, if the lane still begins with its first message.
    pub failed: Option<Batch>,
    /// Messages up to this id are sent one by one: a batch of them has used up its attempts.
    pub split_until: Option<i64>,
}

impl Batching {
    /// Whether the next request repeats the failed one: then its failures count. It does not if a
    /// message has left the batch or has come into it, or if a request may carry fewer messages
    /// now.
    pub fn repeats(&self, ids: &[i64]) -> bool {
        self.failed.is_some_and(|failed| failed.count <= self.size && failed.begins(ids))
    }

    /// How many messages the next request carries. `ids` are those that the lane owes, by rising
    /// id. A batch that failed is repeated as it was. If it cannot be, the new batch has another
    /// first or last message, since a request is named by these two.
    pub fn next(&self, ids: &[i64]) -> usize {
        if let Some(failed) = self.failed.filter(|_| self.repeats(ids)) {
            return failed.count;
        }
        let Some(first) = ids.first() else { return 0 };
        if self.split_until.is_some_and(|until| *first <= until) {
            return 1;
        }
        let count = ids.len().min(self.size).max(1);
        let last = ids[count - 1];
        let same_name = self.failed.is_some_and(|failed| (failed.first, failed.last) == (*first, last));
        if same_name && count > 1 { count - 1 } else { count }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn batching(size: usize, failed: &[i64], split_until: Option<i64>) -> Batching {
        Batching { size, failed: Batch::of(failed), split_until }
    }

    #[test]
    fn a_failed_batch_is_repeated_as_it_was_however_much_has_come() {
        let failed = batching(3, &[1, 2], None);
        assert!(failed.repeats(&[1, 2, 3, 4]));
        assert_eq!(failed.next(&[1, 2, 3, 4]), 2);
        assert_eq!(batching(3, &[1], None).next(&[1, 2, 3, 4]), 1, "also a batch of one");
        assert_eq!(batching(3, &[], None).next(&[1, 2, 3, 4]), 3, "the next one is full");
    }

    #[test]
    fn a_batch_that_a_message_has_left_is_a_new_one_with_another_name() {
        let failed = batching(5, &[1, 2, 3], None);
        for (what, ids, count) in [
            ("the first has left", &[2, 3, 4][..], 3),
            ("the last has left", &[1, 2], 2),
            ("the last has left, and others have come", &[1, 2, 4, 5], 4),
            ("one between has left", &[1, 3, 4], 3),
            ("one between has left, and none has come", &[1, 3], 1),
            ("one has come in front", &[0, 1, 2, 3], 4),
        ] {
            assert!(!failed.repeats(ids), "{what}");
            assert_eq!(failed.next(ids), count, "{what}");
        }
    }

    #[test]
    fn a_batch_is_not_repeated_if_a_request_may_carry_fewer_now() {
        let smaller = batching(2, &[1, 2, 3], None);
        assert!(!smaller.repeats(&[1, 2, 3]));
        assert_eq!(smaller.next(&[1, 2, 3]), 2);
        assert_eq!(batching(1, &[1, 2, 3], None).next(&[1, 2, 3]), 1);
    }

    #[test]
    fn what_was_split_is_sent_one_by_one_and_no_further() {
        let split = batching(10, &[], Some(3));
        assert_eq!(split.next(&[2, 3, 4, 5]), 1);
        assert_eq!(split.next(&[4, 5]), 2);
        let failed = batching(10, &[2], Some(3));
        assert!(failed.repeats(&[2, 3, 4]));
        assert_eq!(failed.next(&[2, 3, 4]), 1);
    }

    proptest! {
        #[test]
        fn a_request_with_the_name_of_the_failed_one_carries_the_same_messages(
            size in 1usize..6, failed in prop::collection::btree_set(0i64..8, 0..6),
            owed in prop::collection::btree_set(0i64..8, 1..8), split_until in prop::option::of(0i64..8),
        ) {
            let (failed, owed): (Vec<_>, Vec<_>) = (failed.into_iter().collect(), owed.into_iter().collect());
            let batching = batching(size, &failed, split_until);
            let count = batching.next(&owed);
            prop_assert!(count >= 1 && count <= size.min(owed.len()));
            let next = Batch::of(&owed[..count]).unwrap();
            // The number of messages stands for the messages between.
            if Batch::of(&failed).is_some_and(|batch| (batch.first, batch.last) == (next.first, next.last))
                && next.count > 1
            {
                prop_assert_eq!(next.count, failed.len());
            }
            prop_assert_eq!(batching.repeats(&owed), Batch::of(&failed) == Some(next));
        }
    }
}
