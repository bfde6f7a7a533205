//! Workers, as operators see them.

use jiff::Timestamp;

use super::words::stored_words;

stored_words! {
    /// Whether a worker lives.
    pub enum WorkerState {
        /// It lives.
        Live = "live",
        /// It is taken for dead or hung. Others take its lanes.
        Stale = "stale",
        /// It was asked to stop, and finishes what is in flight.
        Stopping = "stopping",
    }
}

stored_words! {
    /// How workers learn of new messages.
    pub enum WakeMode {
        /// Publishers notify them.
        Notify = "notify",
        /// They poll.
        Poll = "poll",
    }
}

impl WorkerState {
    /// Judges. `gone`: it was marked so. `late`: its heartbeat stands still for longer than its
    /// lease.
    pub fn of(stopping: bool, gone: bool, late: bool) -> Self {
        match (stopping, gone || late) {
            (false, false) => Self::Live,
            (true, _) if !late => Self::Stopping,
            _ => Self::Stale,
        }
    }
}

/// A worker: one incarnation of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// The id of the incarnation.
    pub id: uuid::Uuid,
    /// Host and process.
    pub name: String,
    /// The version of its pgtopic.
    pub version: String,
    /// Whether it lives.
    pub state: WorkerState,
    /// Whether it leads: it does the background work.
    pub leader: bool,
    /// When it was registered.
    pub started_at: Timestamp,
    /// When it said last that it lives.
    pub heartbeat_at: Timestamp,
    /// How many lanes it may have in flight.
    pub slots: i32,
    /// How many lanes are in flight.
    pub in_flight: i32,
    /// How many lanes it holds.
    pub lanes: i32,
    /// How it learns of new messages.
    pub wake_mode: WakeMode,
    /// The topics that it sends, as `worker.topics` says; `None`: all.
    pub topics: Option<Vec<String>>,
    /// What goes wrong in it.
    pub trouble: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_lives_stops_or_is_stale() {
        for (stopping, gone, late, expected) in [
            (false, false, false, WorkerState::Live),
            (false, true, false, WorkerState::Stale),
            (false, false, true, WorkerState::Stale),
            (true, false, false, WorkerState::Stopping),
            (true, true, false, WorkerState::Stopping),
            (true, true, true, WorkerState::Stale),
        ] {
            assert_eq!(WorkerState::of(stopping, gone, late), expected, "{stopping} {gone} {late}");
        }
    }
}
