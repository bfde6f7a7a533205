//! The use cases of deliveries: list, read, list attempts, replay, cancel.

use super::{Broker, BrokerError, Conflict};
use crate::{
    domain::{
        delivery::{AttemptRecord, Delivery, DeliveryFilter, DeliveryStatus},
        operation::{CancelOutcome, Removal, ReplayOutcome},
        page::{Items, List, PageRequest},
        webhook_ref::{WebhookNames, WebhookRef},
    },
    store::DeliveryScope,
};

impl Broker {
    /// A page of a webhook's deliveries, newest first: those that are owed, and those that were
    /// accepted or given up. With a status of what is owed, they come lane by lane.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is no such webhook, or no topic that the filter names;
    /// [`BrokerError::Invalid`] if no message can have the filter's partition key or type.
    pub async fn list_deliveries(
        &self,
        webhook: &WebhookRef,
        filter: &DeliveryFilter,
        page: PageRequest,
    ) -> Result<Items<Delivery>, BrokerError> {
        let list = if filter.status.is_some_and(DeliveryStatus::is_owed) {
            List::OwedDeliveries
        } else {
            List::Deliveries
        };
        let page = page.of(list)?;
        let webhook = self.find_webhook(webhook).await?;
        filter.check()?;
        if let Some(topic) = &filter.topic
            && self.find_topic(topic).await? != webhook.topic_id
        {
            return Ok(Items { items: Vec::new(), next: None });
        }
        let scope =
            DeliveryScope { webhook_id: Some(webhook.id), topic_id: Some(webhook.topic_id), topics: None };
        Ok(self.store.list_deliveries(scope, filter, page).await?)
    }

    /// A page of the deliveries of all webhooks that the caller may see, newest message first.
    ///
    /// # Errors
    /// As [`Broker::list_deliveries`].
    pub async fn list_all_deliveries(
        &self,
        filter: &DeliveryFilter,
        page: PageRequest,
    ) -> Result<Items<Delivery>, BrokerError> {
        let page = page.of(List::Deliveries)?;
        filter.check()?;
        let topic_id = match &filter.topic {
            Some(topic) => Some(self.find_topic(topic).await?),
            None => None,
        };
        let scope = DeliveryScope { webhook_id: None, topic_id, topics: Some(&self.scope) };
        Ok(self.store.list_deliveries(scope, filter, page).await?)
    }

    /// The delivery of one message to one webhook.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if the webhook never was owed the message.
    pub async fn get_delivery(&self, webhook: &WebhookRef, message_id: i64) -> Result<Delivery, BrokerError> {
        let webhook_id = self.find_webhook(webhook).await?.id;
        let found = self.store.get_delivery(webhook_id, message_id).await?;
        found.ok_or_else(|| no_delivery(webhook, message_id))
    }

    /// A page of the attempts of a delivery, oldest first. `page.after` is how many to skip.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if the webhook's topic has no such message.
    pub async fn list_attempts(
        &self,
        webhook: &WebhookRef,
        message_id: i64,
        page: PageRequest,
    ) -> Result<Items<AttemptRecord>, BrokerError> {
        let page = page.of(List::Attempts)?;
        let webhook_id = self.find_webhook(webhook).await?.id;
        let found = self.store.list_attempts(webhook_id, message_id, page).await?;
        found.ok_or_else(|| no_delivery(webhook, message_id))
    }

    /// Delivers a message once more to a webhook: one that was delivered, canceled or given up.
    /// Returns the delivery, which is owed again.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if the webhook never was owed the message.
    /// [`BrokerError::Conflict`] if it is owed already or was deleted, or if somebody holds the
    /// partition.
    pub async fn replay_delivery(
        &self,
        webhook: &WebhookRef,
        message_id: i64,
    ) -> Result<Delivery, BrokerError> {
        let delivery = self.get_delivery(webhook, message_id).await?;
        let webhook = self.find_webhook(webhook).await?;
        let outcomes = self.store.replay_deliveries(webhook.id, &[message_id], true).await?;
        let outcome = outcomes.first().map_or(ReplayOutcome::WebhookGone, |(_, outcome)| *outcome);
        self.replayed(&webhook, message_id, outcome, Some(delivery)).await
    }

    /// Takes a message out of what a webhook is owed. It is kept as a dead letter, so that it can be
    /// replayed. Returns the delivery.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if the webhook never was owed the message.
    /// [`BrokerError::Conflict`] if it is not owed any more or may be on its way, or if somebody
    /// holds the partition.
    pub async fn cancel_delivery(
        &self,
        webhook: &WebhookRef,
        message_id: i64,
    ) -> Result<Delivery, BrokerError> {
        let delivery = self.get_delivery(webhook, message_id).await?;
        let webhook = self.find_webhook(webhook).await?;
        self.remove(&webhook, message_id, &delivery.partition_key, Removal::Cancel).await?;
        self.get_delivery(&webhook.id.into(), message_id).await
    }

    /// Cancels or skips one message. Returns its dead letter.
    ///
    /// # Errors
    /// As [`Broker::cancel_delivery`]; [`BrokerError::Conflict`] also if it is to be skipped, and is
    /// not the head of its lane.
    pub(super) async fn remove(
        &self,
        webhook: &WebhookNames,
        message_id: i64,
        partition_key: &str,
        removal: Removal,
    ) -> Result<i64, BrokerError> {
        let outcomes =
            self.store.cancel_deliveries(webhook.id, &[message_id], removal, true, &self.actor).await?;
        let outcome = outcomes.into_iter().next().map(|(_, outcome)| outcome);
        Err(match outcome {
            Some(CancelOutcome::Removed { dead_letter_id }) => return Ok(dead_letter_id),
            Some(CancelOutcome::InFlight { worker, since }) => BrokerError::conflict(
                Conflict::InFlight { worker, since },
                format!(
                    "message {message_id} is the head of a lane that worker {worker} holds, and may be on its way to {}:{}",
                    webhook.topic, webhook.name
                ),
            ),
            Some(CancelOutcome::NotHead { head }) => {
                let head_is = head.map_or_else(String::new, |head| format!("; its head is {head}"));
                BrokerError::conflict(
                    Conflict::NotHead { head },
                    format!("message {message_id} is not the head of its lane{head_is}"),
                )
            }
            Some(CancelOutcome::StripeTaken) => self.partition_held(webhook.topic_id, partition_key).await?,
            Some(CancelOutcome::RowLocked) => busy(webhook, message_id),
            Some(CancelOutcome::NotOwed) | None => {
                match self.store.get_delivery(webhook.id, message_id).await? {
                    Some(delivery) => BrokerError::conflict(
                        Conflict::State,
                        format!(
                            "message {message_id} is not owed to {}:{}: it is {}",
                            webhook.topic,
                            webhook.name,
                            delivery.status.as_str()
                        ),
                    ),
                    None => no_delivery(&webhook.id.into(), message_id),
                }
            }
        })
    }

    /// The delivery after a replay. `before` is the delivery before it; `None` if the message is gone.
    ///
    /// A worker may deliver the message before it is read here. The attempt log says so some
    /// milliseconds later. Until then nothing shows the delivery: the answer is how the replay left it.
    pub(super) async fn replayed(
        &self,
        webhook: &WebhookNames,
        message_id: i64,
        outcome: ReplayOutcome,
        before: Option<Delivery>,
    ) -> Result<Delivery, BrokerError> {
        let (topic, name) = (&webhook.topic, &webhook.name);
        Err(match outcome {
            ReplayOutcome::Replayed => {
                let now = self.store.get_delivery(webhook.id, message_id).await?;
                let left = || before.map(Delivery::owed_again);
                return now.or_else(left).ok_or_else(|| no_delivery(&webhook.id.into(), message_id));
            }
            ReplayOutcome::AlreadyOwed => BrokerError::conflict(
                Conflict::State,
                format!("message {message_id} is owed to {topic}:{name} already"),
            ),
            ReplayOutcome::MessageGone => {
                BrokerError::conflict(Conflict::State, format!("message {message_id} was deleted"))
            }
            ReplayOutcome::WebhookGone | ReplayOutcome::Absent => BrokerError::no_webhook(webhook.id),
            ReplayOutcome::StripeTaken => {
                let key = before.as_ref().map_or("", |delivery| &delivery.partition_key);
                self.partition_held(webhook.topic_id, key).await?
            }
            ReplayOutcome::RowLocked => busy(webhook, message_id),
        })
    }

    /// Somebody held a partition for too long: says who, if it still does.
    async fn partition_held(&self, topic_id: i64, partition_key: &str) -> Result<BrokerError, BrokerError> {
        let holder = self.store.find_stripe_holder(topic_id, partition_key).await?.unwrap_or_default();
        let who = holder.pid.map_or_else(
            || "somebody".to_owned(),
            |pid| match &holder.application_name {
                Some(application) => format!("process {pid} ({application})"),
                None => format!("process {pid}"),
            },
        );
        let since = holder.since.map_or_else(String::new, |since| format!(" since {since}"));
        let message = format!("{who} holds partition {partition_key:?}{since}; nothing was changed");
        Ok(BrokerError::conflict(Conflict::PartitionHeld(holder), message))
    }
}

fn no_delivery(webhook: &WebhookRef, message_id: i64) -> BrokerError {
    BrokerError::NotFound(format!("there is no delivery of message {message_id} to webhook {webhook}"))
}

/// Somebody works on the same rows.
fn busy(webhook: &WebhookNames, message_id: i64) -> BrokerError {
    BrokerError::conflict(
        Conflict::State,
        format!(
            "somebody else works on message {message_id} of {}:{} now; try again in a moment",
            webhook.topic, webhook.name
        ),
    )
}
