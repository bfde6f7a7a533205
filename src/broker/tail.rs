//! The use case of watching: what is published to a topic, and what is sent to a webhook.

use super::{
    Broker, BrokerError,
    tails::{Subject, Tail},
};
use crate::domain::{topic::TopicRef, webhook_ref::WebhookRef};

impl Broker {
    /// Watches what is published to a topic.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is no such topic, [`BrokerError::Busy`] if as many tails
    /// are open as may be.
    pub async fn tail_topic(&self, topic: &TopicRef) -> Result<Tail, BrokerError> {
        let id = self.find_topic(topic).await?;
        self.tails.open(&self.store, Subject::Topic(id)).await
    }

    /// Watches the requests that are made to a webhook, as the attempt log tells them.
    ///
    /// # Errors
    /// As [`Broker::tail_topic`].
    pub async fn tail_webhook(&self, webhook: &WebhookRef) -> Result<Tail, BrokerError> {
        let id = self.find_webhook(webhook).await?.id;
        self.tails.open(&self.store, Subject::Webhook(id)).await
    }

    /// Ends all tails of this process.
    pub fn end_tails(&self) {
        self.tails.end();
    }
}
