//! The use cases of draining: what is still owed, and whether it can move by itself; and to refuse
//! what would come.

use super::{Broker, BrokerError};
use crate::domain::{
    drain::{DrainScope, Remaining},
    page::{LIMIT, PageRequest},
    topic::{Topic, TopicPause, TopicRef},
};

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

    /// Pauses the topics of a scope that are not paused: they refuse messages. A topic that is held
    /// stays so. Returns the names of those that were paused.
    ///
    /// # Errors
    /// As [`Broker::list_remaining`].
    pub async fn refuse_messages(&self, scope: &DrainScope) -> Result<Vec<String>, BrokerError> {
        let topics = match scope {
            DrainScope::All => self.list_all_topics().await?,
            DrainScope::Topic(topic) => vec![self.get_topic(topic).await?.topic],
            DrainScope::Webhook(webhook) => {
                let topic = TopicRef::Id(self.find_webhook(webhook).await?.topic_id);
                vec![self.get_topic(&topic).await?.topic]
            }
        };
        let mut paused = Vec::new();
        for topic in topics.into_iter().filter(|topic| topic.paused.is_none()) {
            match self.pause_topic(&TopicRef::Id(topic.id), TopicPause::Refuse).await {
                Ok(topic) => paused.push(topic.name),
                // It was deleted meanwhile.
                Err(BrokerError::NotFound(_)) if *scope == DrainScope::All => {}
                Err(error) => return Err(error),
            }
        }
        Ok(paused)
    }

    async fn list_all_topics(&self) -> Result<Vec<Topic>, BrokerError> {
        let (mut topics, mut after) = (Vec::new(), None);
        loop {
            let page = self.list_topics(PageRequest { limit: Some(*LIMIT.end()), after }).await?;
            topics.extend(page.items);
            let Some(next) = page.next else { return Ok(topics) };
            after = Some(next.to_string());
        }
    }
}
