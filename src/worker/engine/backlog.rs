//! What a held lane owes, as far as its worker has read it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    domain::message::Message,
    store::{Follower, Owed, OwedMessage, ReadLane},
};

use super::super::tuning::{FOLLOWERS_BYTES_MAX, FOLLOWERS_MAX};

/// The messages that a held lane owes, and how far it has come with them.
pub(super) struct Backlog {
    /// The generation that was read last. It rises each time an operator puts something into the
    /// lane (a replay, which lowers its position) or takes something out.
    generation: i32,
    /// The last message that has left the lane.
    position: i64,
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
    read_at: Option<Instant>,
    /// When the read was sent that brought the present generation; `None`: the claim brought it.
    renewed_at: Option<Instant>,
    /// Messages that were read and are not in a burst.
    queue: VecDeque<OwedMessage>,
    /// Bytes of payload and headers in this worker: what was read and has not left it.
    bytes: usize,
    /// Whether the database may hold more than was read.
    more: bool,
    /// Whether what it owes has changed since it was read: its generation has risen. Then nothing
    /// that was read before counts.
    outdated: bool,
}

impl Backlog {
    /// What a claim has read of a lane.
    pub(super) fn new(position: i64, generation: i32, owed: Owed) -> Self {
        let mut backlog = Self {
            generation,
            position,
            unsaved: 0,
            gone: 0,
            written: 0,
            gone_at_read: None,
            read_to: position,
            read_at: None,
            renewed_at: None,
            queue: VecDeque::new(),
            bytes: 0,
            more: false,
            outdated: false,
        };
        backlog.append(owed);
        backlog
    }

    fn append(&mut self, owed: Owed) {
        self.more = owed.more;
        for item in owed.items {
            if item.id() > self.read_to {
                self.read_to = item.id();
                self.bytes += item.bytes();
                self.queue.push_back(item);
            }
        }
    }

    /// Takes in what a read has returned. `busy`: whether a burst or a removal is under way. Says
    /// whether anything new came.
    pub(super) fn read(&mut self, read: ReadLane, busy: bool) -> bool {
        if read.generation != self.generation {
            if busy || self.gone_at_read != Some(self.gone) {
                // The generation has risen: this read began at the row's position. It may have seen
                // messages that had left the lane already, but were not written yet. They would be
                // sent twice. So it counts only if all of them were written when it was sent, and
                // none has left since.
                self.more = true;
                return false;
            }
            self.generation = read.generation;
            self.renewed_at = self.read_at;
            self.position = self.position.min(read.position);
            self.read_to = read.position;
            self.drop_read();
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

    /// Takes in a follower (a new message of this held lane), if nothing that the lane owes can lie
    /// between. A `busy` lane takes none in while it holds much. Says whether it was taken in.
    ///
    /// After a replay the lane is read from a lower position on. A look that began before that read
    /// may have seen messages that had left the lane and were not written yet. They are above what
    /// was read, and would be sent twice. So that look brings nothing.
    pub(super) fn follow(&mut self, follower: Follower, looked_at: Instant, busy: bool) -> bool {
        let full = self.queue.len() >= FOLLOWERS_MAX || self.bytes >= FOLLOWERS_BYTES_MAX;
        let next = !self.outdated
            && self.renewed_at.is_none_or(|renewed_at| renewed_at < looked_at)
            && follower.generation == self.generation
            && follower.message_id > self.read_to
            && follower.after <= self.read_to;
        match follower.message {
            Some(message) if next && !(busy && full) => {
                let more = self.more;
                self.append(Owed { items: vec![OwedMessage::Present(message)], more });
                true
            }
            _ => false,
        }
    }

    /// Whether a message was read already. Ask this only within one generation: a replay may put a
    /// message below what was read.
    pub(super) fn has_read(&self, message_id: i64) -> bool {
        message_id <= self.read_to
    }

    /// A read is being sent.
    pub(super) fn begin_read(&mut self, now: Instant) {
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

    /// The position is being written.
    pub(super) fn saved(&mut self) {
        self.unsaved = 0;
    }

    /// Whether more than `limit` messages have left the lane since its row's position was written.
    /// After a crash reading begins at that position, and a removal begins there to look for what
    /// is owed. Both walk over what has left the lane since.
    pub(super) fn unsaved(&self, limit: usize) -> bool {
        self.unsaved > limit
    }

    /// What it owes has changed since it was read: what was read is dropped.
    pub(super) fn outdate(&mut self) {
        self.outdated = true;
        self.more = true;
        self.drop_read();
    }

    fn drop_read(&mut self) {
        self.bytes -= self.queue.iter().map(OwedMessage::bytes).sum::<usize>();
        self.queue.clear();
    }

    /// Takes out the messages of a burst: those up to the first one that is not to be sent. Their
    /// bytes count until [`Backlog::put_back`].
    pub(super) fn take_messages(&mut self, latest_only: bool) -> Vec<Message> {
        let latest = self.latest(latest_only);
        let mut messages = Vec::with_capacity(self.queue.len());
        while let Some(OwedMessage::Present(message)) = self.queue.front() {
            if is_superseded(message, latest) {
                break;
            }
            if let Some(OwedMessage::Present(message)) = self.queue.pop_front() {
                messages.push(message);
            }
        }
        messages
    }

    /// The newest message that was read, replays aside, if no other one is to be sent.
    fn latest(&self, latest_only: bool) -> Option<i64> {
        let is_replay = |item: &&OwedMessage| matches!(item, OwedMessage::Present(message) if message.replay);
        latest_only.then(|| self.queue.iter().rev().find(|item| !is_replay(item)).map(OwedMessage::id))?
    }

    /// Takes out the head if a newer message takes its place.
    pub(super) fn pop_superseded(&mut self, latest_only: bool) -> Option<i64> {
        let latest = self.latest(latest_only);
        let superseded = match self.queue.front()? {
            OwedMessage::Superseded(_) => true,
            OwedMessage::Present(message) => is_superseded(message, latest),
            OwedMessage::Missing(_) => false,
        };
        self.queue.pop_front_if(|_| superseded).map(|item| {
            self.bytes -= item.bytes();
            item.id()
        })
    }

    /// Puts back, in front, what a burst did not send.
    pub(super) fn put_back(&mut self, mut unsent: Vec<Message>) {
        if self.outdated {
            unsent.clear();
        }
        for message in unsent.into_iter().rev() {
            self.queue.push_front(OwedMessage::Present(message));
        }
        self.bytes = self.queue.iter().map(OwedMessage::bytes).sum();
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

    /// Takes out the head if it is too old to be sent.
    pub(super) fn pop_expired(&mut self, max_age: Option<Duration>, now: Instant) -> Option<i64> {
        match self.queue.front() {
            Some(OwedMessage::Present(message)) if message.is_expired(max_age, now) => {
                let id = message.id;
                self.bytes -= message.bytes();
                self.queue.pop_front();
                Some(id)
            }
            _ => None,
        }
    }

    /// How many messages have left the lane, and are not written.
    pub(super) fn unwritten(&self) -> usize {
        self.gone.saturating_sub(self.written)
    }

    /// The first message that is known to be owed.
    pub(super) fn head(&self) -> Option<i64> {
        self.queue.front().map(OwedMessage::id)
    }

    /// Whether something is ready to be sent.
    pub(super) fn has_messages(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The database may hold more than was read.
    pub(super) fn expect_more(&mut self) {
        self.more = true;
    }

    /// Whether the database may hold more than was read.
    pub(super) fn more(&self) -> bool {
        self.more
    }

    /// Bytes of payload and headers in this worker.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn generation(&self) -> i32 {
        self.generation
    }

    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// How many messages were read and are not in a burst.
    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// The last message that was read.
    pub(super) fn read_to(&self) -> i64 {
        self.read_to
    }

    /// When the last read since the claim was sent.
    pub(super) fn read_at(&self) -> Option<Instant> {
        self.read_at
    }
}

/// Whether a message is not to be sent, since `latest` is.
fn is_superseded(message: &Message, latest: Option<i64>) -> bool {
    !message.replay && latest.is_some_and(|latest| message.id < latest)
}
