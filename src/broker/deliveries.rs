//! The use cases of deliveries: list, read, list attempts.

use super::{Broker, BrokerError};
use crate::domain::{
    delivery::{AttemptRecord, Delivery, DeliveryFilter},
    page::{Items, List, PageRequest},
    webhook_ref::WebhookRef,
};

impl Broker {
    /// A page of a webhook's deliveries, newest first: those that are owed, and those that were
    /// accepted or given up.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is no such webhook, [`BrokerError::Invalid`] if no
    /// message can have the filter's partition key.
    pub async fn list_deliveries(
        &self,
        webhook: &WebhookRef,
        filter: &DeliveryFilter,
        page: PageRequest,
    ) -> Result<Items<Delivery>, BrokerError> {
        let page = page.of(List::Deliveries)?;
        let webhook_id = self.find_webhook(webhook).await?.id;
        filter.check()?;
        let found = self.store.list_deliveries(webhook_id, filter, page).await?;
        found.ok_or_else(|| BrokerError::no_webhook(webhook))
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
}

fn no_delivery(webhook: &WebhookRef, message_id: i64) -> BrokerError {
    BrokerError::NotFound(format!("there is no delivery of message {message_id} to webhook {webhook}"))
}
