//! A lane: one partition of one webhook, the unit of ordering, of claiming and of retry.

/// Names a lane. `lane` is the hash of topic and partition key, or the message's id where the topic
/// is unordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneKey {
    /// The webhook.
    pub webhook_id: i64,
    /// `hashtextextended(partition_key, topic_id)`, or the message's id.
    pub lane: i64,
}
