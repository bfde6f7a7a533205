//! The bodies of workers.

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::worker;

words! {
    /// Whether a worker lives.
    #[serde(rename_all = "lowercase")]
    WorkerState of worker::WorkerState {
        /// It lives.
        Live,
        /// It is taken for dead or hung. Others take its lanes.
        Stale,
        /// It was asked to stop, and finishes what is in flight.
        Stopping,
    }
}

words! {
    /// How workers learn of new messages.
    #[serde(rename_all = "lowercase")]
    WakeMode of worker::WakeMode {
        /// Publishers notify them.
        Notify,
        /// They poll.
        Poll,
    }
}

/// A worker: one incarnation of a process.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Worker {
    /// The id of the incarnation.
    #[schema(value_type = String, format = Uuid)]
    id: uuid::Uuid,
    /// Host and process.
    name: String,
    /// The version of its pgtopic.
    version: String,
    /// Whether it lives.
    state: WorkerState,
    /// Whether it leads: it does the background work.
    leader: bool,
    /// When it was registered.
    started_at: Timestamp,
    /// When it said last that it lives.
    heartbeat_at: Timestamp,
    /// How many lanes it may have in flight.
    slots: i32,
    /// How many lanes are in flight.
    in_flight: i32,
    /// How many lanes it holds.
    lanes: i32,
    /// How it learns of new messages.
    wake_mode: WakeMode,
    /// The topics that it is limited to; null: all.
    topics: Option<Vec<String>>,
    /// What goes wrong in it; null: nothing.
    trouble: Option<String>,
}

impl From<worker::Worker> for Worker {
    fn from(worker: worker::Worker) -> Self {
        let worker::Worker {
            id,
            name,
            version,
            state,
            leader,
            started_at,
            heartbeat_at,
            slots,
            in_flight,
            lanes,
            wake_mode,
            topics,
            trouble,
        } = worker;
        Self {
            id,
            name,
            version,
            state: state.into(),
            leader,
            started_at,
            heartbeat_at,
            slots,
            in_flight,
            lanes,
            wake_mode: wake_mode.into(),
            topics,
            trouble,
        }
    }
}
