//! The bodies of messages.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    DeliveryStatus, PageQuery,
    headers::headers,
    number::{query_integer, query_time},
};
use crate::{
    api::json::Object,
    domain::{delivery, message},
};

/// Which messages to list, and which page.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct MessagesQuery {
    /// Only messages of this partition.
    partition_key: Option<String>,
    /// Only messages of this type.
    r#type: Option<String>,
    /// Only messages that were published at this time or later.
    #[serde(default, deserialize_with = "query_time")]
    since: Option<Timestamp>,
    /// Only messages that were published before this time.
    #[serde(default, deserialize_with = "query_time")]
    until: Option<Timestamp>,
    /// The most items on the page, 1 to 1000; 100 unless given.
    #[serde(default, deserialize_with = "query_integer")]
    limit: Option<i64>,
    /// `next` of the previous page.
    #[serde(default)]
    after: Option<String>,
}

impl MessagesQuery {
    /// The filter, and the page.
    pub(crate) fn into_parts(self) -> (message::MessageFilter, PageQuery) {
        let Self { partition_key, r#type, since, until, limit, after } = self;
        let filter = message::MessageFilter { partition_key, message_type: r#type, since, until };
        (filter, PageQuery { limit, after })
    }
}

/// A message to be published.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewMessage {
    /// Any JSON value. Its exact bytes are signed and sent.
    #[schema(value_type = serde_json::Value, examples(json!({"event": "order.created", "order": 17})))]
    payload: Box<RawValue>,
    /// Messages with the same key stay in order. 1 to 1024 bytes; `default` unless given.
    #[serde(default)]
    #[schema(examples("user-42"))]
    partition_key: Option<String>,
    /// What kind of event it is: 1 to 255 bytes. Webhooks may ask for some types only.
    #[serde(default)]
    #[schema(examples("order.created"))]
    r#type: Option<String>,
    /// Headers sent with the message: at most 64, and at most 8192 bytes as JSON.
    #[serde(default, deserialize_with = "headers")]
    headers: Option<BTreeMap<String, String>>,
    /// 1 to 255 bytes. Publishing again with the same key in the same topic publishes nothing, and
    /// gives the id of the first message.
    #[serde(default)]
    idempotency_key: Option<String>,
}

impl From<NewMessage> for message::NewMessage {
    fn from(new: NewMessage) -> Self {
        let NewMessage { payload, partition_key, r#type, headers, idempotency_key } = new;
        Self { payload, partition_key, r#type, headers, idempotency_key }
    }
}

/// Messages to be published together.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Batch {
    /// 1 to 10000 messages.
    #[schema(value_type = Vec<NewMessage>)]
    messages: Vec<Object<NewMessage>>,
}

impl Batch {
    /// The messages, in their order.
    pub(crate) fn into_messages(self) -> Vec<NewMessage> {
        self.messages.into_iter().map(|message| message.0).collect()
    }
}

/// The answer to a publisher.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Published {
    /// The message's id.
    id: i64,
    /// The topic's name.
    topic: String,
    /// Its partition key.
    partition_key: String,
    /// When it was published.
    created_at: Timestamp,
}

impl From<message::Published> for Published {
    fn from(published: message::Published) -> Self {
        // The status of the answer says whether it was published before: 200 or 201.
        let message::Published { id, topic, partition_key, created_at, repeated: _ } = published;
        Self { id, topic, partition_key, created_at }
    }
}

/// The messages of a published batch.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct PublishedBatch {
    /// Their ids, in the order of the request. If an idempotency key was used before, the id is
    /// that of the first message with the key.
    pub(crate) ids: Vec<i64>,
}

/// A message in a list, without its payload.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct MessageSummary {
    /// Its id.
    id: i64,
    /// Its partition key.
    partition_key: String,
    /// What kind of event it is; null if it has no type.
    r#type: Option<String>,
    /// The idempotency key that it was published with.
    idempotency_key: Option<String>,
    /// When it was published.
    created_at: Timestamp,
}

impl From<message::MessageSummary> for MessageSummary {
    fn from(summary: message::MessageSummary) -> Self {
        let message::MessageSummary { id, partition_key, r#type, idempotency_key, created_at } = summary;
        Self { id, partition_key, r#type, idempotency_key, created_at }
    }
}

/// A message with its payload and its deliveries.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct MessageStatus {
    /// Its id.
    id: i64,
    /// The topic's name.
    topic: String,
    /// Its partition key.
    partition_key: String,
    /// What kind of event it is; null if it has no type.
    r#type: Option<String>,
    /// The idempotency key that it was published with.
    idempotency_key: Option<String>,
    /// When it was published.
    created_at: Timestamp,
    /// The payload, byte for byte as it was published; null if it is hidden.
    #[schema(value_type = serde_json::Value)]
    payload: Option<Box<RawValue>>,
    /// The message's own headers; null if it has none, or if they are hidden.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    headers: Option<Box<RawValue>>,
    /// Whether payload and headers are hidden, because the token may not see them.
    payload_hidden: bool,
    /// One delivery for each webhook that is or was owed the message; at most 1000.
    deliveries: Vec<MessageDelivery>,
}

impl From<message::MessageStatus> for MessageStatus {
    fn from(status: message::MessageStatus) -> Self {
        let message::MessageStatus {
            id,
            topic,
            partition_key,
            r#type,
            idempotency_key,
            created_at,
            payload,
            headers,
            deliveries,
        } = status;
        let deliveries = deliveries.into_iter().map(MessageDelivery::from).collect();
        Self {
            id,
            topic,
            partition_key,
            r#type,
            idempotency_key,
            created_at,
            payload: Some(payload),
            headers,
            payload_hidden: false,
            deliveries,
        }
    }
}

impl MessageStatus {
    /// The same, for somebody who may not see payloads.
    pub(crate) fn without_payload(self) -> Self {
        Self { payload: None, headers: None, payload_hidden: true, ..self }
    }
}

/// The delivery of a message to one webhook.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct MessageDelivery {
    /// The id of the webhook.
    webhook_id: i64,
    /// Its status.
    status: DeliveryStatus,
    /// How many requests were made for it, as the dead letter or the attempt log says.
    attempts: i64,
}

impl From<delivery::MessageDelivery> for MessageDelivery {
    fn from(delivery: delivery::MessageDelivery) -> Self {
        let delivery::MessageDelivery { webhook_id, status, attempts } = delivery;
        Self { webhook_id, status: status.into(), attempts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_keeps_its_bytes() {
        let text = r#"{"payload": { "b" :1.0,  "a": "\u0000\u00e9", "a":1e400 } }"#;
        let message: NewMessage = serde_json::from_str(text).unwrap();
        assert_eq!(message.payload.get(), r#"{ "b" :1.0,  "a": "\u0000\u00e9", "a":1e400 }"#);
    }

    #[test]
    fn null_is_a_payload_and_nothing_is_none() {
        let message: NewMessage = serde_json::from_str(r#"{"payload":null}"#).unwrap();
        assert_eq!(message.payload.get(), "null");
        let error = serde_json::from_str::<NewMessage>("{}").err().unwrap();
        assert!(error.to_string().contains("missing field `payload`"), "{error}");
    }
}
