//! A topic: a named stream of messages.

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
