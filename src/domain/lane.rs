//! A lane: one partition of one webhook, the unit of ordering, of claiming and of retry.

/// The key of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneKey {
    /// The id of the webhook.
    pub webhook_id: i64,
    /// `hashtextextended(partition_key, topic_id)`; the message's id if the topic is unordered.
    pub lane: i64,
}
