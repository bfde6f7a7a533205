//! What a handler may do for the sender of a request. Handlers get at the use cases here alone, so
//! that nobody sees or does more than the token permits.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, Method, header, request::Parts},
};

use super::{admit::ConsoleState, failure::Failure};
use crate::{
    api::{ApiError, Permit},
    broker::Broker,
    domain::scope::TopicScope,
};

/// What a handler may do for the sender of a request.
pub(super) struct Visitor {
    broker: Broker,
    permit: Permit,
    /// How a command line reaches the API.
    pub(super) api: ApiAddress,
}

/// How a command line reaches the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiAddress {
    /// Scheme, host and port.
    pub(super) base: String,
    /// Whether it needs a token.
    pub(super) token: bool,
}

impl Visitor {
    /// The use cases, if the visitor may do what these routes of the API do.
    pub(super) fn broker(&self, routes: &[(&Method, &str)]) -> Result<&Broker, Failure> {
        for (method, route) in routes {
            self.permit.check_route(method, route)?;
        }
        Ok(&self.broker)
    }

    /// Whether the visitor may do what a route of the API does.
    pub(super) fn may(&self, method: &Method, route: &str) -> bool {
        self.permit.check_route(method, route).is_ok()
    }

    /// Whether the visitor is shown payloads.
    pub(super) fn sees_payloads(&self) -> bool {
        self.permit.sees_payloads()
    }

    /// Whether the visitor sees all topics.
    pub(super) fn sees_all(&self) -> bool {
        **self.permit.scope() == TopicScope::All
    }
}

impl FromRequestParts<ConsoleState> for Visitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &ConsoleState) -> Result<Self, Failure> {
        let permit = parts.extensions.get::<Permit>().ok_or(ApiError::Unauthorized)?.clone();
        let actor = format!("console ({})", permit.role_name());
        let broker = state.broker.within(permit.scope().clone(), actor);
        let api = ApiAddress { base: base(&parts.headers), token: !state.gate.is_open() };
        Ok(Self { broker, permit, api })
    }
}

/// Where the API is, as the browser names it.
fn base(headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let https = text("x-forwarded-proto").is_some_and(|scheme| scheme.starts_with("https"));
    let scheme = if https { "https" } else { "http" };
    format!("{scheme}://{}", text(header::HOST.as_str()).unwrap_or("localhost"))
}
