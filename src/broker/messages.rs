//! Publishing, and what was published.

use super::{Broker, BrokerError};
use crate::{
    delivery::check_header,
    domain::{
        message::{BATCH_MAX, MessageStatus, MessageSummary, NewMessage, Published},
        page::{Items, Page},
        topic::TopicRef,
        violation::Violations,
    },
    store::{Refusal, StoreError},
};

impl Broker {
    /// Publishes a message, or finds the one that its idempotency key was first used for.
    pub async fn publish_message(
        &self,
        topic: &TopicRef,
        message: &NewMessage,
    ) -> Result<Published, BrokerError> {
        check(message)?;
        let published =
            self.store.publish_message(topic, message).await.map_err(|e| refused(e, "payload"))?;
        published.ok_or_else(|| BrokerError::unknown_topic(topic))
    }

    /// Publishes 1 to 10,000 messages, all or none, each partition in the order given. Gives their
    /// ids in the same order; for an idempotency key that was used before, the id of its first use.
    pub async fn publish_batch(
        &self,
        topic: &TopicRef,
        messages: &[NewMessage],
    ) -> Result<Vec<i64>, BrokerError> {
        let mut violations = Violations::default();
        violations.require(
            (1..=BATCH_MAX).contains(&messages.len()),
            "messages",
            &format!("must hold 1 to {BATCH_MAX} messages"),
        );
        for (index, message) in messages.iter().enumerate() {
            violations.add_all(&format!("messages[{index}]"), check(message));
        }
        violations.finish()?;
        let ids = self.store.publish_batch(topic, messages).await.map_err(|e| refused(e, "messages"))?;
        ids.ok_or_else(|| BrokerError::unknown_topic(topic))
    }

    /// A page of a topic's messages without payloads, newest first.
    pub async fn list_messages(
        &self,
        topic: &TopicRef,
        page: Page,
    ) -> Result<Items<MessageSummary>, BrokerError> {
        self.store.list_messages(topic, page).await?.ok_or_else(|| BrokerError::unknown_topic(topic))
    }

    /// One message, its payload byte for byte, and where it stands with each webhook.
    pub async fn get_message(&self, id: i64) -> Result<MessageStatus, BrokerError> {
        let found = self.store.get_message(id).await?;
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

/// Errors of publishing. What the database's `json` refuses, for example nesting that exceeds its
/// stack, is the payload's.
fn refused(error: StoreError, field: &str) -> BrokerError {
    if error.refusal() == Some(Refusal::PayloadUnreadable) {
        let reason = error.database_message().unwrap_or_default();
        return Violations::one(field, format!("is refused by PostgreSQL: {reason}")).into();
    }
    error.into()
}
