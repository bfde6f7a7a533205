//! The events of a tail.

use jiff::Timestamp;
use serde::Serialize;

use super::{ErrorClass, Outcome};
use crate::domain::tail;

/// The event `message`: a message was published. A tail shows no payloads.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct TailMessage {
    /// Its id.
    id: i64,
    /// Its partition key.
    partition_key: String,
    /// Its type.
    r#type: Option<String>,
    /// When it was published.
    created_at: Timestamp,
    /// Bytes of its payload and headers.
    size_bytes: i32,
}

impl From<&tail::TailMessage> for TailMessage {
    fn from(message: &tail::TailMessage) -> Self {
        let tail::TailMessage { id, partition_key, r#type, created_at, size_bytes } = message.clone();
        Self { id, partition_key, r#type, created_at, size_bytes }
    }
}

/// The event `attempt`: a request for a message has ended.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct TailAttempt {
    /// The message.
    message_id: i64,
    /// The number of the attempt; 1 is the first.
    attempt: i32,
    /// How it ended.
    outcome: Outcome,
    /// The HTTP status, if an answer came.
    status_code: Option<i16>,
    /// The kind of failure; null if it was accepted.
    error_class: Option<ErrorClass>,
    /// Why it failed; null if it was accepted.
    error: Option<String>,
    /// How long it took, in milliseconds.
    duration_ms: f64,
    /// The incarnation of the worker that made it.
    worker: uuid::Uuid,
    /// When it began.
    attempted_at: Timestamp,
}

impl From<&tail::TailAttempt> for TailAttempt {
    fn from(attempt: &tail::TailAttempt) -> Self {
        let tail::TailAttempt {
            message_id,
            attempt,
            outcome,
            status_code,
            error_class,
            error,
            duration_ms,
            worker_id,
            attempted_at,
        } = attempt.clone();
        Self {
            message_id,
            attempt,
            outcome: outcome.into(),
            status_code,
            error_class: error_class.map(Into::into),
            error,
            duration_ms,
            worker: worker_id,
            attempted_at,
        }
    }
}

/// The event `left_out`: not everything is shown.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct TailLeftOut {
    /// How many of them follow.
    shown: usize,
    /// How many there were.
    of: usize,
    /// Whether there were more that were never seen.
    at_least: bool,
}

impl From<&tail::LeftOut> for TailLeftOut {
    fn from(&tail::LeftOut { shown, of, at_least }: &tail::LeftOut) -> Self {
        Self { shown, of, at_least }
    }
}
