//! The use cases of lanes: list, read the history of one, try again, skip the head.

use serde_json::json;

use super::{Broker, BrokerError, jobs::object};
use crate::domain::{
    dead_letter::DeadLetter,
    job::{Job, JobKind, NewJob},
    lane::{FoundLane, Lane, LaneFilter, LaneName, LaneRetry, LaneState},
    lane_history::LaneHistory,
    operation::Removal,
    page::{Items, List, PageRequest},
    violation::Violations,
    webhook_ref::{WebhookNames, WebhookRef},
};

/// The most lanes that are tried again in one request.
const LANES_RETRIED_MAX: usize = 1000;

/// What became of lanes that are to be tried again.
#[derive(Debug, Clone, PartialEq)]
pub enum RetriedLanes {
    /// So many are tried again now.
    Now(i64),
    /// They are many: a job makes them due.
    Job(Box<Job>),
}

impl Broker {
    /// A page of a webhook's lanes, the earliest due first.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is no such webhook, [`BrokerError::Invalid`] if no
    /// message can have the filter's partition key.
    pub async fn list_lanes(
        &self,
        webhook: &WebhookRef,
        filter: &LaneFilter,
        page: PageRequest,
    ) -> Result<Items<Lane>, BrokerError> {
        let page = page.of(List::Lanes)?;
        let webhook_id = self.find_webhook(webhook).await?.id;
        filter.check()?;
        Ok(self.store.list_lanes(webhook_id, filter, page).await?)
    }

    /// Makes lanes due now: their failures become 0, and halted ones are released. Lanes that a
    /// worker holds stay as they are. More than 1,000 lanes are left to a job.
    ///
    /// # Errors
    /// [`BrokerError::NeedsAll`] if the request names no lane, no state and not `all`.
    /// [`BrokerError::NotFound`] if there is no such webhook, or the lane owes nothing.
    /// [`BrokerError::Invalid`] if the request breaks a rule.
    pub async fn retry_lanes(
        &self,
        webhook: &WebhookRef,
        retry: &LaneRetry,
    ) -> Result<RetriedLanes, BrokerError> {
        let webhook = self.find_webhook(webhook).await?;
        retry.check()?;
        if retry.is_empty() {
            return Err(BrokerError::NeedsAll(
                "the request names nothing: give a lane or a state, or \"all\": true (--all)".to_owned(),
            ));
        }
        let lanes = if retry.lane == LaneName::default() {
            let limit = i64::try_from(LANES_RETRIED_MAX + 1).unwrap_or(i64::MAX);
            self.store.list_held_up_lanes(webhook.id, retry.state, limit).await?
        } else {
            let (lane, _) = self.find_owing_lane(&webhook, &retry.lane).await?;
            vec![lane]
        };
        if lanes.len() > LANES_RETRIED_MAX {
            let new = NewJob {
                topic_id: Some(webhook.topic_id),
                webhook_id: Some(webhook.id),
                filter: object([("state", json!(retry.state.map(LaneState::as_str)))]),
                ..self.new_job(JobKind::LanesRetry)
            };
            return Ok(RetriedLanes::Job(Box::new(self.store.create_job(&new).await?)));
        }
        Ok(RetriedLanes::Now(self.store.retry_lanes(webhook.id, &lanes, &self.actor).await?))
    }

    /// Skips the head of a lane: it becomes a dead letter, and the lane goes on. Returns the dead
    /// letter.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is no such webhook, or the lane owes nothing.
    /// [`BrokerError::Conflict`] if the message is not the lane's head, or may be on its way, or if
    /// somebody holds the partition. [`BrokerError::Invalid`] if the request breaks a rule.
    pub async fn skip_lane(
        &self,
        webhook: &WebhookRef,
        partition_key: Option<String>,
        message_id: i64,
    ) -> Result<DeadLetter, BrokerError> {
        let webhook = self.find_webhook(webhook).await?;
        let name = LaneName { partition_key, message_id: Some(message_id) };
        let (_, partition_key) = self.find_owing_lane(&webhook, &name).await?;
        let dead_letter_id = self.remove(&webhook, message_id, &partition_key, Removal::Skip).await?;
        Ok(self.get_dead_letter(dead_letter_id).await?.dead_letter)
    }

    /// The history of a lane: what it owes, what it has sent, and what has changed for it.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is no such webhook. [`BrokerError::Invalid`] if the name is
    /// not one of a lane of that webhook.
    pub async fn get_lane_history(
        &self,
        webhook: &WebhookRef,
        name: &LaneName,
    ) -> Result<LaneHistory, BrokerError> {
        let webhook = self.find_webhook(webhook).await?;
        let number = self.find_lane(&webhook, name).await?.lane.unwrap_or_default();
        let lane = self.store.get_lane(webhook.id, name).await?;
        let messages = self.store.list_lane_messages(webhook.id, number).await?;
        let ids: Vec<i64> = messages.iter().map(|message| message.message_id).collect();
        Ok(LaneHistory {
            lane,
            attempts: self.store.list_lane_attempts(webhook.id, &ids).await?,
            changes: self.store.list_lane_changes(webhook.id, number).await?,
            messages,
            webhook,
        })
    }

    /// The number and the partition key of a lane that owes something.
    async fn find_owing_lane(
        &self,
        webhook: &WebhookNames,
        name: &LaneName,
    ) -> Result<(i64, String), BrokerError> {
        let FoundLane { lane, partition_key, .. } = self.find_lane(webhook, name).await?;
        lane.zip(partition_key).ok_or_else(|| {
            let lane = match (&name.partition_key, name.message_id) {
                (Some(key), _) => format!("lane {key:?}"),
                (None, id) => format!("the lane of message {}", id.unwrap_or_default()),
            };
            BrokerError::NotFound(format!("{}:{} owes nothing in {lane}", webhook.topic, webhook.name))
        })
    }

    /// A lane by its name, which is checked.
    async fn find_lane(&self, webhook: &WebhookNames, name: &LaneName) -> Result<FoundLane, BrokerError> {
        let filter = LaneFilter { state: None, partition_key: name.partition_key.clone() };
        filter.check()?;
        let found = self.store.find_lane(webhook.id, name).await?;
        let found = found.ok_or_else(|| BrokerError::no_webhook(webhook.id))?;
        let mut violations = Violations::default();
        if found.is_ordered {
            violations.require(
                name.partition_key.is_some(),
                "partition_key",
                "must be given: the topic is ordered",
            );
        } else {
            violations.require(
                name.partition_key.is_none(),
                "partition_key",
                "must be left out: the topic is unordered, and message_id names the lane",
            );
            violations.require(
                name.message_id.is_some(),
                "message_id",
                "must be given: the topic is unordered",
            );
        }
        violations.finish()?;
        Ok(found)
    }
}
