//! Which topics the caller may see and use. What belongs to another topic does not exist for the
//! caller.

use std::sync::Arc;

use super::{Broker, BrokerError};
use crate::domain::{scope::TopicScope, topic::TopicRef};

impl Broker {
    /// The use cases for somebody who may see and use the topics of `scope`.
    #[must_use]
    pub fn within(&self, scope: Arc<TopicScope>) -> Self {
        Self { scope, ..self.clone() }
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

    /// Checks that the caller may see the webhook. A webhook never changes its topic, and a topic
    /// never its name.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`], as for a webhook that does not exist.
    pub(super) async fn permit_webhook(&self, id: i64) -> Result<(), BrokerError> {
        if *self.scope == TopicScope::All {
            return Ok(());
        }
        let found = self.store.get_webhook(id).await?;
        let permitted = found.is_some_and(|webhook| self.scope.contains(&webhook.topic));
        permitted.then_some(()).ok_or_else(|| BrokerError::no_webhook(id))
    }
}
