//! The check whether this process can serve.

use std::time::Duration;

use super::{Broker, BrokerError};
use crate::store::StoreError;

/// How long the database may take to answer a readiness probe. Probes do not wait much longer
/// themselves.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

impl Broker {
    /// Checks that the database answers within 2 s and takes writes, that its schema fits this
    /// binary, that messages are sent, and that the worker of this process works, if it has one.
    /// Returns whether any worker does the background work. A process that only serves the API is
    /// ready without one.
    ///
    /// # Errors
    /// [`BrokerError::NotReady`] if not, and no other error.
    pub async fn check_ready(&self) -> Result<bool, BrokerError> {
        let not_ready = |what: &str| Err(BrokerError::NotReady(what.to_owned()));
        let asked = async {
            self.store.check_ready().await?;
            Ok((self.store.get_sending().await?, self.store.has_leader().await?))
        };
        let has_leader = match tokio::time::timeout(READY_TIMEOUT, asked).await {
            Ok(Ok((sending, has_leader))) => {
                if let Some(why_not) = sending.switch.why_not(self.start_paused) {
                    return not_ready(why_not.text());
                }
                has_leader
            }
            Ok(Err(StoreError::SchemaMismatch(what))) => return Err(BrokerError::NotReady(what)),
            Ok(Err(cause)) if cause.is_read_only() => {
                tracing::warn!(%cause, "not ready");
                return not_ready("the database is read-only");
            }
            // The address of the database and its error go to the log only: the answer is public.
            Ok(Err(cause)) => {
                tracing::warn!(%cause, "not ready");
                return not_ready("the database does not answer");
            }
            Err(_) => return not_ready("the database does not answer in time"),
        };
        if self.worker.as_ref().is_some_and(|worker| !worker.works()) {
            return not_ready("no worker runs here; the log says why");
        }
        Ok(has_leader)
    }
}
