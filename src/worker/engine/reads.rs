//! Which held lanes are to be read, and which read is under way.

use std::time::Instant;

use crate::{domain::lane::LaneKey, store::HeldLane};

/// Reads of held lanes. There is one at a time.
#[derive(Default)]
pub(super) struct Reads {
    /// Lanes whose next messages are to be read.
    pub(super) wanted: Vec<LaneKey>,
    /// When to read them.
    due: Option<Instant>,
    /// The lanes of the read under way.
    under_way: Option<Vec<HeldLane>>,
}

impl Reads {
    /// A lane is to be read at `due` or earlier.
    pub(super) fn want(&mut self, key: LaneKey, due: Instant) {
        self.wanted.push(key);
        self.due = Some(self.due.map_or(due, |known| known.min(due)));
    }

    /// A lane that is to be read should be read at `due` or earlier.
    pub(super) fn hurry(&mut self, due: Instant) {
        self.due = self.due.map(|known| known.min(due));
    }

    /// When to read next; `None` while nothing is to be read, or a read is under way.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.filter(|_| self.under_way.is_none())
    }

    /// Sets when to read what is left, if anything is.
    pub(super) fn go_on(&mut self, at: Instant) {
        self.due = (!self.wanted.is_empty()).then_some(at);
    }

    /// A read of these lanes begins.
    pub(super) fn begin(&mut self, lanes: Vec<HeldLane>) {
        self.under_way = Some(lanes);
    }

    /// The read under way has ended; its lanes.
    pub(super) fn end(&mut self) -> Vec<HeldLane> {
        self.under_way.take().unwrap_or_default()
    }
}
