//! The use cases of messages: publish one or a batch, list, read.

use super::{Broker, BrokerError};
use crate::{
    delivery::check_header,
    domain::{
        message::{
            BATCH_MAX, MessageFilter, MessageStatus, MessageSummary, NewMessage, Preview, Published,
            PublishedBatch,
        },
        page::{Items, List, PageRequest},
        topic::{TopicRef, check_reserved},
        violation::Violations,
    },
    store::{Refusal, StoreError},
};

impl Broker {
    /// Publishes a message. If its idempotency key was used before, publishes nothing and gives the
    /// first message with that key.
    ///
    /// # Errors
    /// [`BrokerError::Invalid`] if the message breaks a rule, [`BrokerError::NotFound`] if there is
    /// no such topic, [`BrokerError::Conflict`] if the topic is paused, [`BrokerError::TooLarge`]
    /// if the topic accepts no payload of this size.
    pub async fn publish_message(
        &self,
        topic: &TopicRef,
        message: &NewMessage,
    ) -> Result<Published, BrokerError> {
        self.permit_topic(topic).await?;
        let mut violations = check(message).err().unwrap_or_default();
        check_reserved(topic.name(), "topic", &mut violations);
        violations.finish()?;
        let published =
            self.store.publish_message(topic, message).await.map_err(|e| refused(e, "payload"))?;
        published.ok_or_else(|| BrokerError::unknown_topic(topic))
    }

    /// Which webhooks of the topic a message would be owed to, by rising id. It publishes nothing.
    /// The first 1,000 webhooks are looked at.
    ///
    /// # Errors
    /// [`BrokerError::Invalid`] if the message breaks a rule, [`BrokerError::NotFound`] if there is
    /// no such topic.
    pub async fn preview_message(
        &self,
        topic: &TopicRef,
        message: &NewMessage,
    ) -> Result<Vec<Preview>, BrokerError> {
        self.permit_topic(topic).await?;
        check(message)?;
        self.store.preview_message(topic, message).await.map_err(|e| refused(e, "payload"))
    }

    /// Publishes 1 to 10,000 messages, all or none. Within a partition they keep their order. Gives
    /// their ids, in the order of `messages`. If an idempotency key was used before, the id is that
    /// of the first message with the key.
    ///
    /// # Errors
    /// As [`Broker::publish_message`]. Also [`BrokerError::Invalid`] if there is no message, or
    /// more than 10,000.
    pub async fn publish_batch(
        &self,
        topic: &TopicRef,
        messages: &[NewMessage],
    ) -> Result<PublishedBatch, BrokerError> {
        self.permit_topic(topic).await?;
        let mut violations = Violations::default();
        check_reserved(topic.name(), "topic", &mut violations);
        violations.require(
            (1..=BATCH_MAX).contains(&messages.len()),
            "messages",
            &format!("must hold 1 to {BATCH_MAX} messages"),
        );
        for (index, message) in messages.iter().enumerate() {
            violations.add_all(&format!("messages[{index}]"), check(message));
        }
        violations.finish()?;
        let published =
            self.store.publish_batch(topic, messages).await.map_err(|e| refused(e, "messages"))?;
        published.ok_or_else(|| BrokerError::unknown_topic(topic))
    }

    /// A page of a topic's messages without payloads, newest first.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is no such topic, [`BrokerError::Invalid`] if no message
    /// can have the filter's key or type.
    pub async fn list_messages(
        &self,
        topic: &TopicRef,
        filter: &MessageFilter,
        page: PageRequest,
    ) -> Result<Items<MessageSummary>, BrokerError> {
        let page = page.of(List::Messages)?;
        filter.check()?;
        self.permit_topic(topic).await?;
        self.store.list_messages(topic, filter, page).await?.ok_or_else(|| BrokerError::unknown_topic(topic))
    }

    /// One message: its payload, byte for byte, and the status of its deliveries.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is no such message.
    pub async fn get_message(&self, id: i64) -> Result<MessageStatus, BrokerError> {
        let found = self.store.get_message(id).await?;
        let found = found.filter(|message| self.scope.contains(&message.topic));
        found.ok_or_else(|| BrokerError::NotFound(format!("there is no message {id}")))
    }
}

fn check(message: &NewMessage) -> Result<(), Violations> {
    let mut violations = message.check().err().unwrap_or_default();
    for (name, value) in message.headers.iter().flatten() {
        if let Err(error) = check_header(name, value) {
            violations.add(format!("headers.{name}"), error.to_string());
        }
    }
    violations.finish()
}

/// The error for a failed publish. PostgreSQL's type `json` may refuse a payload, for example one
/// that is nested too deeply. That breaks a rule of `field`.
fn refused(error: StoreError, field: &str) -> BrokerError {
    if error.refusal() == Some(Refusal::PayloadUnreadable) {
        let reason = error.database_message().unwrap_or_default();
        return Violations::one(field, format!("is refused by PostgreSQL: {reason}")).into();
    }
    error.into()
}
