//! The checks of the console: the same hosts, tokens and roles as those of the API.

use std::sync::Arc;

use axum::http::{HeaderMap, Method, Uri, Version};

use super::{
    browser::{Hosts, is_of_own_page},
    permit::Permit,
    roles::Role,
    tokens::{self, TokenDigest, Tokens},
};

use crate::api::error::ApiError;

/// Who may use the console.
#[derive(Clone)]
pub(crate) struct Gate {
    tokens: Arc<Tokens>,
    hosts: Arc<Hosts>,
}

impl Gate {
    pub(in crate::api) fn new(tokens: Arc<Tokens>, hosts: Arc<Hosts>) -> Self {
        Self { tokens, hosts }
    }

    /// Whether nobody needs a token.
    pub(crate) fn is_open(&self) -> bool {
        self.tokens.is_empty()
    }

    /// What somebody without a session may do: everything if nobody needs a token.
    pub(crate) fn open_permit(&self) -> Option<Permit> {
        self.is_open().then(|| Permit::new(Role::Admin, Arc::default()))
    }

    /// What the bearer of the token with this digest may do; `None` if the settings have no such
    /// token.
    pub(crate) fn permit_of(&self, digest: &TokenDigest) -> Option<Permit> {
        self.tokens.permit_of(digest).cloned()
    }

    /// The digest of a token of the settings; `None` for any other text.
    pub(crate) fn digest_of_known(&self, token: &str) -> Option<TokenDigest> {
        self.tokens.permit(token).map(|_| tokens::digest(token))
    }

    /// Checks where a request comes from. A change must come from a page of the console. Anything
    /// else may also come from a link on another site: it changes nothing, and that site cannot
    /// read the answer.
    pub(crate) fn check_origin(
        &self,
        method: &Method,
        version: Version,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<(), ApiError> {
        let host = self.hosts.check_name(version, uri, headers)?;
        if method.is_safe() || is_of_own_page(host.as_ref(), headers) {
            return Ok(());
        }
        Err(ApiError::Forbidden("a change must be sent by a page of this console".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;
    use crate::config::Config;

    fn check(method: &Method, headers: &[(&'static str, &'static str)]) -> bool {
        let config = Config::default().api;
        let gate =
            Gate::new(Arc::new(Tokens::new(&config.tokens).unwrap()), Arc::new(Hosts::new(&config).unwrap()));
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let uri = Uri::from_static("/console/");
        gate.check_origin(method, Version::HTTP_11, &uri, &headers.collect()).is_ok()
    }

    const HOST: (&str, &str) = ("host", "localhost:8000");

    #[test]
    fn a_change_comes_from_a_page_of_the_console() {
        let post =
            |headers: &[(&'static str, &'static str)]| check(&Method::POST, &[&[HOST], headers].concat());
        assert!(post(&[("sec-fetch-site", "same-origin")]));
        // The name of a proxy differs from the host that it asks for.
        assert!(post(&[("sec-fetch-site", "same-origin"), ("origin", "https://ops.example")]));
        for site in ["same-site", "cross-site", "none", ""] {
            assert!(!post(&[("sec-fetch-site", site), ("origin", "http://localhost:8000")]), "{site}");
        }
        assert!(post(&[("origin", "http://localhost:8000")]));
        for origin in
            ["http://localhost:8001", "http://evil.example", "null", "", "http://localhost:8000@evil.example"]
        {
            assert!(!post(&[("origin", origin)]), "{origin}");
        }
        assert!(!post(&[]));
    }

    #[test]
    fn a_page_may_be_asked_for_by_a_link_but_not_under_another_name() {
        assert!(check(&Method::GET, &[HOST, ("sec-fetch-site", "cross-site")]));
        assert!(!check(&Method::GET, &[("host", "evil.example")]));
    }
}
