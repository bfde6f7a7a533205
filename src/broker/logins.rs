//! The use cases of logins: log in, ask who is logged in, log out.

use std::time::Duration;

use super::{Broker, BrokerError};

/// How long a login lasts.
pub const LOGIN_LASTS: Duration = Duration::from_hours(12);

impl Broker {
    /// Logs the bearer of a token in. `hash` names the session.
    ///
    /// # Errors
    /// None of its own.
    pub async fn log_in(&self, hash: &[u8; 32], token_digest: &[u8; 32]) -> Result<(), BrokerError> {
        Ok(self.store.create_login(hash, token_digest, LOGIN_LASTS).await?)
    }

    /// The digest of the token of a session; `None` if there is no such session, or it is over.
    ///
    /// # Errors
    /// None of its own.
    pub async fn find_login(&self, hash: &[u8; 32]) -> Result<Option<[u8; 32]>, BrokerError> {
        Ok(self.store.find_login(hash).await?)
    }

    /// Ends a session.
    ///
    /// # Errors
    /// None of its own.
    pub async fn log_out(&self, hash: &[u8; 32]) -> Result<(), BrokerError> {
        Ok(self.store.delete_login(hash).await?)
    }
}
