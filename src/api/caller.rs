//! The use cases for the sender of a request. Handlers get at them here alone, so that nobody sees
//! or does more than its token permits.

use axum::{extract::FromRequestParts, http::request::Parts};

use super::{access::Permit, error::ApiError, state::ApiState};
use crate::broker::Broker;

/// What a handler may do for the sender of a request.
pub(super) struct Caller {
    /// The use cases, limited to the topics that the sender may see and use.
    pub(super) broker: Broker,
    /// Whether the sender is shown payloads, and what may repeat a part of one.
    pub(super) sees_payloads: bool,
}

impl FromRequestParts<ApiState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        // A route that is open to everybody has no permit, and must not ask for one.
        let permit = parts.extensions.get::<Permit>().ok_or(ApiError::Unauthorized)?;
        let broker = state.broker.within(permit.scope().clone(), permit.actor());
        Ok(Self { broker, sees_payloads: permit.sees_payloads() })
    }
}
