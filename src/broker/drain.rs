//! The use case of draining: what is still owed, and whether it can move by itself.

use super::{Broker, BrokerError};
use crate::domain::drain::{DrainScope, Remaining};

impl Broker {
    /// What is still owed to the webhooks of a scope, and what cannot move until somebody acts.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is no such topic or webhook.
    pub async fn list_remaining(&self, scope: &DrainScope) -> Result<Remaining, BrokerError> {
        let (topic_id, webhook_id) = match scope {
            DrainScope::All => (None, None),
            DrainScope::Topic(topic) => (Some(self.find_topic(topic).await?), None),
            DrainScope::Webhook(webhook) => (None, Some(self.find_webhook(webhook).await?.id)),
        };
        let webhooks = self.store.list_remaining(topic_id, webhook_id, &self.scope).await?;
        let senders = self.list_senders().await?;
        Ok(Remaining {
            sending: senders.not_sending.is_none(),
            has_worker: senders.live_workers().next().is_some(),
            webhooks,
        })
    }
}
