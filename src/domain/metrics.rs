//! What metrics count, and the words in their labels.

use super::words::stored_words;

stored_words! {
    /// What became of a request to publish.
    pub enum PublishResult {
        /// It was published.
        Published = "published",
        /// Its idempotency key was used before.
        Repeated = "repeated",
        /// The request breaks a rule.
        Refused = "refused",
        /// Something is wrong on this side.
        Failed = "failed",
    }
}

stored_words! {
    /// What led to a look for what is to be sent.
    pub enum WakeupSource {
        /// Publishers notified.
        Notification = "notification",
        /// It was time.
        Poll = "poll",
        /// It was time to look also for lanes of workers that are gone.
        Sweep = "sweep",
        /// It was time to see what was published to lanes that this worker holds.
        Tail = "tail",
    }
}

/// The connections of a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolConnections {
    /// A statement runs on them.
    pub in_use: usize,
    /// They are open, and wait for one.
    pub idle: usize,
}

/// How many requests used which connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConnectionUses {
    /// Requests on a new connection.
    pub new: u64,
    /// Requests on a connection that was kept from an earlier request.
    pub reused: u64,
}
