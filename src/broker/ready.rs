//! The check whether this process can serve.

use std::time::Duration;

use super::{Broker, BrokerError};
use crate::store::StoreError;

/// How long the database may take to answer a readiness probe. Probes do not wait much longer
/// themselves.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

impl Broker {
    /// Checks that the database answers within 2 s and that its schema fits this binary.
    ///
    /// # Errors
    /// [`BrokerError::NotReady`] if it does not, and no other error.
    pub async fn check_ready(&self) -> Result<(), BrokerError> {
        match tokio::time::timeout(READY_TIMEOUT, self.store.check_ready()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(StoreError::SchemaMismatch(what))) => Err(BrokerError::NotReady(what)),
            // The address of the database and its error go to the log only: the answer is public.
            Ok(Err(cause)) => {
                tracing::warn!(%cause, "not ready");
                Err(BrokerError::NotReady("the database does not answer".to_owned()))
            }
            Err(_) => Err(BrokerError::NotReady("the database does not answer in time".to_owned())),
        }
    }
}
