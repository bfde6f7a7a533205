//! Which settles are under way.

use std::{sync::Arc, time::Instant};

use crate::store::{HeldLane, Settlement};

/// The settles under way: at most one of new outcomes, and one of outcomes that could not be written
/// before.
#[derive(Default)]
pub(super) struct Settles {
    under_way: [Option<UnderWay>; 2],
    /// How many settles of new outcomes have begun, and how many have ended.
    begun: u64,
    ended: u64,
}

/// A settle under way.
pub(super) struct UnderWay {
    pub(super) settlement: Arc<Settlement>,
    /// The lanes that are to be removed behind it.
    pub(super) remove: Vec<HeldLane>,
    pub(super) asked: Instant,
}

impl Settles {
    /// Whether such a settle is under way. `again`: one of outcomes that could not be written.
    pub(super) fn is_under_way(&self, again: bool) -> bool {
        self.under_way[usize::from(again)].is_some()
    }

    /// Whether none is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.iter().all(Option::is_none)
    }

    pub(super) fn begin(&mut self, again: bool, settle: UnderWay) {
        self.begun += u64::from(!again);
        self.under_way[usize::from(again)] = Some(settle);
    }

    pub(super) fn end(&mut self, again: bool) -> Option<UnderWay> {
        self.ended += u64::from(!again);
        self.under_way[usize::from(again)].take()
    }

    /// The number of the settle that writes what gathers now.
    pub(super) fn next_number(&self) -> u64 {
        self.begun + 1
    }

    /// How many settles of new outcomes have ended.
    pub(super) fn ended(&self) -> u64 {
        self.ended
    }
}
