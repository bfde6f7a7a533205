//! The use cases of figures and workers: read the figures, list the workers.

use super::{Broker, BrokerError};
use crate::domain::{page::Items, stats::Stats, topic::TopicRef, worker::Worker};

impl Broker {
    /// The figures of the last minute: of all topics, or of one.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is no such topic.
    pub async fn get_stats(&self, topic: Option<&TopicRef>) -> Result<Stats, BrokerError> {
        let topic_id = match topic {
            Some(topic) => Some(self.find_topic(topic).await?),
            None => None,
        };
        Ok(self.store.get_stats(topic_id).await?)
    }

    /// The workers, oldest first, at most 1,000.
    ///
    /// # Errors
    /// None of its own.
    pub async fn list_workers(&self) -> Result<Items<Worker>, BrokerError> {
        Ok(Items { items: self.store.list_workers().await?, next: None })
    }
}
