//! Why a worker stops.

use super::engine::failure::Lost;
use crate::{delivery::ClientError, store::StoreError};

/// Why a worker stopped, or one of its incarnations ended.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The HTTP client could not be made.
    #[error("HTTP client: {0}")]
    Client(#[from] ClientError),
    /// A statement failed, and the incarnation cannot go on.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A statement of the engine may have been executed or not.
    #[error("{0}")]
    Engine(#[from] Lost),
    /// The session is lost; the text says how.
    #[error("{0}")]
    Lost(&'static str),
    /// A task ended that must not end: a defect.
    #[error("a task ended early: {0}")]
    Task(String),
}
