//! The use case "why": explain where a message or a partition stands.

use super::{Broker, BrokerError};
use crate::domain::{
    key::{PARTITION_KEY_MAX, check_key},
    topic::TopicRef,
    violation::Violations,
    why::{MessageWhy, PartitionWhy, Senders, Situation, judge},
};

impl Broker {
    /// Why a message is where it is, for each webhook of its topic; at most 1,000 of them. With
    /// `webhook_id` for that webhook alone.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is no such message.
    pub async fn explain_message(&self, id: i64, webhook_id: Option<i64>) -> Result<MessageWhy, BrokerError> {
        let found = self.store.find_explained_message(id).await?;
        let found = found.filter(|(explained, _)| self.scope.contains(&explained.topic.name));
        let (explained, created_at) = found.ok_or_else(|| {
            BrokerError::NotFound(format!(
                "there is no message {id}: it was deleted by retention, rolled back, or is not committed yet"
            ))
        })?;
        let subscriptions = self.store.list_subscriptions(&explained, Some(id), webhook_id).await?;
        let senders = self.list_senders().await?;
        let situation = Situation { topic: explained.topic, senders };
        Ok(MessageWhy {
            message_id: id,
            webhooks: subscriptions.iter().map(|subscription| judge(&situation, subscription)).collect(),
            ordered: situation.topic.ordered,
            topic: situation.topic.name,
            partition_key: explained.partition_key,
            created_at,
        })
    }

    /// Why a partition does not move: who publishes to it now, and the entry of the head for each
    /// webhook that is owed something of it; at most 1,000 of them. With `webhook_id` for that webhook
    /// alone.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is no such topic, [`BrokerError::Invalid`] if no message
    /// can have that key, or the topic has no partitions.
    pub async fn explain_partition(
        &self,
        topic: &TopicRef,
        partition_key: &str,
        webhook_id: Option<i64>,
    ) -> Result<PartitionWhy, BrokerError> {
        self.permit_topic(topic).await?;
        let mut violations = Violations::default();
        check_key(Some(partition_key), "partition_key", PARTITION_KEY_MAX, &mut violations);
        violations.finish()?;
        let explained = self.store.find_explained_partition(topic, partition_key).await?;
        let explained = explained.ok_or_else(|| BrokerError::unknown_topic(topic))?;
        if !explained.topic.ordered {
            let rule = "names nothing here: the topic is unordered, so ask for one of its messages";
            return Err(Violations::one("partition_key", rule).into());
        }
        let publisher = self.store.get_publisher(&explained).await?;
        let subscriptions = self.store.list_subscriptions(&explained, None, webhook_id).await?;
        let senders = self.list_senders().await?;
        let situation = Situation { topic: explained.topic, senders };
        Ok(PartitionWhy {
            webhooks: subscriptions.iter().map(|subscription| judge(&situation, subscription)).collect(),
            topic: situation.topic.name,
            partition_key: explained.partition_key,
            publisher,
        })
    }

    /// Whether anything is sent, and by whom.
    pub(super) async fn list_senders(&self) -> Result<Senders, BrokerError> {
        let (switched, not_sending) = self.get_sending().await?;
        let (now, workers) = self.store.list_senders().await?;
        Ok(Senders { now, not_sending, switched, workers })
    }
}
