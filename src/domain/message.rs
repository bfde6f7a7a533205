//! A message: one published event.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

/// A message as a worker reads it to send it.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its id; ids rise in commit order within a partition.
    pub id: i64,
    /// Its partition key.
    pub partition_key: Arc<str>,
    /// The payload, byte for byte as it was published: what is signed and sent. Clones share the bytes.
    pub payload: Bytes,
    /// The message's own headers: a JSON object of strings, unparsed.
    pub headers: Option<String>,
    /// When it was published, by the publisher's transaction.
    pub created_at: Timestamp,
}
