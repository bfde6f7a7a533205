//! The lines that wait to be written, and the count of the lines that were lost.

use std::{
    collections::VecDeque,
    mem,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// How many lines wait to be written, at most. Further lines are lost.
pub const QUEUE_LINES: usize = 8192;

/// How many bytes the waiting lines have, at most. A line that does not fit is lost.
pub const QUEUE_BYTES: usize = 4 * 1024 * 1024;

#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// Wakes the writer: there is something to do.
    wanted: Condvar,
    /// Signals that the writer has nothing left to do.
    idle: Condvar,
    lost: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Whether the writer is writing.
    busy: bool,
    /// Whether the loss is to be reported after the waiting lines, even if it was reported just
    /// before.
    tell_now: bool,
}

/// What the writer does next.
pub(super) enum Next {
    Write(Vec<u8>),
    Tell,
}

impl Queue {
    /// Adds a line. If there is no room, the line is lost.
    pub(super) fn push(&self, line: Vec<u8>) {
        let waiting = self.lock();
        if waiting.lines.len() < QUEUE_LINES && waiting.bytes + line.len() <= QUEUE_BYTES {
            self.add(waiting, line);
        } else {
            // The line is counted under the lock: a writer that is about to wait must not miss it.
            self.count_lost();
            drop(waiting);
            self.wanted.notify_one();
        }
    }

    /// Adds a line, even if there is no room.
    pub(super) fn push_always(&self, line: Vec<u8>) {
        self.add(self.lock(), line);
    }

    fn add(&self, mut waiting: MutexGuard<'_, Waiting>, line: Vec<u8>) {
        waiting.bytes += line.len();
        waiting.lines.push_back(line);
        drop(waiting);
        self.wanted.notify_one();
    }

    /// Waits until everything is written or lost, and the loss is reported. It waits for `limit` at
    /// most.
    pub(super) fn flush(&self, limit: Duration) {
        let mut waiting = self.lock();
        waiting.tell_now = true;
        self.wanted.notify_one();
        let pending = |waiting: &mut Waiting| waiting.busy || waiting.tell_now || !waiting.lines.is_empty();
        drop(self.idle.wait_timeout_while(waiting, limit, pending));
    }

    /// Waits for something to do. `told` is how many lost lines were reported. The rest of them may
    /// be reported from `tell_at` on.
    pub(super) fn next(&self, told: u64, tell_at: Instant) -> Next {
        let mut waiting = self.lock();
        loop {
            let now = Instant::now();
            let untold = self.lost() > told;
            if untold && now >= tell_at {
                waiting.busy = true;
                return Next::Tell;
            }
            if let Some(line) = waiting.lines.pop_front() {
                waiting.bytes -= line.len();
                waiting.busy = true;
                return Next::Write(line);
            }
            if mem::take(&mut waiting.tell_now) && untold {
                waiting.busy = true;
                return Next::Tell;
            }
            waiting.busy = false;
            self.idle.notify_all();
            waiting = if untold {
                let wait = self.wanted.wait_timeout(waiting, tell_at - now);
                wait.unwrap_or_else(PoisonError::into_inner).0
            } else {
                self.wanted.wait(waiting).unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    pub(super) fn count_lost(&self) {
        self.lost.fetch_add(1, Relaxed);
    }

    /// How many lines were lost so far.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Locks the waiting lines. A poisoned lock is fine: no holder can panic in the middle of a
    /// change.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
