//! The bodies and queries of lanes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    ErrorClass, PageQuery,
    number::{Whole, query_integer},
};
use crate::domain::lane;

words! {
    /// The state of a lane.
    #[serde(rename_all = "lowercase")]
    LaneState of lane::LaneState {
        /// It may be claimed.
        Ready,
        /// A worker holds it.
        Claimed,
        /// It is due later: an attempt failed, for example.
        Waiting,
        /// It is not sent until an operator releases it.
        Halted,
    }
}

/// Which lanes of a webhook to list, and which page.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LanesQuery {
    /// Only lanes in this state.
    state: Option<LaneState>,
    /// Only the lane of this partition; on an unordered topic, the lanes.
    partition_key: Option<String>,
    /// The most items on the page, 1 to 1000; 100 unless given.
    #[serde(default, deserialize_with = "query_integer")]
    limit: Option<i64>,
    /// `next` of the previous page.
    #[serde(default)]
    after: Option<String>,
}

impl LanesQuery {
    /// The filter, and the page.
    pub(crate) fn into_parts(self) -> (lane::LaneFilter, PageQuery) {
        let Self { state, partition_key, limit, after } = self;
        let filter = lane::LaneFilter { state: state.map(Into::into), partition_key };
        (filter, PageQuery { limit, after })
    }
}

/// The first message that a lane owes.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct LaneHead {
    /// Its id.
    message_id: i64,
    /// Its type.
    r#type: Option<String>,
    /// When it was published; null if it was deleted.
    created_at: Option<Timestamp>,
}

/// A lane: one partition of one webhook.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Lane {
    /// The id of the webhook.
    webhook_id: i64,
    /// The webhook's name.
    webhook: String,
    /// The topic's name.
    topic: String,
    /// The partition key.
    partition_key: String,
    /// On an unordered topic: the message, which names the lane. Null on an ordered topic, where the
    /// partition key does.
    message_id: Option<i64>,
    /// Its state.
    state: LaneState,
    /// The first message that it owes; null if it owes nothing any more.
    head: Option<LaneHead>,
    /// How many messages it owes.
    owed: i64,
    /// Whether it owes more than that: counting stops at 100.
    owed_capped: bool,
    /// How many attempts of the head have failed.
    failures: i32,
    /// The HTTP status of the last of them, if an answer came.
    last_status_code: Option<i16>,
    /// The kind of the last failure.
    last_error_class: Option<ErrorClass>,
    /// Why the last attempt failed.
    last_error: Option<String>,
    /// From when on it may be claimed; null if it is halted.
    due_at: Option<Timestamp>,
    /// The incarnation of the worker that holds it.
    worker: Option<uuid::Uuid>,
}

impl From<lane::Lane> for Lane {
    fn from(lane: lane::Lane) -> Self {
        let lane::Lane {
            key,
            webhook,
            topic,
            partition_key,
            message_id,
            state,
            head,
            owed,
            owed_capped,
            failures,
            last_status_code,
            last_error_class,
            last_error,
            due_at,
            worker,
        } = lane;
        let head = head.map(|lane::LaneHead { message_id, message_type, created_at }| LaneHead {
            message_id,
            r#type: message_type,
            created_at,
        });
        Self {
            webhook_id: key.webhook_id,
            webhook,
            topic,
            partition_key,
            message_id,
            state: state.into(),
            head,
            owed,
            owed_capped,
            failures,
            last_status_code,
            last_error_class: last_error_class.map(Into::into),
            last_error,
            due_at,
            worker,
        }
    }
}

/// Which lanes of a webhook are to be tried again now: one lane, those in a state, or all.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LaneRetry {
    /// Only the lane of this partition, on an ordered topic.
    #[serde(default)]
    partition_key: Option<String>,
    /// Only the lane of this message, on an unordered topic.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    message_id: Option<Whole<i64>>,
    /// Only lanes in this state: waiting or halted.
    #[serde(default)]
    state: Option<LaneState>,
    /// All lanes that wait or are halted.
    #[serde(default)]
    all: bool,
}

impl From<LaneRetry> for lane::LaneRetry {
    fn from(LaneRetry { partition_key, message_id, state, all }: LaneRetry) -> Self {
        let lane = lane::LaneName { partition_key, message_id: message_id.map(|id| id.0) };
        Self { lane, state: state.map(Into::into), all }
    }
}

/// How many lanes are tried again.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct RetriedLanes {
    /// Lanes that a worker holds are not counted: they are being sent.
    pub(crate) lanes: i64,
}

/// The head of a lane that is to be skipped.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LaneSkip {
    /// The lane's partition key; left out on an unordered topic.
    #[serde(default)]
    pub(crate) partition_key: Option<String>,
    /// The message. It must be the head, so that nothing else is skipped by mistake.
    #[schema(value_type = i64)]
    pub(crate) message_id: Whole<i64>,
}
