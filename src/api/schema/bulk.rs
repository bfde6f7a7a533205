//! The bodies of bulk requests, which lead to jobs.

use jiff::Timestamp;
use serde::Deserialize;

use super::{ErrorClass, Reason, number::Whole, place::Point};
use crate::domain::{dead_letter::DeadLetterFilter, job, range, topic::TopicRef};

/// Which messages to deliver once more.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplayRequest {
    /// The first message: its id, or the time from which on messages were created. Needed unless
    /// `all` is true.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    from: Option<Point>,
    /// The last message: its id, or the time before which messages were created. Up to now unless
    /// given.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    to: Option<Point>,
    /// Only messages of this partition.
    #[serde(default)]
    partition_key: Option<String>,
    /// Only messages of this type.
    #[serde(default)]
    r#type: Option<String>,
    /// Only messages that are dead letters of the webhook.
    #[serde(default)]
    only_failed: bool,
    /// Whether every message of the topic is meant, if no range is given.
    #[serde(default)]
    all: bool,
    /// Whether to count only. Then nothing is done.
    #[serde(default)]
    dry_run: bool,
    /// How many messages to deal with a second; 0.001 to 1000000. No limit unless given.
    #[serde(default)]
    rate_per_second: Option<f64>,
}

impl ReplayRequest {
    /// The range, and the rest.
    pub(crate) fn into_parts(self) -> (range::MessageRange, job::BulkOptions) {
        let Self { from, to, partition_key, r#type, only_failed, all, dry_run, rate_per_second } = self;
        let (from, to) = (from.map(Into::into), to.map(Into::into));
        let range = range::MessageRange { from, to, partition_key, message_type: r#type, only_failed };
        (range, job::BulkOptions { all, dry_run, rate_per_second })
    }
}

/// Which messages not to deliver any more.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CancelRequest {
    /// The first message: its id, or the time from which on messages were created.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    from: Option<Point>,
    /// The last message: its id, or the time before which messages were created.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    to: Option<Point>,
    /// Only messages of this partition.
    #[serde(default)]
    partition_key: Option<String>,
    /// Only messages of this type.
    #[serde(default)]
    r#type: Option<String>,
    /// Whether everything that is owed is meant, if nothing else is given.
    #[serde(default)]
    all: bool,
    /// Whether to count only. Then nothing is done.
    #[serde(default)]
    dry_run: bool,
    /// How many messages to deal with a second; 0.001 to 1000000. No limit unless given.
    #[serde(default)]
    rate_per_second: Option<f64>,
}

impl CancelRequest {
    /// The range, and the rest.
    pub(crate) fn into_parts(self) -> (range::MessageRange, job::BulkOptions) {
        let Self { from, to, partition_key, r#type, all, dry_run, rate_per_second } = self;
        let (from, to) = (from.map(Into::into), to.map(Into::into));
        let range = range::MessageRange { from, to, partition_key, message_type: r#type, only_failed: false };
        (range, job::BulkOptions { all, dry_run, rate_per_second })
    }
}

/// Which dead letters to replay or to discard.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeadLettersRequest {
    /// Only dead letters of this topic, by id or name.
    #[serde(default)]
    topic: Option<String>,
    /// Only dead letters of this webhook.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    webhook_id: Option<Whole<i64>>,
    /// Only dead letters of this partition.
    #[serde(default)]
    partition_key: Option<String>,
    /// Only dead letters of messages of this type.
    #[serde(default)]
    r#type: Option<String>,
    /// Only dead letters with this reason. Without it, those that were canceled or superseded are
    /// left out.
    #[serde(default)]
    reason: Option<Reason>,
    /// Only dead letters whose last attempt failed in this way.
    #[serde(default)]
    error_class: Option<ErrorClass>,
    /// Only dead letters whose last attempt was answered with this HTTP status.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    status_code: Option<Whole<i64>>,
    /// Only dead letters that were given up at this time or later.
    #[serde(default)]
    since: Option<Timestamp>,
    /// Only dead letters that were given up before this time.
    #[serde(default)]
    until: Option<Timestamp>,
    /// Whether all dead letters are meant, if nothing else is given.
    #[serde(default)]
    all: bool,
    /// Whether to count only. Then nothing is done.
    #[serde(default)]
    dry_run: bool,
    /// How many dead letters to deal with a second; 0.001 to 1000000. No limit unless given.
    #[serde(default)]
    rate_per_second: Option<f64>,
}

impl DeadLettersRequest {
    /// The filter, and the rest. `topic` reads a topic's id or name.
    pub(crate) fn into_parts<E>(
        self,
        topic: impl Fn(&str) -> Result<TopicRef, E>,
    ) -> Result<(DeadLetterFilter, job::BulkOptions), E> {
        let filter = DeadLetterFilter {
            topic: self.topic.as_deref().map(topic).transpose()?,
            webhook_id: self.webhook_id.map(|id| id.0),
            partition_key: self.partition_key,
            message_type: self.r#type,
            reason: self.reason.map(Into::into),
            error_class: self.error_class.map(Into::into),
            status_code: self.status_code.map(|code| code.0),
            since: self.since,
            until: self.until,
        };
        let Self { all, dry_run, rate_per_second, .. } = self;
        Ok((filter, job::BulkOptions { all, dry_run, rate_per_second }))
    }
}

/// How to delete what is past its retention.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PurgeRequest {
    /// How many rows to delete a second; 0.001 to 1000000. No limit unless given.
    #[serde(default)]
    pub(crate) rate_per_second: Option<f64>,
}
