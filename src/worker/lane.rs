//! A lane that this worker holds.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use super::run::End;
use crate::{
    domain::{
        batch::{Batch, Batching, Member},
        lane::LaneKey,
        message::Message,
    },
    store::{ClaimedLane, Follower, HeldLane, LaneChange, LaneState, LastError, Owed, OwedMessage, ReadLane},
};

/// The longest wait between two tries to remove a lane whose stripe is taken.
pub(super) const RETIRE_WAIT_MAX: Duration = Duration::from_millis(250);

/// The wait after the first try.
const RETIRE_WAIT_MIN: Duration = Duration::from_millis(4);

/// A busy lane takes in followers (messages that a notification has named) only while it holds
/// fewer messages and bytes of payload than this. Further ones are read when it has sent these. So
/// it does not fill this worker while its receiver is slow.
const FOLLOWERS_MAX: usize = 16;
const FOLLOWERS_BYTES_MAX: usize = 64 << 10;

/// A held lane, as its worker knows it.
#[expect(clippy::struct_excessive_bools, reason = "each of them is a fact of its own")]
pub(super) struct Lane {
    pub(super) key: LaneKey,
    pub(super) token: i64,
    pub(super) claimed_at: Instant,
    pub(super) generation: i32,
    /// Failed attempts of the head, or of the batch that begins with it.
    pub(super) failures: u32,
    /// The messages that `failures` belongs to. For any others they count as none.
    failed: Option<Batch>,
    /// Messages up to this one are sent one by one: a batch of them has used up its attempts.
    split_until: Option<i64>,
    /// The last message that has left the lane.
    pub(super) position: i64,
    /// How many messages have left the lane since its row's position was written.
    unsaved: usize,
    /// How many messages have left the lane since its claim, and how many of them are written.
    gone: usize,
    written: usize,
    /// How many had left the lane when the read under way was sent, if all of them were written.
    gone_at_read: Option<usize>,
    /// The last message that was read.
    read_to: i64,
    /// When the last read since its claim was sent; `None` if there was none.
    pub(super) read_at: Option<Instant>,
    /// Messages that were read and are not in a burst.
    queue: VecDeque<OwedMessage>,
    /// Bytes of payload in this worker: what was read and has not left it.
    bytes: usize,
    /// Whether the database may hold more than was read.
    pub(super) more: bool,
    /// Whether what it owes has changed since it was read: its generation has risen. Then nothing
    /// that was read before counts.
    pub(super) outdated: bool,
    pub(super) reading: Reading,
    pub(super) phase: Phase,
    /// When its latest burst began; before the first one, when it was claimed.
    pub(super) run_began: Instant,
    /// Whether messages keep arriving. They do if its row was removed shortly before its claim, or
    /// if a removal found that it still owes something. Then the lane is kept when it is idle.
    pub(super) recurring: bool,
    /// When a try to remove it last failed.
    pub(super) kept_at: Option<Instant>,
    /// The wait before the next try to remove it.
    retire_wait: Duration,
    /// Whether some of its outcomes could not be written (`locked`). Then no burst starts.
    pub(super) locked: bool,
}

/// Whether what a lane owes next is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    No,
    /// The next read includes it.
    Wanted,
    UnderWay,
    /// A read is under way, and another one must follow it.
    Again,
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
    Retire,
}

/// What a held lane is doing.
pub(super) enum Phase {
    /// Nothing is under way: the engine decides what is next. (Not an idle lane: that is `Dry`.)
    Idle,
    /// Waits for a slot.
    Queued {
        /// Since when.
        since: Instant,
    },
    /// Has a slot: a burst is under way.
    Running {
        /// Messages of the burst that are not reported yet.
        left: usize,
        /// Half of the burst's messages. When no more than this are left, the next messages are
        /// read.
        low: usize,
        /// Tells the burst to end early.
        end: Arc<End>,
    },
    /// Was given up while its burst was under way. It is forgotten when the burst ends.
    Released,
    /// An idle lane: it owes nothing that is known. It is kept and read until it is removed.
    Dry {
        /// When to remove it.
        retire_at: Instant,
    },
    /// Its row is being removed.
    Retiring,
}

impl Lane {
    pub(super) fn claimed(claimed: ClaimedLane) -> Self {
        let now = Instant::now();
        let mut lane = Self {
            key: claimed.key,
            token: claimed.token,
            claimed_at: now,
            generation: claimed.generation,
            failures: u32::try_from(claimed.failures).unwrap_or_default(),
            failed: claimed.failed,
            split_until: claimed.split_until,
            position: claimed.position,
            unsaved: 0,
            gone: 0,
            written: 0,
            gone_at_read: None,
            read_to: claimed.position,
            read_at: None,
            queue: VecDeque::new(),
            bytes: 0,
            more: false,
            outdated: false,
            reading: Reading::No,
            phase: Phase::Idle,
            run_began: now,
            recurring: false,
            kept_at: None,
            retire_wait: RETIRE_WAIT_MIN,
            locked: false,
        };
        lane.append(claimed.owed);
        lane
    }

    fn append(&mut self, owed: Owed) {
        self.more = owed.more;
        for item in owed.items {
            if item.id() > self.read_to {
                self.read_to = item.id();
                self.bytes += size(&item);
                self.queue.push_back(item);
            }
        }
    }

    /// Takes in what a read has returned. Says whether anything new came.
    pub(super) fn read(&mut self, read: ReadLane) -> bool {
        self.reading = Reading::No;
        if read.generation != self.generation {
            let busy = matches!(self.phase, Phase::Running { .. } | Phase::Released | Phase::Retiring);
            if busy || self.gone_at_read != Some(self.gone) {
                // A replay has lowered the position, and this read began there. It may have seen
                // messages that had left the lane already, but were not written yet. They would be
                // sent twice. So it counts only if all of them were written when it was sent, and
                // none has left since.
                self.more = true;
                return false;
            }
            self.generation = read.generation;
            self.position = self.position.min(read.position);
            self.read_to = read.position;
            self.queue.clear();
            self.outdated = false;
        }
        if self.outdated {
            // This read began before the change.
            self.more = true;
            return false;
        }
        let before = self.read_to;
        self.append(read.owed);
        self.read_to > before
    }

    /// A look has found a follower: a new message of this held lane. Takes it in, if nothing that
    /// the lane owes can lie between, and if the lane does not hold too much. Otherwise says what
    /// is to be done about it.
    pub(super) fn follow(&mut self, follower: Follower) -> Owes {
        let full = self.queue.len() >= FOLLOWERS_MAX || self.bytes >= FOLLOWERS_BYTES_MAX;
        let next = !self.outdated
            && follower.generation == self.generation
            && follower.message_id > self.read_to
            && follower.after <= self.read_to;
        match follower.message {
            Some(message) if next && !(self.busy() && full) => {
                let more = self.more;
                self.append(Owed { items: vec![OwedMessage::Present(message)], more });
                Owes::TakenIn
            }
            // A replay may have put it below what was read.
            _ if follower.generation != self.generation => self.owes(i64::MAX),
            _ => self.owes(follower.message_id),
        }
    }

    /// The lane is said to owe this message. Says what is to be done about it.
    pub(super) fn owes(&mut self, message_id: i64) -> Owes {
        if message_id <= self.read_to {
            return Owes::Known;
        }
        match self.phase {
            Phase::Dry { .. } => return Owes::ReadNow,
            Phase::Retiring => return Owes::Retire,
            _ => self.more = true,
        }
        if self.reading == Reading::UnderWay {
            // The read under way may have begun too early to see this message.
            self.reading = Reading::Again;
        }
        Owes::ReadLater
    }

    /// Names the lane for the store. Reading goes on after the last message that was read.
    pub(super) fn held(&self) -> HeldLane {
        HeldLane { key: self.key, token: self.token, position: self.read_to, generation: self.generation }
    }

    /// A read of this lane is being sent.
    pub(super) fn begin_read(&mut self, now: Instant) {
        self.reading = Reading::UnderWay;
        self.read_at = Some(now);
        self.gone_at_read = Some(self.gone).filter(|gone| *gone == self.written);
    }

    /// A message has left the lane.
    pub(super) fn left(&mut self, message_id: i64) {
        self.position = message_id;
        self.unsaved += 1;
        self.gone += 1;
    }

    /// A settle has written that `count` messages have left the lane.
    pub(super) fn wrote(&mut self, count: usize) {
        self.written += count;
    }

    /// Whether more than `limit` messages have left the lane since its row's position was written.
    /// After a crash reading begins at that position, and a removal begins there to look for what
    /// is owed. Both walk over what has left the lane since.
    pub(super) fn unsaved(&self, limit: usize) -> bool {
        self.unsaved > limit
    }

    /// What to write to the lane's row.
    pub(super) fn change(&mut self, state: LaneState, last_error: Option<LastError>) -> LaneChange {
        self.unsaved = 0;
        let waits = matches!(state, LaneState::Waiting(_));
        let head = || Batch::of(&[self.head()?]).filter(|_| waits);
        LaneChange {
            generation: self.generation,
            position: self.position,
            state,
            failed: self.failed.filter(|_| self.failures > 0).or_else(head),
            failures: self.failures,
            split_until: self.split_until.filter(|until| *until > self.position),
            last_error,
        }
    }

    /// The first message that is known to be owed.
    fn head(&self) -> Option<i64> {
        self.queue.front().map(OwedMessage::id)
    }

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

    /// A batch up to this message has used up its attempts: its messages are sent one by one.
    pub(super) fn split(&mut self, until: i64) {
        self.split_until = Some(until);
        self.failures = 0;
    }

    /// Whether its row tells of failures, or of a batch that is sent one by one, that are over.
    pub(super) fn overcame(&mut self) -> bool {
        let failed = std::mem::take(&mut self.failures) > 0;
        let split = self.split_until.take_if(|until| *until <= self.position).is_some();
        failed || split
    }

    /// Whether it must be read further before anything is sent: a batch that failed is sent again
    /// as it was.
    pub(super) fn incomplete(&self) -> bool {
        self.more && self.failed_at_head().is_some_and(|failed| failed.last > self.read_to)
    }

    /// The messages that failed last, if the head is still the first of them.
    fn failed_at_head(&self) -> Option<Batch> {
        self.failed.filter(|failed| self.failures > 0 && self.head() == Some(failed.first))
    }

    /// Takes out the head if its message was deleted.
    pub(super) fn pop_missing(&mut self) -> Option<i64> {
        match self.queue.front() {
            Some(OwedMessage::Missing(id)) => {
                let id = *id;
                self.queue.pop_front();
                Some(id)
            }
            _ => None,
        }
    }

    /// Whether something is ready to be sent.
    pub(super) fn has_messages(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Starts a burst: takes its messages, up to the first one that is missing, and says how they
    /// are put into requests of at most `size` messages.
    pub(super) fn start_run(&mut self, size: usize) -> (Vec<Message>, Batching, Arc<End>) {
        let batching = Batching { size, failed: self.failed_at_head(), split_until: self.split_until };
        let mut messages = Vec::with_capacity(self.queue.len());
        while let Some(OwedMessage::Present(_)) = self.queue.front() {
            if let Some(OwedMessage::Present(message)) = self.queue.pop_front() {
                messages.push(message);
            }
        }
        let members: Vec<Member> = messages.iter().map(Member::from).collect();
        // Failures of other messages do not count for these.
        if !batching.repeats(&members) {
            self.failures = 0;
        }
        let end = Arc::new(End::default());
        self.phase = Phase::Running { left: messages.len(), low: messages.len() / 2, end: Arc::clone(&end) };
        self.run_began = Instant::now();
        self.retire_wait = RETIRE_WAIT_MIN;
        (messages, batching, end)
    }

    /// What it owes has changed since it was read. What was read is dropped, and a burst stops
    /// before its next request.
    pub(super) fn outdate(&mut self) {
        self.outdated = true;
        self.more = true;
        self.queue.clear();
        self.stop_run();
    }

    /// Puts back, in front, what a burst did not send.
    pub(super) fn put_back(&mut self, mut unsent: Vec<Message>) {
        if self.outdated {
            unsent.clear();
        }
        for message in unsent.into_iter().rev() {
            self.queue.push_front(OwedMessage::Present(message));
        }
        self.bytes = self.queue.iter().map(size).sum();
    }

    /// A request of the burst has ended, for `count` messages. Says whether half of the burst is
    /// over, so that the next messages should be read.
    pub(super) fn reported(&mut self, count: usize) -> bool {
        match &mut self.phase {
            Phase::Running { left, low, .. } => {
                *left = left.saturating_sub(count);
                *left <= *low
            }
            _ => false,
        }
    }

    /// Stops the burst before its next request.
    pub(super) fn stop_run(&self) {
        if let Phase::Running { end, .. } = &self.phase {
            end.stop();
        }
    }

    /// Makes the burst yield before its next request, if it began at `instant` or earlier.
    pub(super) fn give_way_if_since(&self, instant: Instant) {
        if let Phase::Running { end, .. } = &self.phase
            && self.run_began <= instant
        {
            end.give_way();
        }
    }

    /// Whether it sends, or is about to.
    pub(super) fn busy(&self) -> bool {
        !matches!(self.phase, Phase::Dry { .. } | Phase::Retiring)
    }

    /// How many bytes of payload it holds.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a burst is under way.
    pub(super) fn running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. } | Phase::Released)
    }

    /// The lane was not removed: how long to wait before the next try. Each wait is longer than the
    /// last.
    pub(super) fn next_retire_wait(&mut self) -> Duration {
        let wait = self.retire_wait;
        self.retire_wait = (wait * 2).min(RETIRE_WAIT_MAX);
        wait
    }
}

fn size(item: &OwedMessage) -> usize {
    match item {
        OwedMessage::Present(message) => message.bytes(),
        OwedMessage::Missing(_) => 0,
    }
}

#[cfg(test)]
mod tests;
