//! Whether this process can serve.

use std::time::Duration;

use super::{Broker, BrokerError};
use crate::store::StoreError;

/// How long the database may take to answer a probe. Probes themselves do not wait much longer.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

impl Broker {
    /// Fails unless the database answers and its schema fits this binary.
    pub async fn check_ready(&self) -> Result<(), BrokerError> {
        match tokio::time::timeout(READY_TIMEOUT, self.store.check_ready()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(StoreError::SchemaMismatch(what))) => Err(BrokerError::NotReady(what)),
            // Where the database is, and why it refuses, is for the log.
            Ok(Err(cause)) => {
                tracing::warn!(%cause, "not ready");
                Err(BrokerError::NotReady("the database does not answer".to_owned()))
            }
            Err(_) => Err(BrokerError::NotReady("the database does not answer in time".to_owned())),
        }
    }
}
