//! What a webhook was or is owed, and the requests made for it.

use super::{Broker, BrokerError};
use crate::domain::{
    delivery::{AttemptRecord, Delivery, DeliveryFilter},
    page::{Items, Page},
};

impl Broker {
    /// A page of what a webhook was or is owed, newest first.
    pub async fn list_deliveries(
        &self,
        webhook_id: i64,
        filter: &DeliveryFilter,
        page: Page,
    ) -> Result<Items<Delivery>, BrokerError> {
        let found = self.store.list_deliveries(webhook_id, filter, page).await?;
        found.ok_or_else(|| BrokerError::no_webhook(webhook_id))
    }

    /// What a webhook made of one message.
    pub async fn get_delivery(&self, webhook_id: i64, message_id: i64) -> Result<Delivery, BrokerError> {
        let found = self.store.get_delivery(webhook_id, message_id).await?;
        found.ok_or_else(|| no_delivery(webhook_id, message_id))
    }

    /// A page of the requests made for a delivery, oldest first; the page begins behind the
    /// `after`-th.
    pub async fn list_attempts(
        &self,
        webhook_id: i64,
        message_id: i64,
        page: Page,
    ) -> Result<Items<AttemptRecord>, BrokerError> {
        let found = self.store.list_attempts(webhook_id, message_id, page).await?;
        found.ok_or_else(|| no_delivery(webhook_id, message_id))
    }
}

fn no_delivery(webhook_id: i64, message_id: i64) -> BrokerError {
    BrokerError::NotFound(format!("there is no delivery of message {message_id} to webhook {webhook_id}"))
}
