//! A message: one published event.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::delivery::MessageDelivery;

/// A message as a worker reads it to send it.
#[derive(Debug, Clone, PartialEq, Eq)]
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

impl Message {
    /// How many bytes of memory its payload and its headers take: what budgets of bytes count.
    pub fn bytes(&self) -> usize {
        self.payload.len() + self.headers.as_ref().map_or(0, String::len)
    }
}

/// What a publisher is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Published {
    /// The message's id.
    pub id: i64,
    /// The topic's name.
    pub topic: String,
    /// The partition it stands in.
    pub partition_key: String,
    /// When it was published.
    pub created_at: Timestamp,
    /// Its idempotency key was used before: this is the message it was first used for.
    #[serde(skip)]
    pub repeated: bool,
}

/// A message in a list, without its payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct MessageSummary {
    /// Its id.
    pub id: i64,
    /// Its partition key.
    pub partition_key: String,
    /// The idempotency key it was published with.
    pub idempotency_key: Option<String>,
    /// When it was published.
    pub created_at: Timestamp,
}

/// A message with everything known of it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct MessageStatus {
    /// Its id.
    pub id: i64,
    /// The topic's name.
    pub topic: String,
    /// Its partition key.
    pub partition_key: String,
    /// The idempotency key it was published with.
    pub idempotency_key: Option<String>,
    /// When it was published.
    pub created_at: Timestamp,
    /// The payload, byte for byte as it was published.
    #[schema(value_type = serde_json::Value)]
    pub payload: Box<RawValue>,
    /// The message's own headers.
    #[schema(value_type = Option<std::collections::BTreeMap<String, String>>)]
    pub headers: Option<Box<RawValue>>,
    /// Where it stands with each webhook that was, or is, owed it; at most 1000.
    pub deliveries: Vec<MessageDelivery>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_of_a_message_count_as_its_payload_does() {
        let mut message = Message {
            id: 1,
            partition_key: "a".into(),
            payload: "12345".into(),
            headers: None,
            created_at: Timestamp::UNIX_EPOCH,
        };
        assert_eq!(message.bytes(), 5);
        message.headers = Some(r#"{"x":"y"}"#.to_owned());
        assert_eq!(message.bytes(), 14);
    }
}
