//! The use cases of topics: create, list, read, change, delete.

use super::{Broker, BrokerError, Conflict};
use crate::domain::{
    page::{Items, List, PageRequest},
    topic::{DeletedTopic, NewTopic, Topic, TopicChanges, TopicDeletion, TopicRef, TopicStatus},
};

impl Broker {
    /// Creates a topic.
    ///
    /// # Errors
    /// [`BrokerError::Invalid`] if a rule is broken, [`BrokerError::NotPermitted`] if the caller
    /// may not use a topic of that name, [`BrokerError::Conflict`] if the name is taken.
    pub async fn create_topic(&self, new: &NewTopic) -> Result<Topic, BrokerError> {
        new.check()?;
        if !self.scope.contains(&new.name) {
            return Err(BrokerError::NotPermitted(format!(
                "the token may not use a topic named {:?}",
                new.name
            )));
        }
        Ok(self.store.create_topic(new).await?)
    }

    /// A page of the topics that the caller may see, by rising id.
    ///
    /// # Errors
    /// [`BrokerError::Invalid`] if the page is none of this list.
    pub async fn list_topics(&self, page: PageRequest) -> Result<Items<Topic>, BrokerError> {
        let page = page.of(List::Topics)?;
        let topics = self.store.list_topics(&self.scope, page).await?;
        Ok(Items::full(topics, page, |topic| topic.id))
    }

    /// One topic and its backlog.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is no such topic.
    pub async fn get_topic(&self, topic: &TopicRef) -> Result<TopicStatus, BrokerError> {
        self.permit_topic(topic).await?;
        self.store.get_topic(topic).await?.ok_or_else(|| BrokerError::unknown_topic(topic))
    }

    /// Changes a topic.
    ///
    /// # Errors
    /// [`BrokerError::Invalid`] if a rule is broken, [`BrokerError::NotFound`] if there is no such
    /// topic.
    pub async fn update_topic(&self, topic: &TopicRef, changes: &TopicChanges) -> Result<Topic, BrokerError> {
        self.permit_topic(topic).await?;
        changes.check()?;
        self.store.update_topic(topic, changes).await?.ok_or_else(|| BrokerError::unknown_topic(topic))
    }

    /// Deletes a topic. With `force` it also deletes the topic's webhooks.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is no such topic, [`BrokerError::Conflict`] if it has
    /// webhooks and `force` is false.
    pub async fn delete_topic(&self, topic: &TopicRef, force: bool) -> Result<DeletedTopic, BrokerError> {
        self.permit_topic(topic).await?;
        match self.store.delete_topic(topic, force).await? {
            TopicDeletion::Unknown => Err(BrokerError::unknown_topic(topic)),
            TopicDeletion::InUse(webhooks) => Err(BrokerError::conflict(
                Conflict::InUse,
                format!("the topic has {webhooks} webhooks: delete them first, or give force=true (--force)"),
            )),
            TopicDeletion::Deleted(deleted) => Ok(deleted),
        }
    }
}
