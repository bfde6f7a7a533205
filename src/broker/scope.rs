//! Which topics the caller may see and use. What belongs to another topic does not exist for the
//! caller.

use std::sync::Arc;

use super::{Broker, BrokerError};
use crate::domain::{
    scope::TopicScope,
    topic::TopicRef,
    webhook_ref::{WebhookNames, WebhookRef},
};

impl Broker {
    /// The use cases for somebody who may see and use the topics of `scope`. `actor` is how the
    /// audit log names the caller.
    #[must_use]
    pub fn within(&self, scope: Arc<TopicScope>, actor: impl Into<Arc<str>>) -> Self {
        Self { scope, actor: actor.into(), ..self.clone() }
    }

    /// Checks that the caller may see the topic. Asks the database only if it must: for an id, if
    /// the caller may not see all topics.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`], as for a topic that does not exist.
    pub(super) async fn permit_topic(&self, topic: &TopicRef) -> Result<(), BrokerError> {
        let permitted = match topic {
            _ if *self.scope == TopicScope::All => true,
            TopicRef::Name(name) => self.scope.contains(name),
            TopicRef::Id(_) => {
                let found = self.store.find_topic(topic).await?;
                found.is_some_and(|(_, name)| self.scope.contains(&name))
            }
        };
        permitted.then_some(()).ok_or_else(|| BrokerError::unknown_topic(topic))
    }

    /// The id of a topic that the caller may see.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is none.
    pub(super) async fn find_topic(&self, topic: &TopicRef) -> Result<i64, BrokerError> {
        let found = self.store.find_topic(topic).await?;
        let found = found.filter(|(_, name)| self.scope.contains(name));
        found.map(|(id, _)| id).ok_or_else(|| BrokerError::unknown_topic(topic))
    }

    /// A webhook that the caller may see. A webhook never changes its topic, and a topic never its
    /// name.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is none.
    pub(super) async fn find_webhook(&self, webhook: &WebhookRef) -> Result<WebhookNames, BrokerError> {
        let found = self.store.find_webhook(webhook).await?;
        let found = found.filter(|webhook| self.scope.contains(&webhook.topic));
        found.ok_or_else(|| BrokerError::no_webhook(webhook))
    }
}
