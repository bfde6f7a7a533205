//! What a handler may do for the sender of a request. Handlers get at the use cases here alone, so
//! that nobody sees or does more than the token permits.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, Method, header, request::Parts},
};

use super::{admit::ConsoleState, failure::Failure, live::Part};
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
    /// Whether only the part of a screen is wanted that is kept up to date.
    pub(super) wants_live: bool,
}

/// How a command line reaches the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiAddress {
    /// Scheme, host, port, and the prefix of a proxy.
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
        let wants_live = parts.extensions.get::<Part>().is_some();
        Ok(Self { broker, permit, api, wants_live })
    }
}

/// Where the API is, as the browser names it. A proxy that removes a prefix from each path says so in
/// `X-Forwarded-Prefix`. A prefix that is no plain path is left out.
fn base(headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let https = text("x-forwarded-proto").is_some_and(|scheme| scheme.starts_with("https"));
    let scheme = if https { "https" } else { "http" };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    let prefix = text("x-forwarded-prefix").map(|prefix| prefix.trim_end_matches('/'));
    let prefix = prefix.filter(|prefix| prefix.starts_with('/') && prefix.bytes().all(plain));
    let host = text(header::HOST.as_str()).unwrap_or("localhost");
    format!("{scheme}://{host}{}", prefix.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    #[test]
    fn lines_lead_to_where_the_browser_finds_the_api() {
        let base = |pairs: &[(&'static str, &str)]| {
            let header = |(name, value): &(&'static str, &str)| {
                (HeaderName::from_static(name), value.parse().unwrap())
            };
            super::base(&pairs.iter().map(header).collect())
        };
        assert_eq!(base(&[]), "http://localhost");
        let proxy = [("host", "ops.test"), ("x-forwarded-proto", "https")];
        for (prefix, expected) in [
            ("/ops/pgtopic", "https://ops.test/ops/pgtopic"),
            ("/ops/", "https://ops.test/ops"),
            ("/", "https://ops.test"),
            ("", "https://ops.test"),
            (".evil.test", "https://ops.test"),
            ("/a, /b", "https://ops.test"),
            ("/$(touch x)", "https://ops.test"),
        ] {
            assert_eq!(base(&[&proxy[..], &[("x-forwarded-prefix", prefix)]].concat()), expected, "{prefix}");
        }
    }
}
