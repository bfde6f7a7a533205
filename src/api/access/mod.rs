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
//! | `gate` | the same checks for the console |
//! | `permit` | what the sender of a request may do |
//! | `roles` | roles, and what each may do |
//! | `routes` | what each route needs |
//! | `tokens` | the tokens of the settings |

mod authorize;
mod browser;
mod gate;
mod permit;
mod roles;
mod routes;
mod tokens;

use std::net::SocketAddr;

pub(super) use self::{
    authorize::authorize,
    browser::{Hosts, check_host},
    tokens::Tokens,
};
pub(crate) use self::{gate::Gate, permit::Permit};
use super::config_error::ApiConfigError;
use crate::config::ApiConfig;

/// What is wrong with the tokens and the hosts of the settings. It shows nothing of a token.
pub fn check_access(config: &ApiConfig) -> Vec<ApiConfigError> {
    [Tokens::new(&config.tokens).err(), Hosts::new(config).err()].into_iter().flatten().collect()
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

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::config::Config;

    fn config(tokens: &[&str]) -> ApiConfig {
        let tokens = tokens.iter().map(|token| SecretString::from(*token)).collect();
        ApiConfig { tokens, ..Config::default().api }
    }

    #[test]
    fn only_loopback_is_open() {
        let check = |address: &str, tokens: &[&str]| check_bind(&config(tokens), address.parse().unwrap());
        assert!(check("127.0.0.1:8000", &[]).is_ok());
        assert!(check("[::1]:8000", &[]).is_ok());
        assert!(check("0.0.0.0:8000", &[]).is_err());
        assert!(check("[::]:8000", &[]).is_err());
        assert!(check("0.0.0.0:8000", &["read:r"]).is_ok());
    }

    #[test]
    fn every_setting_that_cannot_be_used_is_told() {
        let wrong = ApiConfig { allowed_hosts: vec!["a.example:80".to_owned()], ..config(&["sesame"]) };
        assert_eq!(check_access(&wrong).len(), 2);
        assert_eq!(check_access(&config(&["read:r"])), []);
    }
}
