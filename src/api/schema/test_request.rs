//! The answer to a test request.

use serde::Serialize;

use super::{ErrorClass, Outcome};
use crate::broker;

/// A test request that was made.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct TestRequest {
    /// The `webhook-id` that it carried.
    #[schema(examples("msg_test_0c3a1f52-6f0e-4c55-9d3b-2f1d0a7b9e44"))]
    id: String,
    /// How it ended.
    outcome: Outcome,
    /// The HTTP status, if an answer came.
    status_code: Option<u16>,
    /// The kind of failure; null if it was accepted.
    error_class: Option<ErrorClass>,
    /// Why it failed; null if it was accepted.
    error: Option<String>,
    /// How long it took, in milliseconds.
    duration_ms: f64,
    /// The first 2 KiB of the answer's body, if the request failed. Null for a token that may not
    /// see payloads.
    response_excerpt: Option<String>,
}

impl From<broker::TestRequest> for TestRequest {
    fn from(broker::TestRequest { id, result }: broker::TestRequest) -> Self {
        Self {
            id,
            outcome: result.outcome.into(),
            status_code: result.status_code,
            error_class: result.error_class.map(Into::into),
            error: result.error,
            duration_ms: result.duration.as_secs_f64() * 1000.0,
            response_excerpt: result.response_excerpt,
        }
    }
}

impl TestRequest {
    /// The same, for somebody who may not see payloads.
    pub(crate) fn without_payload(self) -> Self {
        Self { response_excerpt: None, ..self }
    }
}
