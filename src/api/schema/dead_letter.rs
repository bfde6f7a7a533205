//! The bodies and queries of dead letters.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{PageQuery, number::query_integer};
use crate::domain::dead_letter;

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
    /// The most items on the page, 1 to 1000; 100 unless given.
    #[serde(default, deserialize_with = "query_integer")]
    limit: Option<i64>,
    /// `next` of the previous page.
    #[serde(default)]
    after: Option<String>,
}

impl DeadLettersQuery {
    /// The filter, and the page.
    pub(crate) fn into_parts(self) -> (CountQuery, PageQuery) {
        let Self { topic, webhook_id, limit, after } = self;
        (CountQuery { topic, webhook_id }, PageQuery { limit, after })
    }
}

/// Which dead letters to count.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CountQuery {
    /// Only dead letters of this topic, by id or name.
    pub(crate) topic: Option<String>,
    /// Only dead letters of this webhook.
    #[serde(default, deserialize_with = "query_integer")]
    pub(crate) webhook_id: Option<i64>,
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
    /// The topic's name.
    topic: String,
    /// The id of the message.
    message_id: i64,
    /// The partition key. It stays if the message is deleted.
    partition_key: String,
    /// Why it was given up.
    reason: Reason,
    /// How many attempts were made.
    attempts: i32,
    /// Why the last attempt failed, or that the message was deleted.
    last_error: Option<String>,
    /// When it was given up.
    created_at: Timestamp,
}

impl From<dead_letter::DeadLetter> for DeadLetter {
    fn from(dead_letter: dead_letter::DeadLetter) -> Self {
        let dead_letter::DeadLetter {
            id,
            webhook_id,
            topic,
            message_id,
            partition_key,
            reason,
            attempts,
            last_error,
            created_at,
        } = dead_letter;
        Self {
            id,
            webhook_id,
            topic,
            message_id,
            partition_key,
            reason: reason.into(),
            attempts,
            last_error,
            created_at,
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
