//! The bodies and queries of topics.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    number::{Whole, query_boolean},
    present,
};
use crate::domain::topic;

words! {
    /// Whether a topic keeps its partitions in order.
    #[derive(Default)]
    #[serde(rename_all = "lowercase")]
    Ordering of topic::Ordering {
        /// Messages with the same partition key are delivered in commit order.
        #[default]
        Partition,
        /// Messages have no order. Each one is a lane of its own.
        None,
    }
}

words! {
    /// How a topic is paused.
    #[derive(Default)]
    #[serde(rename_all = "lowercase")]
    TopicPause of topic::TopicPause {
        /// It refuses messages.
        #[default]
        Refuse,
        /// It accepts messages, and they are owed. Nothing of the topic is sent.
        Hold,
    }
}

/// A topic to be created.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTopic {
    /// 1 to 255 characters of `[A-Za-z0-9._-]`, not all digits, and neither `.` nor `..`.
    #[schema(examples("orders"))]
    name: String,
    /// Whether partitions are kept in order. Never changes.
    #[serde(default)]
    ordering: Ordering,
    /// How long messages are kept, in seconds since they were published; 0 to 3162240000, and 0
    /// keeps them for ever. A message that is owed or a dead letter is kept longer. Null: as the
    /// setting `retention.messages_days` says.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    retention_seconds: Option<Whole<i64>>,
}

impl From<NewTopic> for topic::NewTopic {
    fn from(NewTopic { name, ordering, retention_seconds }: NewTopic) -> Self {
        let retention_seconds = retention_seconds.map(|seconds| seconds.0);
        Self { name, ordering: ordering.into(), retention_seconds }
    }
}

/// Changes of a topic. A field that is left out stays as it is.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "three cases: left out, null, a value")]
pub(crate) struct TopicChanges {
    /// How long messages are kept, in seconds since they were published; 0 to 3162240000, and 0
    /// keeps them for ever. A message that is owed or a dead letter is kept longer. Null: as the
    /// setting `retention.messages_days` says.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i64>)]
    retention_seconds: Option<Option<Whole<i64>>>,
    /// How it is paused: `refuse` (it refuses messages) or `hold` (it accepts them, but nothing of
    /// the topic is sent). Null ends a pause.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<TopicPause>)]
    paused: Option<Option<TopicPause>>,
}

impl From<TopicChanges> for topic::TopicChanges {
    fn from(TopicChanges { retention_seconds, paused }: TopicChanges) -> Self {
        let retention_seconds = retention_seconds.map(|seconds| seconds.map(|seconds| seconds.0));
        Self { retention_seconds, paused: paused.map(|paused| paused.map(Into::into)) }
    }
}

/// What a topic is to be. A field that is left out stays as it is, and has its default in a new
/// topic.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "three cases: left out, null, a value")]
pub(crate) struct PutTopic {
    /// Whether partitions are kept in order. Never changes: a topic that has another ordering is
    /// refused.
    #[serde(default)]
    ordering: Option<Ordering>,
    /// How long messages are kept, in seconds since they were published; 0 to 3162240000, and 0
    /// keeps them for ever. A message that is owed or a dead letter is kept longer. Null: as the
    /// setting `retention.messages_days` says.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i64>)]
    retention_seconds: Option<Option<Whole<i64>>>,
    /// How it is paused: `refuse` (it refuses messages) or `hold` (it accepts them, but nothing of
    /// the topic is sent). Null ends a pause.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<TopicPause>)]
    paused: Option<Option<TopicPause>>,
}

impl PutTopic {
    /// The ordering, and what may change.
    pub(crate) fn into_parts(self) -> (Option<topic::Ordering>, topic::TopicChanges) {
        let Self { ordering, retention_seconds, paused } = self;
        (ordering.map(Into::into), TopicChanges { retention_seconds, paused }.into())
    }
}

/// How to pause a topic.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PauseTopic {
    /// `refuse` (the topic refuses messages) or `hold` (it accepts them, but nothing of it is sent);
    /// `refuse` unless given.
    #[serde(default)]
    mode: TopicPause,
}

impl From<PauseTopic> for topic::TopicPause {
    fn from(PauseTopic { mode }: PauseTopic) -> Self {
        mode.into()
    }
}

/// A topic as operators see it.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Topic {
    /// Its id.
    id: i64,
    /// Its name.
    name: String,
    /// Whether partitions are kept in order.
    ordering: Ordering,
    /// How long messages are kept, in seconds since they were published; 0 for ever. A message that
    /// is owed or a dead letter is kept longer. Null: as the setting `retention.messages_days`
    /// says.
    retention_seconds: Option<i64>,
    /// How it is paused: `refuse` (it refuses messages) or `hold` (it accepts them, but nothing of
    /// the topic is sent); null if it is not.
    paused: Option<TopicPause>,
    /// When it was created.
    created_at: Timestamp,
}

impl From<topic::Topic> for Topic {
    fn from(topic: topic::Topic) -> Self {
        let topic::Topic { id, name, ordering, retention_seconds, paused, created_at } = topic;
        Self {
            id,
            name,
            ordering: ordering.into(),
            retention_seconds,
            paused: paused.map(Into::into),
            created_at,
        }
    }
}

/// A topic and its backlog.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct TopicStatus {
    /// The topic.
    #[serde(flatten)]
    topic: Topic,
    /// How many deliveries are still owed, over all its webhooks. Exact up to 10000.
    backlog: i64,
    /// Whether there are more than `backlog` says.
    backlog_capped: bool,
}

impl From<topic::TopicStatus> for TopicStatus {
    fn from(topic::TopicStatus { topic, backlog, backlog_capped }: topic::TopicStatus) -> Self {
        Self { topic: topic.into(), backlog, backlog_capped }
    }
}

/// How to delete a topic.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteTopicQuery {
    /// Delete the topic's webhooks too, with their backlogs and dead letters.
    #[serde(default, deserialize_with = "query_boolean")]
    pub(crate) force: bool,
}

/// What was deleted with a topic.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct DeletedTopic {
    /// Always true.
    deleted: bool,
    /// How many webhooks were deleted with it.
    webhooks: i64,
    /// How many deliveries were still owed and are dropped.
    dropped_deliveries: i64,
}

impl From<topic::DeletedTopic> for DeletedTopic {
    fn from(topic::DeletedTopic { webhooks, dropped_deliveries }: topic::DeletedTopic) -> Self {
        Self { deleted: true, webhooks, dropped_deliveries }
    }
}
