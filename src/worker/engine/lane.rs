//! A lane that this worker holds. **Only this file sets a lane's phase.**
//!
//! The main way:
//!
//! ```text
//!             claim
//!               │
//!               ▼       something to send            a slot is free
//!   ┌──────► Waiting ──────────────────► Queued ──────────────────► Sending
//!   │         │   ▲                                                   │  │
//!   │         │   └──────────── the burst has ended ──────────────────┘  │ the lane is lost,
//!   │  owes   │                                                          │ or a request failed
//!   │ nothing │                                                          ▼
//!   │         ├───────────► Idle ─────────► Removing ──► gone         Leaving ──► gone
//!   │         └────────────────────────────────▲ │                     (when the burst has ended)
//!   └──────────────────── it owes something ─────┘
//! ```
//!
//! All ways. `advance` decides for `Waiting`, `Queued`, `Idle` or `Removing`, or releases the lane.
//! A lane that is released is forgotten, and its row says that any worker may claim it, now or
//! after a wait.
//!
//! | phase | next | decided by |
//! |---|---|---|
//! | `Waiting` | what `advance` decides | a claim (`take_in`), a read (`on_lane_read`), a settle (`on_lane_written`), a follower (`on_follower`), a turn to probe that is over (`give_late_turns_back`) |
//! | `Waiting` | `Idle` | a read that failed (`on_read_failed`) |
//! | `Queued` | `Sending` | a free slot (`start_burst`) |
//! | `Queued` | what `advance` decides | `start_burst`, if the lane cannot send after all; `give_late_turns_back` |
//! | `Queued` | released | too many lanes of its webhook are queued (`give_back_queued`) |
//! | `Sending` | `Leaving` | a request that failed (`on_failed`, `on_spared`, `on_held`, `on_gone`) |
//! | `Sending` | `Leaving` | the lane is lost (`Engine::forget_lane`), or claimed again (`take_in`) |
//! | `Sending` | `Waiting`, and at once what `advance` decides, or released | the end of its burst (`on_burst_ended`) |
//! | `Leaving` | forgotten; its successor is taken in | the end of its burst (`on_burst_ended`) |
//! | `Idle` | what `advance` decides | `on_lane_read`, `on_follower` |
//! | `Idle` | `Removing` | the end of its time (`remove_idle`) |
//! | `Removing` | forgotten | its row is gone (`on_removed`) |
//! | `Removing` | `Idle`, what `advance` decides, or released | its row is not gone (`on_not_removed`) |
//! | `Waiting`, `Idle` | released | it cannot be read (`on_unreadable`) |
//! | `Waiting`, `Queued`, `Idle` | released | its webhook may not be sent to (`release_stopped`), or the worker stops or may not send (`give_back_all`) |
//! | `Waiting`, `Queued`, `Idle`, `Removing` | forgotten | the lane is lost (`Engine::forget_lane`), or claimed again (`take_in`) |

use std::time::{Duration, Instant};

use super::{
    super::tuning::{REMOVAL_WAIT, UNWRITTEN_MAX},
    backlog::Backlog,
    probe::Probe,
};
use crate::{
    domain::{
        batch::{Batch, Batching, Member},
        dead_letter::Reason,
        lane::LaneKey,
        message::Message,
    },
    store::{ClaimedLane, Follower, HeldLane, LaneChange, LaneState, LastError, ReadLane},
};

/// A held lane, as its worker knows it.
pub(super) struct Lane {
    pub(super) key: LaneKey,
    /// The token of its claim.
    pub(super) token: i64,
    pub(super) claimed_at: Instant,
    /// What it owes.
    pub(super) backlog: Backlog,
    phase: Phase,
    pub(super) reading: Reading,
    /// Failed attempts of the head, or of the batch that begins with it.
    failures: u32,
    /// The messages that `failures` belongs to. For any others they count as none.
    failed: Option<Batch>,
    /// Messages up to this one are sent one by one: a batch of them has used up its attempts.
    split_until: Option<i64>,
    /// When its latest burst began; before the first one, when it was claimed.
    pub(super) burst_began: Instant,
    /// Whether messages are expected to keep arriving. They are if its row was removed shortly
    /// before its claim, or if a removal has failed: perhaps the lane owes something again. Then it
    /// is kept when it is idle.
    pub(super) recurring: bool,
    /// When a try to remove it last failed.
    pub(super) kept_at: Option<Instant>,
    /// The wait before the next try to remove it.
    removal_wait: Duration,
    /// Whether some of its outcomes could not be written. Then no burst starts.
    locked: bool,
    /// Whether it probes its webhook, whose breaker is open.
    pub(super) probe: Option<Probe>,
    /// The epoch of its webhook's breaker when its latest burst began.
    pub(super) epoch: i64,
}

/// Whether what a lane owes next is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    No,
    /// The next read includes it.
    Wanted,
    UnderWay,
    /// A read is under way, and another one must follow it.
    Again,
}

/// What a held lane is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing is under way but perhaps a read, or a settle that must come first.
    Waiting,
    /// Waits for a slot.
    Queued {
        /// Since when.
        since: Instant,
    },
    /// Has a slot: a burst is under way.
    Sending {
        /// Messages of the burst whose requests have not ended yet.
        left: usize,
        /// Half of the burst's messages. When no more than this are left, the next messages are
        /// read.
        low: usize,
    },
    /// It is not to be held any more, and its burst is still under way. It is forgotten when the
    /// burst ends.
    Leaving,
    /// It owes nothing that is known. It is kept and read until it is removed.
    Idle {
        /// When to remove it.
        remove_at: Instant,
    },
    /// Its row is being removed.
    Removing,
}

/// What is to be done about a message that a held lane is said to owe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owes {
    /// Nothing: it was read already.
    Known,
    /// Nothing more: the lane has taken it in.
    TakenIn,
    /// Read the lane now.
    ReadNow,
    /// Nothing now: the lane has something to send, and is read again after that.
    ReadLater,
    /// The lane is being removed. The removal finds the message, and should come soon.
    Removal,
}

impl Lane {
    pub(super) fn claimed(claimed: ClaimedLane, now: Instant) -> Self {
        Self {
            key: claimed.key,
            token: claimed.token,
            claimed_at: now,
            backlog: Backlog::new(claimed.position, claimed.generation, claimed.owed),
            phase: Phase::Waiting,
            reading: Reading::No,
            failures: u32::try_from(claimed.failures).unwrap_or_default(),
            failed: claimed.failed,
            split_until: claimed.split_until,
            burst_began: now,
            recurring: false,
            kept_at: None,
            removal_wait: REMOVAL_WAIT[0],
            locked: false,
            probe: None,
            epoch: 0,
        }
    }

    // -- Phases -----------------------------------------------------------------------------------

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether a burst is under way.
    pub(super) fn in_burst(&self) -> bool {
        matches!(self.phase, Phase::Sending { .. } | Phase::Leaving)
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.phase == Phase::Waiting
    }

    pub(super) fn is_queued(&self) -> bool {
        matches!(self.phase, Phase::Queued { .. })
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle { .. })
    }

    pub(super) fn is_removing(&self) -> bool {
        self.phase == Phase::Removing
    }

    /// Whether it sends, or is about to.
    pub(super) fn is_busy(&self) -> bool {
        !self.is_idle() && !self.is_removing()
    }

    /// It waits until a read or a settle was answered.
    pub(super) fn wait(&mut self) {
        debug_assert!(!self.in_burst(), "the burst must end first");
        self.phase = Phase::Waiting;
    }

    /// It waits for a slot.
    pub(super) fn queue(&mut self, now: Instant) {
        debug_assert!(!self.in_burst(), "the burst must end first");
        self.phase = Phase::Queued { since: now };
    }

    /// Starts a burst: takes the lane's messages, and says how they are put into requests of at
    /// most `size` messages, and how often the first of these requests has failed. `latest_only`:
    /// whether only the newest message is sent.
    pub(super) fn start_burst(
        &mut self,
        size: usize,
        latest_only: bool,
        now: Instant,
    ) -> (Vec<Message>, Batching, u32) {
        debug_assert!(self.is_queued(), "a lane gets a slot while it waits for one");
        let batching = Batching { size, failed: self.failed_at_head(), split_until: self.split_until };
        let messages = self.backlog.take_messages(latest_only);
        let members: Vec<Member> = messages.iter().map(Member::from).collect();
        // Failures of other messages do not count for these.
        if !batching.repeats(&members) {
            self.failures = 0;
        }
        self.phase = Phase::Sending { left: messages.len(), low: messages.len() / 2 };
        self.burst_began = now;
        self.removal_wait = REMOVAL_WAIT[0];
        (messages, batching, self.failures)
    }

    /// A request of the burst has ended, for `count` messages. Says whether half of the burst is
    /// over, so that the next messages should be read.
    pub(super) fn attempt_ended(&mut self, count: usize) -> bool {
        match &mut self.phase {
            Phase::Sending { left, low } => {
                *left = left.saturating_sub(count);
                *left <= *low
            }
            _ => false,
        }
    }

    /// The burst has ended.
    pub(super) fn end_burst(&mut self, unsent: Vec<Message>) {
        self.backlog.put_back(unsent);
        self.phase = Phase::Waiting;
    }

    /// The lane is not this worker's any more, or the next settle gives it back. Says whether it
    /// can be forgotten now; if not, when its burst has ended.
    pub(super) fn leave(&mut self) -> bool {
        if self.in_burst() {
            self.phase = Phase::Leaving;
            return false;
        }
        true
    }

    /// It owes nothing that is known, and is kept until `remove_at`.
    pub(super) fn keep_idle(&mut self, remove_at: Instant) {
        debug_assert!(!self.in_burst(), "the burst must end first");
        self.phase = Phase::Idle { remove_at };
    }

    /// Its row is to be removed.
    pub(super) fn begin_removal(&mut self) {
        debug_assert!(!self.in_burst(), "the burst must end first");
        self.phase = Phase::Removing;
    }

    /// The lane was not removed: how long to wait before the next try. Each wait is longer than the
    /// last.
    pub(super) fn next_removal_wait(&mut self) -> Duration {
        let wait = self.removal_wait;
        self.removal_wait = (wait * 2).min(REMOVAL_WAIT[1]);
        wait
    }

    // -- What it owes -----------------------------------------------------------------------------

    /// Takes in what a read has returned. Says whether anything new came.
    pub(super) fn read(&mut self, read: ReadLane) -> bool {
        self.reading = Reading::No;
        let busy = self.in_burst() || self.is_removing();
        self.backlog.read(read, busy)
    }

    /// A look has found a follower: a new message of this held lane. Takes it in, or says what is
    /// to be done about it. `looked_at`: when the look began.
    pub(super) fn follow(&mut self, follower: Follower, looked_at: Instant) -> Owes {
        let message_id = follower.message_id;
        // The generation has risen: a replay may have put it below what was read. `i64::MAX`:
        // whatever was read, it does not count.
        let replayed = follower.generation != self.backlog.generation();
        if self.backlog.follow(follower, looked_at, self.is_busy()) {
            return Owes::TakenIn;
        }
        self.owes(if replayed { i64::MAX } else { message_id })
    }

    /// The lane is said to owe this message. Says what is to be done about it.
    pub(super) fn owes(&mut self, message_id: i64) -> Owes {
        if self.backlog.has_read(message_id) {
            return Owes::Known;
        }
        match self.phase {
            Phase::Idle { .. } => return Owes::ReadNow,
            Phase::Removing => return Owes::Removal,
            _ => self.backlog.expect_more(),
        }
        if self.reading == Reading::UnderWay {
            // The read under way may have begun too early to see this message.
            self.reading = Reading::Again;
        }
        Owes::ReadLater
    }

    /// A read of this lane is being sent.
    pub(super) fn begin_read(&mut self, now: Instant) {
        self.reading = Reading::UnderWay;
        self.backlog.begin_read(now);
    }

    /// Names the lane for the store. Reading goes on after the last message that was read.
    pub(super) fn held(&self) -> HeldLane {
        HeldLane {
            key: self.key,
            token: self.token,
            position: self.backlog.read_to(),
            generation: self.backlog.generation(),
        }
    }

    /// Takes out the head if it is not to be sent: its message was deleted, a newer one takes its
    /// place, or it is too old. Returns its id, how many attempts of it had failed, and why it is
    /// given up.
    pub(super) fn pop_unsendable(
        &mut self,
        max_age: Option<Duration>,
        latest_only: bool,
        now: Instant,
    ) -> Option<(i64, u32, Reason)> {
        let has_failed = self.failed_at_head().is_some();
        let missing = self.backlog.pop_missing().map(|id| (id, Reason::MessageMissing));
        let gone = missing
            .or_else(|| Some((self.backlog.pop_superseded(latest_only)?, Reason::Superseded)))
            .or_else(|| Some((self.backlog.pop_expired(max_age, now)?, Reason::Expired)));
        let (message_id, reason) = gone?;
        self.backlog.left(message_id);
        let attempts = if has_failed { std::mem::take(&mut self.failures) } else { 0 };
        Some((message_id, attempts, reason))
    }

    /// Whether it must be read further before anything is sent: a batch that failed is sent again
    /// as it was.
    pub(super) fn is_incomplete(&self) -> bool {
        self.backlog.more()
            && self.failed_at_head().is_some_and(|failed| failed.last > self.backlog.read_to())
    }

    // -- Failures ---------------------------------------------------------------------------------

    /// An attempt at these messages failed. Returns how many attempts at exactly these have failed,
    /// this one included.
    pub(super) fn failed(&mut self, messages: Option<Batch>) -> u32 {
        if self.failed != messages {
            self.failures = 0;
        }
        self.failed = messages;
        self.failures += 1;
        self.failures
    }

    /// What it owes cannot be read: that counts as one failure more.
    pub(super) fn unreadable(&mut self) {
        self.failures += 1;
    }

    /// A batch up to this message has used up its attempts: its messages are sent one by one.
    pub(super) fn split(&mut self, until: i64) {
        self.split_until = Some(until);
        self.failures = 0;
    }

    /// The head has become a dead letter.
    pub(super) fn died(&mut self, message_id: i64) {
        self.backlog.left(message_id);
        self.failures = 0;
    }

    /// Whether its row tells of failures, or of a batch that is sent one by one, that are over.
    pub(super) fn overcame(&mut self) -> bool {
        let failed = std::mem::take(&mut self.failures) > 0;
        let split = self.split_until.take_if(|until| *until <= self.backlog.position()).is_some();
        failed || split
    }

    /// The messages that failed last, if the head is still the first of them.
    fn failed_at_head(&self) -> Option<Batch> {
        self.failed.filter(|failed| self.failures > 0 && self.backlog.head() == Some(failed.first))
    }

    // -- What is written of it --------------------------------------------------------------------

    /// What to write to the lane's row.
    pub(super) fn change(&mut self, state: LaneState, last_error: Option<LastError>) -> LaneChange {
        self.backlog.saved();
        let waits = matches!(state, LaneState::Waiting(_));
        let head = || Batch::of(&[self.backlog.head()?]).filter(|_| waits);
        LaneChange {
            generation: self.backlog.generation(),
            position: self.backlog.position(),
            state,
            failed: self.failed.filter(|_| self.failures > 0).or_else(head),
            failures: self.failures,
            split_until: self.split_until.filter(|until| *until > self.backlog.position()),
            last_error,
            epoch: None,
        }
    }

    /// Whether some of its outcomes could not be written. Then no burst starts.
    pub(super) fn is_locked(&self) -> bool {
        self.locked
    }

    /// Whether a settle must write outcomes of it before it is read further.
    pub(super) fn waits_for_settle(&self) -> bool {
        self.locked || self.backlog.unwritten() >= UNWRITTEN_MAX
    }

    /// Sets whether some of its outcomes could not be written. Says whether that has changed.
    pub(super) fn set_locked(&mut self, locked: bool) -> bool {
        std::mem::replace(&mut self.locked, locked) != locked
    }
}

#[cfg(test)]
mod tests;
