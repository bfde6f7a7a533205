//! Which probes this worker has under way, and what is known of one.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{domain::lane::LaneKey, store::ProbeTurn};

/// The probes of this worker.
#[derive(Default)]
pub(super) struct Probing {
    /// Webhooks whose turn this worker has, and until when the request must have begun.
    pub(super) turns: BTreeMap<i64, (LaneKey, Instant)>,
    /// Since when turns are being taken, if they are.
    pub(super) taking: Option<Instant>,
    /// When to look next.
    pub(super) due: Option<Instant>,
}

/// The mark of a lane that probes its webhook.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probe {
    pub(super) turn: ProbeTurn,
    /// How many probes have failed before.
    pub(super) failed: u32,
    pub(super) open_for: Duration,
    pub(super) only_lane: bool,
    /// Until when its request must have ended.
    pub(super) until: Instant,
}
