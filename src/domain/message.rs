//! A message: one published event. This file also holds the rules that a new message must keep.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::value::RawValue;

use super::{
    delivery::MessageDelivery,
    headers::{Headers, check_headers, headers_json},
    key::{IDEMPOTENCY_KEY_MAX, PARTITION_KEY_MAX, check_key},
    message_type::check_type,
    violation::Violations,
};

/// How many messages one page of a topic's messages looks at. Those of other topics count too.
pub const LOOKED_AT_MAX: i64 = 50_000;

/// A message as a worker reads and sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its id; ids rise in commit order within a partition.
    pub id: i64,
    /// Its partition key.
    pub partition_key: Arc<str>,
    /// What kind of event it is.
    pub r#type: Option<String>,
    /// The payload, byte for byte as it was published. These bytes are signed and sent. Clones
    /// share them.
    pub payload: Bytes,
    /// The message's own headers: a JSON object of strings, unparsed.
    pub headers: Option<String>,
    /// When it was published: the start of the publisher's transaction, unless the publisher gave
    /// another time.
    pub created_at: Timestamp,
    /// Whether the webhook is sent it again on request: it was delivered or given up before.
    pub replay: bool,
    /// The instant from which its age counts, by the clock of this process.
    pub born: Instant,
}

impl Message {
    /// Whether it is too old to be sent. A replay never is: somebody has asked for it.
    pub fn is_expired(&self, max_age: Option<Duration>, now: Instant) -> bool {
        !self.replay && max_age.is_some_and(|most| now.saturating_duration_since(self.born) > most)
    }

    /// The length of payload and headers, in bytes. Budgets count these bytes.
    pub fn bytes(&self) -> usize {
        self.payload.len() + self.headers.as_ref().map_or(0, String::len)
    }
}

/// The answer to a publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The message's id.
    pub id: i64,
    /// The topic's name.
    pub topic: String,
    /// Its partition key.
    pub partition_key: String,
    /// When it was published.
    pub created_at: Timestamp,
    /// Whether its idempotency key was used before. If so, this is the message that was published
    /// first with the key.
    pub repeated: bool,
}

/// Messages that were published together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedBatch {
    /// The topic's name.
    pub topic: String,
    /// Their ids, in the order in which they were given.
    pub ids: Vec<i64>,
}

/// A message in a list, without its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageSummary {
    /// Its id.
    pub id: i64,
    /// Its partition key.
    pub partition_key: String,
    /// What kind of event it is.
    pub r#type: Option<String>,
    /// The idempotency key that it was published with.
    pub idempotency_key: Option<String>,
    /// When it was published.
    pub created_at: Timestamp,
}

/// A message with its payload and its deliveries.
#[derive(Debug, Clone)]
pub struct MessageStatus {
    /// Its id.
    pub id: i64,
    /// The topic's name.
    pub topic: String,
    /// Its partition key.
    pub partition_key: String,
    /// What kind of event it is.
    pub r#type: Option<String>,
    /// The idempotency key that it was published with.
    pub idempotency_key: Option<String>,
    /// When it was published.
    pub created_at: Timestamp,
    /// The payload, byte for byte as it was published.
    pub payload: Box<RawValue>,
    /// The message's own headers.
    pub headers: Option<Box<RawValue>>,
    /// One delivery for each webhook that is or was owed the message; at most 1000.
    pub deliveries: Vec<MessageDelivery>,
}

/// The most messages in one batch.
pub const BATCH_MAX: usize = 10_000;

/// Which messages of a topic to list. What is `None` does not count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageFilter {
    /// Only messages of this partition.
    pub partition_key: Option<String>,
    /// Only messages of this type.
    pub message_type: Option<String>,
    /// Only messages that were published at this time or later.
    pub since: Option<Timestamp>,
    /// Only messages that were published before this time.
    pub until: Option<Timestamp>,
}

impl MessageFilter {
    /// Checks that a message can have such a key and such a type.
    ///
    /// # Errors
    /// Every broken rule.
    pub fn check(&self) -> Result<(), Violations> {
        let mut violations = Violations::default();
        check_key(self.partition_key.as_deref(), "partition_key", PARTITION_KEY_MAX, &mut violations);
        check_type(self.message_type.as_deref(), &mut violations);
        violations.finish()
    }
}

/// A message to be published.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// Any JSON value. Its exact bytes are signed and sent.
    pub payload: Box<RawValue>,
    /// Messages with the same key stay in order. 1 to 1024 bytes; `None` is `default`.
    pub partition_key: Option<String>,
    /// What kind of event it is, such as `order.paid`: 1 to 255 bytes.
    pub r#type: Option<String>,
    /// Headers sent with the message: at most 64, and at most 8192 bytes as JSON.
    pub headers: Option<Headers>,
    /// 1 to 255 bytes. Publishing again with the same key in the same topic publishes nothing, and
    /// gives the id of the first message.
    pub idempotency_key: Option<String>,
}

/// Whether a message would be owed to a webhook, if it was published now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preview {
    /// The webhook.
    pub webhook_id: i64,
    /// Whether the webhook's types name the message's type.
    pub types_match: bool,
    /// Whether the webhook's filter lets the message through.
    pub filter_matches: bool,
    /// Whether the filter was evaluated. It lets a larger payload through as it is.
    pub filter_evaluated: bool,
}

impl NewMessage {
    /// Checks the keys, the type, and the number and length of the headers. `delivery::check_header` checks
    /// names and values.
    ///
    /// # Errors
    /// Every broken rule.
    pub fn check(&self) -> Result<(), Violations> {
        let mut violations = Violations::default();
        check_key(self.partition_key.as_deref(), "partition_key", PARTITION_KEY_MAX, &mut violations);
        check_key(self.idempotency_key.as_deref(), "idempotency_key", IDEMPOTENCY_KEY_MAX, &mut violations);
        check_type(self.r#type.as_deref(), &mut violations);
        check_headers(self.headers.as_ref(), &mut violations);
        violations.finish()
    }

    /// The headers as the JSON text that is stored.
    pub fn headers_json(&self) -> Option<String> {
        self.headers.as_ref().map(headers_json)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(partition_key: &str, idempotency_key: &str) -> NewMessage {
        NewMessage {
            payload: RawValue::from_string("null".to_owned()).unwrap(),
            partition_key: Some(partition_key.to_owned()),
            r#type: None,
            headers: None,
            idempotency_key: Some(idempotency_key.to_owned()),
        }
    }

    #[test]
    fn a_message_is_too_old_only_where_there_is_a_limit_and_never_if_somebody_has_asked_for_it() {
        let now = Instant::now();
        let message = |replay| Message {
            id: 1,
            partition_key: "a".into(),
            r#type: None,
            payload: "1".into(),
            headers: None,
            created_at: Timestamp::UNIX_EPOCH,
            replay,
            born: now,
        };
        let seconds = Duration::from_secs;
        for (age, limit, expired) in
            [(9, Some(9), false), (10, Some(9), true), (0, Some(1), false), (99, None, false)]
        {
            let limit = limit.map(seconds);
            assert_eq!(message(false).is_expired(limit, now + seconds(age)), expired, "{age} {limit:?}");
            assert!(!message(true).is_expired(limit, now + seconds(age)));
        }
    }

    #[test]
    fn the_headers_of_a_message_count_as_its_payload_does() {
        let mut message = Message {
            id: 1,
            partition_key: "a".into(),
            r#type: None,
            payload: "12345".into(),
            headers: None,
            created_at: Timestamp::UNIX_EPOCH,
            replay: false,
            born: Instant::now(),
        };
        assert_eq!(message.bytes(), 5);
        message.headers = Some(r#"{"x":"y"}"#.to_owned());
        assert_eq!(message.bytes(), 14);
    }

    #[test]
    fn the_limits_of_headers_hold() {
        let mut message = message("a", "once");
        message.headers = Some((0..64).map(|n| (format!("x-{n}"), String::new())).collect());
        assert_eq!(message.check(), Ok(()));
        message.headers.as_mut().unwrap().insert("x-64".to_owned(), String::new());
        let broken = message.check().unwrap_err().into_vec();
        assert_eq!(broken.iter().map(|violation| &*violation.field).collect::<Vec<_>>(), ["headers"]);
    }

    proptest! {
        #[test]
        fn keys_are_measured_in_bytes(partition in "\\PC{0,600}", idempotency in "\\PC{0,200}") {
            let fits = (1..=1024).contains(&partition.len()) && (1..=255).contains(&idempotency.len());
            prop_assert_eq!(message(&partition, &idempotency).check().is_ok(), fits);
        }

        #[test]
        fn no_key_holds_a_zero_character(before in "[a-z]{0,9}", after in "[a-z]{0,9}") {
            let key = format!("{before}\0{after}");
            prop_assert!(message(&key, "once").check().is_err());
            prop_assert!(message("user-1", &key).check().is_err());
        }
    }
}
