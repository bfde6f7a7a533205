//! Who may do what.
//!
//! With tokens every request needs one, except for health and the description of the API. A token
//! has a role, and may be limited to some topics. Without tokens the API may listen on loopback
//! only, and refuses what a web page in a browser sends.
//!
//! | file | what it holds |
//! |---|---|
//! | `authorize` | the check of each request |
//! | `browser` | `Host`, `Origin` and `Sec-Fetch-Site` |
//! | `permit` | what the sender of a request may do |
//! | `roles` | roles, and what each may do |
//! | `routes` | what each route needs |
//! | `tokens` | the tokens of the settings |

mod authorize;
mod browser;
mod permit;
mod roles;
mod routes;
mod tokens;

pub(super) use self::{
    authorize::authorize,
    browser::{Hosts, check_host},
    permit::Permit,
    tokens::Tokens,
};
use super::config_error::ApiConfigError;
use crate::config::ApiConfig;

/// Checks what the settings say about access.
///
/// # Errors
/// [`ApiConfigError`] for the first setting that cannot be used. It shows nothing of a token.
pub fn check(config: &ApiConfig) -> Result<(), ApiConfigError> {
    Tokens::new(&config.tokens)?;
    Hosts::new(config)?;
    if config.tokens.is_empty() && !config.bind.ip().to_canonical().is_loopback() {
        return Err(ApiConfigError::OpenToAll(config.bind));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::config::Config;

    #[test]
    fn only_loopback_is_open() {
        let config = |bind: &str, tokens: &[&str]| ApiConfig {
            bind: bind.parse().unwrap(),
            tokens: tokens.iter().map(|token| SecretString::from(*token)).collect(),
            ..Config::default().api
        };
        assert!(check(&config("127.0.0.1:8000", &[])).is_ok());
        assert!(check(&config("[::1]:8000", &[])).is_ok());
        assert!(check(&config("0.0.0.0:8000", &[])).is_err());
        assert!(check(&config("[::]:8000", &[])).is_err());
        assert!(check(&config("0.0.0.0:8000", &["read:r"])).is_ok());
        assert!(check(&config("127.0.0.1:8000", &["sesame"])).is_err());
    }
}
