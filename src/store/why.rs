//! What is known of a message or a partition, for the answer to "why".

use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::Row;

use super::{Store, error::StoreError, statement::sql};
use crate::domain::{
    dead_letter,
    scope::TopicScope,
    topic::TopicRef,
    webhook::WebhookState,
    why::{
        Change, DeadLetterFacts, LaneFacts, LogFacts, MessageFacts, Publisher, Subscription, TopicFacts,
        WEBHOOKS_MAX, WebhookFacts, WorkerFacts,
    },
};

/// How many workers are looked at.
const WORKERS_SHOWN: i64 = 1000;

/// A message or a partition to be explained.
pub struct Explained {
    /// Its topic's id.
    pub topic_id: i64,
    /// Its topic.
    pub topic: TopicFacts,
    /// Its partition key.
    pub partition_key: String,
    /// Its lane.
    pub lane: i64,
}

impl Store {
    /// A message to be explained, and when it was published; `None` if there is none.
    pub async fn find_explained_message(
        &self,
        id: i64,
    ) -> Result<Option<(Explained, Timestamp)>, StoreError> {
        let row = self.query_opt(sql!("why/get_message"), &[&id]).await?;
        row.map(|row| Ok((explained(&row)?, row.try_get("created_at")?))).transpose()
    }

    /// A partition to be explained; `None` if there is no such topic.
    pub async fn find_explained_partition(
        &self,
        topic: &TopicRef,
        partition_key: &str,
    ) -> Result<Option<Explained>, StoreError> {
        let parameters: super::Parameters<'_> = &[&topic.id(), &topic.name(), &partition_key];
        self.query_opt(sql!("why/get_partition"), parameters).await?.as_ref().map(explained).transpose()
    }

    /// Where a message stands with each webhook of its topic, at most 1,000 of them. Without a
    /// message: where the head of each webhook's lane stands, if it has one. With `webhook_id`: only
    /// that webhook.
    pub async fn list_subscriptions(
        &self,
        explained: &Explained,
        message_id: Option<i64>,
        webhook_id: Option<i64>,
    ) -> Result<Vec<Subscription>, StoreError> {
        let parameters: super::Parameters<'_> =
            &[&explained.topic_id, &explained.lane, &message_id, &WEBHOOKS_MAX, &webhook_id];
        let rows = self.query(sql!("why/list_subscriptions"), parameters).await?;
        rows.iter().map(|row| subscription(row, &explained.partition_key)).collect()
    }

    /// The instant by the database's clock, and the registered workers: at most 1,000 of them.
    pub async fn list_senders(&self) -> Result<(Timestamp, Vec<WorkerFacts>), StoreError> {
        let rows = self.query(sql!("why/list_senders"), &[&WORKERS_SHOWN]).await?;
        let first = rows.first().ok_or_else(|| StoreError::Unexpected("no instant".to_owned()))?;
        let workers = super::rows_under_parent(&rows, "started", worker)?;
        Ok((first.try_get("now")?, workers.unwrap_or_default()))
    }

    /// The oldest transaction that publishes to a partition now, or to another one with the same
    /// stripe.
    pub async fn get_publisher(&self, explained: &Explained) -> Result<Option<Publisher>, StoreError> {
        let parameters: super::Parameters<'_> = &[&explained.topic_id, &explained.partition_key];
        let row = self.query_opt(sql!("why/get_publisher"), parameters).await?;
        row.map(|row| {
            Ok(Publisher {
                pid: row.try_get("pid")?,
                user: row.try_get("role")?,
                application_name: row.try_get("application_name")?,
                since: row.try_get("since")?,
            })
        })
        .transpose()
    }
}

fn explained(row: &Row) -> Result<Explained, StoreError> {
    Ok(Explained {
        topic_id: row.try_get("topic_id")?,
        topic: TopicFacts {
            name: row.try_get("topic")?,
            ordered: row.try_get("ordered")?,
            held: row.try_get("held")?,
            held_by: change(row, "held_since", "held_by")?,
        },
        partition_key: row.try_get("partition_key")?,
        lane: row.try_get("lane")?,
    })
}

fn change(row: &Row, at: &str, by: &str) -> Result<Option<Change>, StoreError> {
    let (at, by): (Option<_>, Option<_>) = (row.try_get(at)?, row.try_get(by)?);
    Ok(at.zip(by).map(|(at, by)| Change { at, by }))
}

fn worker(row: &Row) -> Result<WorkerFacts, StoreError> {
    Ok(WorkerFacts {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        in_flight: row.try_get("in_flight")?,
        capacity: row.try_get("capacity")?,
        gone: row.try_get("gone")?,
        has_session: row.try_get("has_session")?,
        heartbeat_at: row.try_get("heartbeat_at")?,
        lease: Duration::try_from_secs_f64(row.try_get("lease_seconds")?)
            .map_err(|error| StoreError::Unexpected(format!("workers.lease: {error}")))?,
        topics: TopicScope::of(row.try_get::<_, Option<Vec<String>>>("topics")?.as_deref()),
    })
}

fn subscription(row: &Row, partition_key: &str) -> Result<Subscription, StoreError> {
    Ok(Subscription {
        message: MessageFacts {
            id: row.try_get("message_id")?,
            partition_key: partition_key.to_owned(),
            created_at: row.try_get("message_created_at")?,
        },
        webhook: webhook(row)?,
        owed: row.try_get("owed")?,
        replayed_at: row.try_get("replayed_at")?,
        lane: if row.try_get("lane_found")? { Some(lane(row)?) } else { None },
        dead_letter: dead_letter(row)?,
        log: log(row)?,
    })
}

fn webhook(row: &Row) -> Result<WebhookFacts, StoreError> {
    let backfill: Option<i64> = row.try_get("backfill_job")?;
    let waits_for = row.try_get("backfill_waits_for")?;
    Ok(WebhookFacts {
        id: row.try_get("webhook_id")?,
        name: row.try_get("webhook")?,
        state: super::word(row, "state", WebhookState::parse)?,
        paused: row.try_get("paused")?,
        disabled_reason: row.try_get("disabled_reason")?,
        hold_until: row.try_get("hold_until")?,
        changed: change(row, "changed_at", "changed_by")?,
        created_at: row.try_get("webhook_created_at")?,
        open: row
            .try_get::<_, Option<_>>("opened_at")?
            .map(|at| Ok::<_, StoreError>((at, row.try_get("next_probe_at")?)))
            .transpose()?,
        backfill: backfill.map(|job| (job, waits_for)),
        max_in_flight: row.try_get("max_in_flight")?,
        rate_limit_per_second: row.try_get("rate_limit_per_second")?,
        // A message without a type, or one that was deleted, has no answer.
        types_match: row.try_get::<_, Option<_>>("types_match")?.unwrap_or(false),
        filter_matches: row.try_get::<_, Option<_>>("filter_matches")?.unwrap_or(false),
        in_flight: row.try_get("in_flight")?,
    })
}

fn lane(row: &Row) -> Result<LaneFacts, StoreError> {
    Ok(LaneFacts {
        due_at: row.try_get("due_at")?,
        halted: row.try_get("halted")?,
        halted_at: row.try_get("halted_at")?,
        failures: row.try_get("failures")?,
        head_message_id: row.try_get("head_message_id")?,
        batch_last: row.try_get("batch_last")?,
        last_error: row.try_get("lane_error")?,
        last_status_code: row.try_get("lane_status_code")?,
        claimed_by: row.try_get("claimed_by")?,
        claimed_at: row.try_get("claimed_at")?,
        head: row.try_get("head")?,
    })
}

fn dead_letter(row: &Row) -> Result<Option<DeadLetterFacts>, StoreError> {
    let Some(id) = row.try_get("dead_letter_id")? else { return Ok(None) };
    Ok(Some(DeadLetterFacts {
        id,
        reason: super::word(row, "dead_reason", dead_letter::Reason::parse)?,
        attempts: row.try_get("dead_attempts")?,
        at: row.try_get("dead_at")?,
        last_error: row.try_get("dead_error")?,
        status_code: row.try_get("dead_status_code")?,
    }))
}

fn log(row: &Row) -> Result<LogFacts, StoreError> {
    let began: Option<Timestamp> = row.try_get("accepted_at")?;
    Ok(LogFacts {
        attempts: row.try_get("logged")?,
        accepted: began.zip(row.try_get("accepted_end")?),
        last_at: row.try_get("last_at")?,
        last_status_code: row.try_get("last_status_code")?,
        last_error: row.try_get("last_error")?,
    })
}
