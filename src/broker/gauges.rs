//! The use case of metrics: read what is told of the database.

use std::time::Duration;

use super::{Broker, BrokerError};
use crate::{domain::gauges::Gauges, store::StoreError};

/// How long the database may take. Who asks for metrics waits no longer than some seconds.
const LIMIT: Duration = Duration::from_secs(2);

impl Broker {
    /// What is told of the database.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`] also if the database takes longer than 2 s.
    pub async fn get_gauges(&self) -> Result<Gauges, BrokerError> {
        let read = tokio::time::timeout(LIMIT, self.store.get_gauges()).await;
        read.unwrap_or(Err(StoreError::Unanswered(LIMIT))).map_err(BrokerError::from)
    }
}
