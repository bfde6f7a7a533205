//! What a message is made of, and the rules it must keep.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    headers::{Headers, check_headers, headers_json},
    violation::Violations,
};

/// The longest partition key, in bytes.
const PARTITION_KEY_MAX: usize = 1024;
/// The longest idempotency key, in bytes.
const IDEMPOTENCY_KEY_MAX: usize = 255;
/// The most messages in one batch.
pub const BATCH_MAX: usize = 10_000;

/// A message to be published.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// Any JSON value. Its very bytes are signed and sent.
    #[schema(value_type = serde_json::Value, examples(json!({"event": "order.created", "order": 17})))]
    pub payload: Box<RawValue>,
    /// Messages with one key stay in order; `default` unless given.
    #[serde(default)]
    #[schema(examples("user-42"))]
    pub partition_key: Option<String>,
    /// Headers sent with the message: at most 64, of at most 8192 bytes as JSON.
    #[serde(default)]
    pub headers: Option<Headers>,
    /// Publishing again with a key that was used in this topic publishes nothing and answers the first id.
    #[serde(default)]
    pub idempotency_key: Option<String>,
}

impl NewMessage {
    /// Whether every rule holds, but for those of header names and values, which sending sets.
    pub fn check(&self) -> Result<(), Violations> {
        let mut violations = Violations::default();
        check_key(self.partition_key.as_deref(), "partition_key", PARTITION_KEY_MAX, &mut violations);
        check_key(self.idempotency_key.as_deref(), "idempotency_key", IDEMPOTENCY_KEY_MAX, &mut violations);
        check_headers(self.headers.as_ref(), &mut violations);
        violations.finish()
    }

    /// The headers as the JSON text that is stored.
    pub fn headers_json(&self) -> Option<String> {
        self.headers.as_ref().map(headers_json)
    }
}

fn check_key(key: Option<&str>, field: &str, max: usize, violations: &mut Violations) {
    let Some(key) = key else { return };
    violations.require((1..=max).contains(&key.len()), field, &format!("must be 1 to {max} bytes long"));
    violations.require(!key.contains('\0'), field, "must not hold the character U+0000");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(partition_key: &str, idempotency_key: &str) -> NewMessage {
        NewMessage {
            payload: RawValue::from_string("null".to_owned()).unwrap(),
            partition_key: Some(partition_key.to_owned()),
            headers: None,
            idempotency_key: Some(idempotency_key.to_owned()),
        }
    }

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
        let error = serde_json::from_str::<NewMessage>("{}").unwrap_err();
        assert!(error.to_string().contains("missing field `payload`"), "{error}");
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
