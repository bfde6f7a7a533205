//! Batches: which messages of a lane one request carries.

use super::message::Message;

/// What batches must know of a message that a lane owes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: i64,
    /// Whether it is a replay. No request carries both replays and other messages.
    pub replay: bool,
}

impl From<&Message> for Member {
    fn from(message: &Message) -> Self {
        Self { id: message.id, replay: message.replay }
    }
}

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
    fn begins(&self, owed: &[Member]) -> bool {
        let members = owed.get(..self.count).unwrap_or_default();
        let (Some(first), Some(last)) = (members.first(), members.last()) else { return false };
        (first.id, last.id) == (self.first, self.last)
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
    /// message has left the batch or has come into it, if one of its messages is a replay now, or if
    /// a request may carry fewer messages now.
    pub fn repeats(&self, owed: &[Member]) -> bool {
        self.failed.is_some_and(|failed| {
            failed.count <= self.size && failed.begins(owed) && failed.count <= self.alike(owed)
        })
    }

    /// How many messages the next request carries. `owed` is what the lane owes, by rising ids. A
    /// batch that failed is repeated as it was. If it cannot be, the new batch has another first or
    /// last message, since a request is named by these two. A request carries either replays or
    /// other messages.
    pub fn next(&self, owed: &[Member]) -> usize {
        if let Some(failed) = self.failed.filter(|_| self.repeats(owed)) {
            return failed.count;
        }
        let Some(first) = owed.first() else { return 0 };
        if self.split_until.is_some_and(|until| first.id <= until) {
            return 1;
        }
        let count = self.alike(owed).max(1);
        let last = owed[count - 1];
        let same_name = self.failed.is_some_and(|failed| (failed.first, failed.last) == (first.id, last.id));
        if same_name && count > 1 { count - 1 } else { count }
    }

    /// How many messages of those that one request may carry are replays, if the first one is; if it
    /// is none: how many are none up to the first replay.
    fn alike(&self, owed: &[Member]) -> usize {
        let alike = |member: &&Member| Some(member.replay) == owed.first().map(|first| first.replay);
        owed.iter().take(self.size).take_while(alike).count()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Messages that are no replays.
    fn live<const N: usize>(ids: &[i64; N]) -> [Member; N] {
        ids.map(|id| Member { id, replay: false })
    }

    fn batching(size: usize, failed: &[i64], split_until: Option<i64>) -> Batching {
        Batching { size, failed: Batch::of(failed), split_until }
    }

    #[test]
    fn a_failed_batch_is_repeated_as_it_was_however_much_has_come() {
        let failed = batching(3, &[1, 2], None);
        assert!(failed.repeats(&live(&[1, 2, 3, 4])));
        assert_eq!(failed.next(&live(&[1, 2, 3, 4])), 2);
        assert_eq!(batching(3, &[1], None).next(&live(&[1, 2, 3, 4])), 1, "also a batch of one");
        assert_eq!(batching(3, &[], None).next(&live(&[1, 2, 3, 4])), 3, "the next one is full");
    }

    #[test]
    fn a_batch_that_a_message_has_left_is_a_new_one_with_another_name() {
        let failed = batching(5, &[1, 2, 3], None);
        for (what, ids, count) in [
            ("the first has left", live(&[2, 3, 4]).to_vec(), 3),
            ("the last has left", live(&[1, 2]).to_vec(), 2),
            ("the last has left, and others have come", live(&[1, 2, 4, 5]).to_vec(), 4),
            ("one between has left", live(&[1, 3, 4]).to_vec(), 3),
            ("one between has left, and none has come", live(&[1, 3]).to_vec(), 1),
            ("one has come in front", live(&[0, 1, 2, 3]).to_vec(), 4),
        ] {
            assert!(!failed.repeats(&ids), "{what}");
            assert_eq!(failed.next(&ids), count, "{what}");
        }
    }

    #[test]
    fn a_batch_is_not_repeated_if_a_request_may_carry_fewer_now() {
        let smaller = batching(2, &[1, 2, 3], None);
        assert!(!smaller.repeats(&live(&[1, 2, 3])));
        assert_eq!(smaller.next(&live(&[1, 2, 3])), 2);
        assert_eq!(batching(1, &[1, 2, 3], None).next(&live(&[1, 2, 3])), 1);
    }

    #[test]
    fn what_was_split_is_sent_one_by_one_and_no_further() {
        let split = batching(10, &[], Some(3));
        assert_eq!(split.next(&live(&[2, 3, 4, 5])), 1);
        assert_eq!(split.next(&live(&[4, 5])), 2);
        let failed = batching(10, &[2], Some(3));
        assert!(failed.repeats(&live(&[2, 3, 4])));
        assert_eq!(failed.next(&live(&[2, 3, 4])), 1);
    }

    #[test]
    fn replays_and_other_messages_go_in_requests_of_their_own() {
        let owed = |replays: &[i64]| [1, 2, 3, 4].map(|id| Member { id, replay: replays.contains(&id) });
        let fresh = batching(10, &[], None);
        for (replays, count) in [(&[][..], 4), (&[1], 1), (&[1, 2], 2), (&[3], 2), (&[1, 2, 3, 4], 4)] {
            assert_eq!(fresh.next(&owed(replays)), count, "{replays:?}");
        }
        let failed = batching(10, &[1, 2, 3], None);
        assert!(failed.repeats(&owed(&[4])) && failed.repeats(&owed(&[1, 2, 3])));
        assert!(!failed.repeats(&owed(&[2])), "2 has left the batch and came back");
        assert_eq!(failed.next(&owed(&[2])), 1);
    }

    proptest! {
        #[test]
        fn a_request_with_the_name_of_the_failed_one_carries_the_same_messages(
            size in 1usize..6, failed in prop::collection::btree_set(0i64..8, 0..6),
            owed in prop::collection::btree_map(0i64..8, prop::bool::weighted(0.2), 1..8), split_until in prop::option::of(0i64..8),
        ) {
            let failed: Vec<_> = failed.into_iter().collect();
            let owed: Vec<_> = owed.into_iter().map(|(id, replay)| Member { id, replay }).collect();
            let batching = batching(size, &failed, split_until);
            let count = batching.next(&owed);
            prop_assert!(count >= 1 && count <= size.min(owed.len()));
            prop_assert!(owed[..count].iter().all(|member| member.replay == owed[0].replay));
            let ids: Vec<_> = owed[..count].iter().map(|member| member.id).collect();
            let next = Batch::of(&ids).unwrap();
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
