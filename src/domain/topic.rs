//! A topic: a named stream of messages.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Whether a topic keeps its partitions in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ordering {
    /// Messages with the same partition key are delivered in commit order.
    #[default]
    Partition,
    /// Every message stands alone and is its own lane.
    None,
}

impl Ordering {
    /// The word stored in `topics.ordering`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Partition => "partition",
            Self::None => "none",
        }
    }

    /// The ordering that a stored word names.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Partition, Self::None].into_iter().find(|ordering| ordering.as_str() == word)
    }
}

/// A topic as its operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Topic {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Whether partitions are kept in order.
    pub ordering: Ordering,
    /// How long messages that nobody is owed any more are kept; null keeps them.
    pub retention_seconds: Option<i64>,
    /// A paused topic refuses messages.
    pub paused: bool,
    /// When it was created.
    pub created_at: Timestamp,
}

/// A topic and what it owes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TopicStatus {
    /// The topic.
    #[serde(flatten)]
    pub topic: Topic,
    /// Deliveries that are still owed, over all its webhooks. Exact up to 10000.
    pub backlog: i64,
    /// There are more than `backlog` says.
    pub backlog_capped: bool,
}

/// What came of asking for a topic to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicDeletion {
    /// There is no such topic.
    Unknown,
    /// It still has this many webhooks, and was left alone.
    InUse(i64),
    /// It is gone, and with it this many webhooks and pending deliveries.
    Deleted {
        /// Webhooks that went with it.
        webhooks: i64,
        /// Deliveries that nobody will make.
        dropped_deliveries: i64,
    },
}
