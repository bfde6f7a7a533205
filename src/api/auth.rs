//! Who may do what: bearer tokens, each with a role.
//!
//! Only digests of tokens are kept. So a comparison takes the same time for all tokens, and tells
//! nothing about a token or its length.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{Method, header::AUTHORIZATION},
    middleware::Next,
    response::Response,
};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::error::ApiError;
use crate::config::ApiConfig;

/// Why the API cannot start with these settings.
#[derive(Debug, thiserror::Error)]
pub enum ApiConfigError {
    /// A token is not `role:token`. The message says which one and shows nothing of it.
    #[error("api.tokens[{index}]: {rule}")]
    Token {
        /// Its place in the list, from 0.
        index: usize,
        /// What is wrong with it.
        rule: &'static str,
    },
    /// There are no tokens, and the address is not a loopback one: anybody who reaches it could do
    /// anything.
    #[error(
        "api.bind {0} can be reached from other machines: give api.tokens, or bind to 127.0.0.1 or [::1]"
    )]
    OpenToAll(SocketAddr),
}

/// What the bearer of a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Reads everything.
    Read,
    /// Reads everything and publishes messages.
    Publish,
    /// Does everything.
    Admin,
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Reads only what is public: health and the description of the API.
    Open,
    /// Reads.
    Read,
    /// Publishes messages.
    Publish,
    /// Anything else.
    Administer,
}

impl Role {
    fn may(self, access: Access) -> bool {
        match access {
            Access::Open | Access::Read => true,
            Access::Publish => matches!(self, Self::Publish | Self::Admin),
            Access::Administer => self == Self::Admin,
        }
    }
}

/// The accepted tokens. If there are none, everybody who can connect may do everything.
pub(super) struct Tokens(Vec<(Role, [u8; 32])>);

impl Tokens {
    pub(super) fn new(tokens: &[SecretString]) -> Result<Self, ApiConfigError> {
        let parse = |(index, token): (usize, &SecretString)| {
            let refuse = |rule| ApiConfigError::Token { index, rule };
            let (role, token) =
                token.expose_secret().split_once(':').ok_or_else(|| refuse("must be role:token"))?;
            let role = match role.trim() {
                "read" => Role::Read,
                "publish" => Role::Publish,
                "admin" => Role::Admin,
                _ => return Err(refuse("the role must be admin, publish or read")),
            };
            let token = token.trim();
            if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(refuse("the token must be visible ASCII without spaces, and not empty"));
            }
            Ok((role, digest(token)))
        };
        Ok(Self(tokens.iter().enumerate().map(parse).collect::<Result<_, _>>()?))
    }

    fn role(&self, token: &str) -> Option<Role> {
        let given = digest(token);
        self.0.iter().find(|(_, known)| known.ct_eq(&given).into()).map(|(role, _)| *role)
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Checks that the API does not listen beyond loopback without a token. `address` is what
/// `api.bind` stands for.
///
/// # Errors
/// [`ApiConfigError::OpenToAll`] if it would.
pub fn check_bind(config: &ApiConfig, address: SocketAddr) -> Result<(), ApiConfigError> {
    if config.tokens.is_empty() && !address.ip().to_canonical().is_loopback() {
        return Err(ApiConfigError::OpenToAll(address));
    }
    Ok(())
}

/// Checks the tokens of the settings, before anything is started.
///
/// # Errors
/// [`ApiConfigError::Token`] for the first wrong one.
pub fn check_tokens(config: &ApiConfig) -> Result<(), ApiConfigError> {
    Tokens::new(&config.tokens).map(drop)
}

/// Lets a request through if its token's role may make it.
pub(super) async fn authorize(
    State(tokens): State<Arc<Tokens>>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    // A path without a route does nothing, so nobody needs a token for it.
    let access = path.map_or(Access::Open, |path| access(request.method(), path.as_str()));
    if access != Access::Open && !tokens.0.is_empty() {
        let role = bearer(&request).and_then(|token| tokens.role(token)).ok_or(ApiError::Unauthorized)?;
        if !role.may(access) {
            return Err(ApiError::Forbidden);
        }
    }
    Ok(next.run(request).await)
}

/// What a request to a route does. For a route that is not named here: GET and HEAD read, and every
/// other method administers.
fn access(method: &Method, route: &str) -> Access {
    match (method, route) {
        (_, "/healthz" | "/readyz" | "/openapi.json") => Access::Open,
        (_, route) if route == "/docs" || route.starts_with("/docs/") => Access::Open,
        (&Method::GET | &Method::HEAD, _) => Access::Read,
        (&Method::POST, "/topics/{topic}/messages" | "/topics/{topic}/messages/batch") => Access::Publish,
        _ => Access::Administer,
    }
}

fn bearer(request: &Request) -> Option<&str> {
    let (scheme, token) = request.headers().get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(texts: &[&str]) -> Result<Tokens, ApiConfigError> {
        Tokens::new(&texts.iter().map(|text| SecretString::from(*text)).collect::<Vec<_>>())
    }

    #[test]
    fn a_token_has_its_role_and_no_other_does() {
        let tokens = tokens(&["admin:a:b", "publish:p", "read:r"]).unwrap();
        assert_eq!(tokens.role("a:b"), Some(Role::Admin));
        assert_eq!(tokens.role("p"), Some(Role::Publish));
        assert_eq!(tokens.role("r"), Some(Role::Read));
        for stranger in ["", "a", "a:b ", "admin:a:b"] {
            assert_eq!(tokens.role(stranger), None, "{stranger:?}");
        }
    }

    #[test]
    fn a_bad_token_is_named_by_its_place_alone() {
        for bad in ["sesame", "root:sesame", "admin:", "read:open sesame"] {
            let error = tokens(&["read:fine", bad]).err().unwrap().to_string();
            assert!(error.starts_with("api.tokens[1]: "), "{error}");
            assert!(!error.contains("sesame"), "{error}");
        }
    }

    #[test]
    fn what_each_role_may() {
        let requests = [
            (Method::GET, "/messages/{id}", [true, true, true]),
            (Method::HEAD, "/webhooks", [true, true, true]),
            (Method::POST, "/topics/{topic}/messages", [false, true, true]),
            (Method::POST, "/topics/{topic}/messages/batch", [false, true, true]),
            (Method::POST, "/topics", [false, false, true]),
            (Method::DELETE, "/webhooks/{id}", [false, false, true]),
            (Method::POST, "/a/route/of/tomorrow", [false, false, true]),
        ];
        for (method, route, expected) in requests {
            let access = access(&method, route);
            assert_eq!(
                [Role::Read, Role::Publish, Role::Admin].map(|role| role.may(access)),
                expected,
                "{method} {route}"
            );
        }
        assert_eq!(access(&Method::GET, "/readyz"), Access::Open);
        assert_eq!(access(&Method::GET, "/docs/{*rest}"), Access::Open);
    }

    #[test]
    fn only_loopback_is_open() {
        let check = |address: &str, tokens: &[&str]| {
            let tokens = tokens.iter().map(|token| SecretString::from(*token)).collect();
            let address: SocketAddr = address.parse().unwrap();
            check_bind(&ApiConfig { bind: address.into(), tokens, max_body_bytes: 1 }, address)
        };
        assert!(check("127.0.0.1:8000", &[]).is_ok());
        assert!(check("[::1]:8000", &[]).is_ok());
        assert!(check("[::ffff:127.0.0.1]:8000", &[]).is_ok());
        assert!(check("0.0.0.0:8000", &[]).is_err());
        assert!(check("[::]:8000", &[]).is_err());
        assert!(check("0.0.0.0:8000", &["read:r"]).is_ok());
    }
}
