//! The bodies and queries of dead letters.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    ErrorClass, PageQuery,
    number::{query_integer, query_time},
};
use crate::domain::{dead_letter, topic::TopicRef};

/// Which dead letters to list, and which page.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeadLettersQuery {
    /// Only dead letters of this topic, by id or name.
    topic: Option<String>,
    /// Only dead letters of this webhook.
    #[serde(default, deserialize_with = "query_integer")]
    webhook_id: Option<i64>,
    /// Only dead letters of this partition.
    partition_key: Option<String>,
    /// Only dead letters of messages of this type.
    r#type: Option<String>,
    /// Only dead letters with this reason. Without it, those that were canceled or superseded are
    /// left out.
    reason: Option<Reason>,
    /// Only dead letters whose last attempt failed in this way.
    error_class: Option<ErrorClass>,
    /// Only dead letters whose last attempt was answered with this HTTP status.
    #[serde(default, deserialize_with = "query_integer")]
    status_code: Option<i64>,
    /// Only dead letters that were given up at this time or later.
    #[serde(default, deserialize_with = "query_time")]
    since: Option<Timestamp>,
    /// Only dead letters that were given up before this time.
    #[serde(default, deserialize_with = "query_time")]
    until: Option<Timestamp>,
    /// The most items on the page, 1 to 1000; 100 unless given.
    #[serde(default, deserialize_with = "query_integer")]
    limit: Option<i64>,
    /// `next` of the previous page.
    #[serde(default)]
    after: Option<String>,
}

impl DeadLettersQuery {
    /// The filter, and the page.
    pub(crate) fn into_parts(self) -> (DeadLetterFilterQuery, PageQuery) {
        let Self {
            topic,
            webhook_id,
            partition_key,
            r#type,
            reason,
            error_class,
            status_code,
            since,
            until,
            limit,
            after,
        } = self;
        let filter = DeadLetterFilterQuery {
            topic,
            webhook_id,
            partition_key,
            r#type,
            reason,
            error_class,
            status_code,
            since,
            until,
        };
        (filter, PageQuery { limit, after })
    }
}

/// Which dead letters to count or to group.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeadLetterFilterQuery {
    /// Only dead letters of this topic, by id or name.
    pub(crate) topic: Option<String>,
    /// Only dead letters of this webhook.
    #[serde(default, deserialize_with = "query_integer")]
    pub(crate) webhook_id: Option<i64>,
    /// Only dead letters of this partition.
    pub(crate) partition_key: Option<String>,
    /// Only dead letters of messages of this type.
    pub(crate) r#type: Option<String>,
    /// Only dead letters with this reason. Without it, those that were canceled or superseded are
    /// left out.
    pub(crate) reason: Option<Reason>,
    /// Only dead letters whose last attempt failed in this way.
    pub(crate) error_class: Option<ErrorClass>,
    /// Only dead letters whose last attempt was answered with this HTTP status.
    #[serde(default, deserialize_with = "query_integer")]
    pub(crate) status_code: Option<i64>,
    /// Only dead letters that were given up at this time or later.
    #[serde(default, deserialize_with = "query_time")]
    pub(crate) since: Option<Timestamp>,
    /// Only dead letters that were given up before this time.
    #[serde(default, deserialize_with = "query_time")]
    pub(crate) until: Option<Timestamp>,
}

impl DeadLetterFilterQuery {
    /// The filter. `topic` reads a topic's id or name.
    pub(crate) fn into_filter<E>(
        self,
        topic: impl Fn(&str) -> Result<TopicRef, E>,
    ) -> Result<dead_letter::DeadLetterFilter, E> {
        Ok(dead_letter::DeadLetterFilter {
            topic: self.topic.as_deref().map(topic).transpose()?,
            webhook_id: self.webhook_id,
            partition_key: self.partition_key,
            message_type: self.r#type,
            reason: self.reason.map(Into::into),
            error_class: self.error_class.map(Into::into),
            status_code: self.status_code,
            since: self.since,
            until: self.until,
        })
    }
}

/// How many dead letters there are.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct DeadLetterCount {
    /// The exact number.
    pub(crate) count: i64,
}

words! {
    /// Why a delivery was given up.
    #[serde(rename_all = "snake_case")]
    Reason of dead_letter::Reason {
        /// It used up its attempts.
        AttemptsExhausted,
        /// No request can be made for it, or the webhook takes its answer as final.
        Permanent,
        /// It was older than its webhook allows.
        Expired,
        /// Its webhook was owed more than it allows.
        Overflow,
        /// An operator skipped it.
        Skipped,
        /// Its message was deleted before it was delivered.
        MessageMissing,
        /// An operator canceled it.
        Canceled,
        /// A later message of its lane took its place.
        Superseded,
    }
}

/// A dead letter in a list.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct DeadLetter {
    /// Its id.
    id: i64,
    /// The webhook that it was owed to.
    webhook_id: i64,
    /// The webhook's name.
    webhook: String,
    /// The topic's name.
    topic: String,
    /// The id of the message.
    message_id: i64,
    /// The partition key. It stays if the message is deleted.
    partition_key: String,
    /// The message's type. It stays if the message is deleted.
    r#type: Option<String>,
    /// Why it was given up.
    reason: Reason,
    /// How many attempts were made.
    attempts: i32,
    /// The kind of the last failure; null if there was none.
    error_class: Option<ErrorClass>,
    /// The HTTP status of the last attempt, if an answer came.
    status_code: Option<i16>,
    /// Why the last attempt failed, or that the message was deleted.
    last_error: Option<String>,
    /// When it was given up.
    created_at: Timestamp,
    /// Whether its message was deleted. Then it cannot be replayed.
    message_gone: bool,
}

impl From<dead_letter::DeadLetter> for DeadLetter {
    fn from(dead_letter: dead_letter::DeadLetter) -> Self {
        let dead_letter::DeadLetter {
            id,
            webhook_id,
            webhook,
            topic,
            message_id,
            partition_key,
            message_type,
            reason,
            attempts,
            error_class,
            status_code,
            last_error,
            created_at,
            message_gone,
        } = dead_letter;
        Self {
            id,
            webhook_id,
            webhook,
            topic,
            message_id,
            partition_key,
            r#type: message_type,
            reason: reason.into(),
            attempts,
            error_class: error_class.map(Into::into),
            status_code,
            last_error,
            created_at,
            message_gone,
        }
    }
}

/// Dead letters of one webhook, one reason, one kind of failure and one hour.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct DeadLetterGroup {
    /// The webhook that they were owed to.
    webhook_id: i64,
    /// The webhook's name.
    webhook: String,
    /// The topic's name.
    topic: String,
    /// Why they were given up.
    reason: Reason,
    /// The kind of their last failure.
    error_class: Option<ErrorClass>,
    /// The HTTP status of their last attempt.
    status_code: Option<i16>,
    /// The hour in which they were given up.
    hour: Timestamp,
    /// How many they are.
    count: i64,
    /// When the first of them was given up.
    first_at: Timestamp,
    /// When the last of them was given up.
    last_at: Timestamp,
    /// The newest of them.
    sample_id: i64,
    /// Its error.
    sample_error: Option<String>,
    /// Whether the webhook may have older dead letters that were not looked at.
    capped: bool,
}

impl From<dead_letter::DeadLetterGroup> for DeadLetterGroup {
    fn from(group: dead_letter::DeadLetterGroup) -> Self {
        let dead_letter::DeadLetterGroup {
            webhook_id,
            webhook,
            topic,
            reason,
            error_class,
            status_code,
            hour,
            count,
            first_at,
            last_at,
            sample_id,
            sample_error,
            capped,
        } = group;
        Self {
            webhook_id,
            webhook,
            topic,
            reason: reason.into(),
            error_class: error_class.map(Into::into),
            status_code,
            hour,
            count,
            first_at,
            last_at,
            sample_id,
            sample_error,
            capped,
        }
    }
}

/// A dead letter with the payload and the headers of its message.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct DeadLetterDetail {
    /// The dead letter.
    #[serde(flatten)]
    dead_letter: DeadLetter,
    /// The message's payload, byte for byte; null if the message was deleted, or if it is hidden.
    #[schema(value_type = serde_json::Value)]
    payload: Option<Box<RawValue>>,
    /// The message's own headers; null if it has none, was deleted, or if they are hidden.
    #[schema(value_type = Option<std::collections::BTreeMap<String, String>>)]
    headers: Option<Box<RawValue>>,
    /// Whether payload and headers are hidden, because the token may not see them.
    payload_hidden: bool,
}

impl From<dead_letter::DeadLetterDetail> for DeadLetterDetail {
    fn from(detail: dead_letter::DeadLetterDetail) -> Self {
        let dead_letter::DeadLetterDetail { dead_letter, payload, headers } = detail;
        Self { dead_letter: dead_letter.into(), payload, headers, payload_hidden: false }
    }
}

impl DeadLetterDetail {
    /// The same, for somebody who may not see payloads.
    pub(crate) fn without_payload(self) -> Self {
        Self { payload: None, headers: None, payload_hidden: true, ..self }
    }
}
