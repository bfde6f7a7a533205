//! The use cases of topics: create, list, read, put, change, pause, resume, delete.

use super::{Broker, BrokerError, Conflict};
use crate::domain::{
    page::{Items, List, PageRequest},
    topic::{
        DeletedTopic, NewTopic, Ordering, Topic, TopicChanges, TopicDeletion, TopicPause, TopicPut, TopicRef,
        TopicStatus, check_reserved,
    },
    violation::Violations,
};
use crate::store::Refusal;

impl Broker {
    /// Creates a topic.
    ///
    /// # Errors
    /// [`BrokerError::Invalid`] if a rule is broken, [`BrokerError::NotPermitted`] if the caller
    /// may not use a topic of that name, [`BrokerError::Conflict`] if the name is taken.
    pub async fn create_topic(&self, new: &NewTopic) -> Result<Topic, BrokerError> {
        new.check()?;
        self.permit_new_topic(&new.name)?;
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

    /// Creates a topic, or changes the one of that name. What is `None` stays as it is, and is the
    /// default of a new topic. Doing it again changes nothing. Says whether the topic was created.
    ///
    /// # Errors
    /// [`BrokerError::Invalid`] if a rule is broken, or if the topic is there with another ordering;
    /// [`BrokerError::NotFound`] if the topic is given by an id that none has;
    /// [`BrokerError::NotPermitted`] if the caller may not use a topic of that name.
    pub async fn put_topic(
        &self,
        topic: &TopicRef,
        ordering: Option<Ordering>,
        changes: &TopicChanges,
    ) -> Result<(Topic, bool), BrokerError> {
        changes.check()?;
        let name = match topic {
            TopicRef::Name(name) => name.clone(),
            TopicRef::Id(_) => {
                let found = self.store.find_topic(topic).await?.map(|(_, name)| name);
                let found = found.filter(|name| self.scope.contains(name));
                found.ok_or_else(|| BrokerError::unknown_topic(topic))?
            }
        };
        let mut violations = Violations::default();
        check_reserved(Some(&name), "name", &mut violations);
        violations.finish()?;
        self.permit_new_topic(&name)?;
        let put = || self.store.put_topic(&name, ordering, changes, &self.actor);
        let put = match put().await {
            // Somebody else has just created it.
            Err(error) if error.refusal() == Some(Refusal::TopicExists) => put().await?,
            put => put?,
        };
        match put {
            TopicPut::Created(topic) => Ok((topic, true)),
            TopicPut::Updated(topic) => Ok((topic, false)),
            TopicPut::OtherOrdering(known) => {
                let rule = format!("never changes: this topic's is {:?}", known.as_str());
                Err(Violations::one("ordering", rule).into())
            }
            TopicPut::Deleted => Err(BrokerError::unknown_topic(topic)),
        }
    }

    /// Changes a topic.
    ///
    /// # Errors
    /// [`BrokerError::Invalid`] if a rule is broken, [`BrokerError::NotFound`] if there is no such
    /// topic.
    pub async fn update_topic(&self, topic: &TopicRef, changes: &TopicChanges) -> Result<Topic, BrokerError> {
        self.permit_topic(topic).await?;
        changes.check()?;
        let updated = self.store.update_topic(topic, changes, &self.actor).await?;
        updated.ok_or_else(|| BrokerError::unknown_topic(topic))
    }

    /// Pauses a topic. A topic that is paused already is paused in this way from now on.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is no such topic.
    pub async fn pause_topic(&self, topic: &TopicRef, mode: TopicPause) -> Result<Topic, BrokerError> {
        self.update_topic(topic, &TopicChanges::pause(Some(mode))).await
    }

    /// Ends the pause of a topic.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is no such topic.
    pub async fn resume_topic(&self, topic: &TopicRef) -> Result<Topic, BrokerError> {
        self.update_topic(topic, &TopicChanges::pause(None)).await
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

    /// Checks that the caller may use a topic of this name, which may be none yet.
    fn permit_new_topic(&self, name: &str) -> Result<(), BrokerError> {
        if self.scope.contains(name) {
            return Ok(());
        }
        Err(BrokerError::NotPermitted(format!("the token may not use a topic named {name:?}")))
    }
}
