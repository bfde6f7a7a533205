//! The use case of previews: show the request of a delivery as it would be sent now.

use std::time::Instant;

use jiff::Timestamp;

use super::{Broker, BrokerError};
use crate::{
    delivery::preview,
    domain::{
        delivery::Delivery, lane::LaneName, message::Message, planned_request::PlannedRequest,
        target::Target, webhook_ref::WebhookRef,
    },
};

impl Broker {
    /// The request of a delivery as it would be sent now; of one that is not owed, as a replay would
    /// send it. If no request can be made, the reason. Nothing is sent.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if the webhook never was owed the message, or if it was deleted.
    pub async fn preview_delivery(
        &self,
        webhook: &WebhookRef,
        message_id: i64,
    ) -> Result<Result<PlannedRequest, String>, BrokerError> {
        let delivery = self.get_delivery(webhook, message_id).await?;
        let message = self.get_message(message_id).await?;
        let found = self.store.get_target(delivery.webhook_id, &self.defaults).await?;
        let target = match found.ok_or_else(|| BrokerError::no_webhook(webhook))?.target {
            Ok(target) => target,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let attempt = self.next_attempt(&target, &delivery).await?;
        let message = Message {
            id: message.id,
            partition_key: message.partition_key.into(),
            r#type: message.r#type,
            payload: String::from(Box::<str>::from(message.payload)).into(),
            headers: message.headers.map(|headers| headers.get().to_owned()),
            created_at: message.created_at,
            replay: !delivery.status.is_owed() || delivery.replayed_at.is_some(),
            born: Instant::now(),
        };
        let timestamp = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
        Ok(preview(&target, &message, attempt, timestamp).await.map_err(|error| error.to_string()))
    }

    /// The number of the next attempt: failures belong to the head of a lane.
    async fn next_attempt(&self, target: &Target, delivery: &Delivery) -> Result<u32, BrokerError> {
        let name = LaneName::of_message(target.ordered, &delivery.partition_key, delivery.message_id);
        let lane = self.store.get_lane(delivery.webhook_id, &name).await?;
        let is_head = |id: Option<i64>| id == Some(delivery.message_id);
        let lane = lane.filter(|lane| is_head(lane.head.as_ref().map(|head| head.message_id)));
        let failures = lane.map_or(0, |lane| lane.failures);
        Ok(u32::try_from(failures).unwrap_or_default().saturating_add(1))
    }
}
