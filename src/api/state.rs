//! What every handler gets.

use std::sync::Arc;

use super::auth::{ApiConfigError, Tokens};
use crate::{broker::Broker, config::ApiConfig};

/// What every handler gets. Clones are cheap.
#[derive(Clone)]
pub struct ApiState {
    pub(super) broker: Broker,
    pub(super) tokens: Arc<Tokens>,
    pub(super) max_body_bytes: usize,
}

impl ApiState {
    /// Reads the tokens of the settings.
    ///
    /// # Errors
    /// [`ApiConfigError::Token`] for the first token that is not `role:token`.
    pub fn new(broker: Broker, config: &ApiConfig) -> Result<Self, ApiConfigError> {
        let tokens = Arc::new(Tokens::new(&config.tokens)?);
        Ok(Self { broker, tokens, max_body_bytes: config.max_body_bytes })
    }
}
