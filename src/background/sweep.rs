//! How far a walk through the messages is, and when it stops. Pure.
//!
//! There is no index by topic and time, because each publisher would pay for it. So retention walks
//! through the messages by id, portion by portion, and remembers where it is.

use crate::store::MessagePortion;

/// How many portions of one round may be looked at in vain. A portion has 10,000 messages. So a
/// round reads 200,000 messages that stay, at most, however large the table is.
const IN_VAIN: u32 = 20;

/// A walk through the messages by rising id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sweep {
    /// Whether it ends at the first portion that holds nothing old.
    old_only: bool,
    after: i64,
    ended: bool,
    /// Of this round.
    in_vain: u32,
    deleted: u64,
}

impl Sweep {
    /// Over the messages that may be past a retention: ids rise roughly with the time.
    pub(super) fn of_old_messages() -> Self {
        Self { old_only: true, after: 0, ended: false, in_vain: 0, deleted: 0 }
    }

    /// Over all messages.
    pub(super) fn of_all_messages() -> Self {
        Self { old_only: false, ..Self::of_old_messages() }
    }

    pub(super) fn begin_round(&mut self) {
        (self.in_vain, self.deleted) = (0, 0);
    }

    /// Whether this round looks at another portion.
    pub(super) fn goes_on(&self) -> bool {
        !self.ended && self.in_vain < IN_VAIN
    }

    /// The next portion begins after this id.
    pub(super) fn after(&self) -> i64 {
        self.after
    }

    pub(super) fn note(&mut self, portion: MessagePortion) {
        let MessagePortion { last_id, is_last, deleted, any_old } = portion;
        self.after = last_id.unwrap_or(self.after);
        self.deleted += deleted;
        self.in_vain += u32::from(deleted == 0);
        self.ended = is_last || (self.old_only && !any_old);
    }

    /// Whether it has come to its end.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// How many messages were deleted in this round.
    pub(super) fn deleted(&self) -> u64 {
        self.deleted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn portion(last_id: i64, deleted: u64, any_old: bool) -> MessagePortion {
        MessagePortion { last_id: Some(last_id), is_last: false, deleted, any_old }
    }

    #[test]
    fn the_sweep_of_old_messages_ends_where_nothing_is_old() {
        let mut sweep = Sweep::of_old_messages();
        sweep.note(portion(10, 5, true));
        assert!(sweep.goes_on() && sweep.after() == 10);
        sweep.note(portion(20, 0, false));
        assert!(sweep.has_ended() && !sweep.goes_on() && sweep.deleted() == 5);
    }

    #[test]
    fn the_sweep_of_all_messages_goes_on_to_the_last() {
        let mut sweep = Sweep::of_all_messages();
        sweep.note(portion(10, 0, false));
        assert!(!sweep.has_ended());
        sweep.note(MessagePortion { is_last: true, ..portion(20, 0, false) });
        assert!(sweep.has_ended());
        let mut sweep = Sweep::of_all_messages();
        sweep.note(MessagePortion { last_id: None, is_last: true, deleted: 0, any_old: false });
        assert!(sweep.has_ended());
    }

    #[test]
    fn a_round_looks_at_few_messages_in_vain_and_the_next_one_goes_on() {
        let mut sweep = Sweep::of_old_messages();
        let mut last_id = 0;
        for _ in 0..3 {
            sweep.begin_round();
            // What is deleted costs nothing of what may be looked at in vain.
            for _ in 0..100 {
                last_id += 10;
                sweep.note(portion(last_id, 1, true));
            }
            let mut looks = 0;
            while sweep.goes_on() {
                (last_id, looks) = (last_id + 10, looks + 1);
                sweep.note(portion(last_id, 0, true));
            }
            assert_eq!(looks, IN_VAIN);
            assert!(!sweep.has_ended() && sweep.after() == last_id);
        }
    }
}
