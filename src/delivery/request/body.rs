//! The body of a request.
//!
//! Every format holds the payload byte for byte: it is copied, never parsed. It comes from a column
//! of type `json`, so the database has checked that it is one JSON value.

use std::fmt::Write as _;

use bytes::Bytes;

use crate::domain::{message::Message, webhook::Format};

/// About how many bytes an envelope adds to a payload.
const ENVELOPE_LENGTH: usize = 256;

/// The media type of a body. `batch`: it is an array of messages.
pub(super) fn content_type(format: Format, batch: bool) -> &'static str {
    match (format, batch) {
        (Format::Raw | Format::Envelope, _) => "application/json",
        // CloudEvents HTTP Protocol Binding 1.0, sections 3.2 and 3.3.
        (Format::CloudEvents, false) => "application/cloudevents+json",
        (Format::CloudEvents, true) => "application/cloudevents-batch+json",
    }
}

/// What all messages of a webhook have in common.
pub(super) struct Origin {
    pub(super) topic: String,
    /// The `source` of an event: a URI reference. Together with the id it is unique, so it names
    /// the installation, too.
    event_source: String,
}

impl Origin {
    /// `source` is the name of the installation.
    pub(super) fn new(source: &str, topic: &str) -> Self {
        let event_source = format!("/{}/topics/{}", encode_segment(source), encode_segment(topic));
        Self { topic: topic.to_owned(), event_source }
    }
}

/// A text as one segment of a path: each byte that is not unreserved (RFC 3986, section 2.3) is
/// percent-encoded.
fn encode_segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect(NO_FAILURE);
        }
    }
    encoded
}

/// The body for messages of a topic: one value, or with `batch` an array of values.
///
/// Without `batch` only the first message is used. A single raw payload is shared, not copied.
/// `name` is the id of an event that is no stored message.
pub(super) fn build(
    format: Format,
    origin: &Origin,
    messages: &[Message],
    batch: bool,
    name: Option<&str>,
) -> Bytes {
    if !batch {
        return match (messages, format) {
            ([], _) => Bytes::new(),
            ([message, ..], Format::Raw) => message.payload.clone(),
            ([message, ..], _) => {
                let mut body = Vec::with_capacity(message.payload.len() + ENVELOPE_LENGTH);
                write_value(&mut body, format, origin, message, name);
                body.into()
            }
        };
    }
    let length: usize = messages.iter().map(|message| message.payload.len() + ENVELOPE_LENGTH).sum();
    let mut body = Vec::with_capacity(length);
    body.push(b'[');
    for (index, message) in messages.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        write_value(&mut body, format, origin, message, name);
    }
    body.push(b']');
    body.into()
}

fn write_value(body: &mut Vec<u8>, format: Format, origin: &Origin, message: &Message, name: Option<&str>) {
    let Message { id, partition_key, r#type, payload, created_at, headers, replay: _, born: _ } = message;
    let mut head = String::new();
    match format {
        Format::Raw => {}
        Format::Envelope => {
            let (topic, partition_key) = (json_string(&origin.topic), json_string(partition_key));
            let headers = headers.as_deref().unwrap_or("null");
            let kind = r#type.as_deref().map_or_else(|| "null".to_owned(), json_string);
            write!(
                head,
                r#"{{"id":{id},"topic":{topic},"partition_key":{partition_key},"type":{kind},"created_at":"{created_at}","headers":{headers},"payload":"#
            )
            .expect(NO_FAILURE);
        }
        Format::CloudEvents => {
            let source = json_string(&origin.event_source);
            // A type is required (CloudEvents 1.0.2, section "type").
            let kind = json_string(r#type.as_deref().unwrap_or(&origin.topic));
            let id = name.map_or_else(|| format!("msg_{id}"), str::to_owned);
            write!(head, r#"{{"specversion":"1.0","id":"{id}","source":{source},"type":{kind},"#)
                .expect(NO_FAILURE);
            // A subject must not be empty (CloudEvents 1.0.2, section "subject").
            if !partition_key.is_empty() {
                write!(head, r#""subject":{},"#, json_string(partition_key)).expect(NO_FAILURE);
            }
            write!(head, r#""time":"{created_at}","datacontenttype":"application/json","data":"#)
                .expect(NO_FAILURE);
        }
    }
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(payload);
    if format != Format::Raw {
        body.push(b'}');
    }
}

const NO_FAILURE: &str = "writing to a String cannot fail";

fn json_string(text: &str) -> String {
    serde_json::to_string(text).expect("any string can be written as JSON")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;
    use serde_json::{Value, value::RawValue};

    use super::*;

    /// A text that changes if it is parsed and written again: odd spaces, key order, doubled keys,
    /// numbers.
    const ODD: &str = r#"{ "b":1.50, "a" : [1e200000,"\u0000\ud800"],"b":2 }"#;

    fn message(id: i64, partition_key: &str, payload: &str) -> Message {
        Message {
            r#type: None,
            replay: false,
            born: std::time::Instant::now(),
            id,
            partition_key: partition_key.into(),
            payload: payload.to_owned().into(),
            headers: None,
            created_at: Timestamp::from_millisecond(1_714_564_800_123).expect("in range"),
        }
    }

    fn text(format: Format, messages: &[Message], batch: bool) -> String {
        String::from_utf8(build(format, &Origin::new("pgtopic", "orders"), messages, batch, None).to_vec())
            .expect("UTF-8")
    }

    #[test]
    fn raw_is_the_payload_and_shares_its_memory() {
        let message = message(1, "k", ODD);
        let origin = Origin::new("pgtopic", "orders");
        let body = build(Format::Raw, &origin, std::slice::from_ref(&message), false, None);
        assert_eq!(body, ODD);
        assert_eq!(body.as_ptr(), message.payload.as_ptr());
    }

    #[test]
    fn envelope() {
        assert_eq!(
            text(Format::Envelope, &[message(7, "user \"42\"", ODD)], false),
            format!(
                r#"{{"id":7,"topic":"orders","partition_key":"user \"42\"","type":null,"created_at":"2024-05-01T12:00:00.123Z","headers":null,"payload":{ODD}}}"#
            )
        );
    }

    #[test]
    fn cloud_event() {
        let expected = |subject: &str| {
            format!(
                r#"{{"specversion":"1.0","id":"msg_7","source":"/pgtopic/topics/orders","type":"orders",{subject}"time":"2024-05-01T12:00:00.123Z","datacontenttype":"application/json","data":{ODD}}}"#
            )
        };
        let event = |key: &str| text(Format::CloudEvents, &[message(7, key, ODD)], false);
        assert_eq!(event("user-42"), expected(r#""subject":"user-42","#));
        assert_eq!(event(""), expected(""));
    }

    #[test]
    fn a_type_stands_in_the_envelope_and_is_the_type_of_the_event() {
        let message = Message { r#type: Some("order \"paid\"".to_owned()), ..message(7, "k", "1") };
        for format in [Format::Envelope, Format::CloudEvents] {
            let body: Value =
                serde_json::from_str(&text(format, std::slice::from_ref(&message), false)).expect("JSON");
            assert_eq!(body["type"], r#"order "paid""#, "{format:?}");
        }
    }

    #[test]
    fn the_source_of_an_event_names_the_installation_as_a_uri_reference() {
        let of = |source: &str| Origin::new(source, "orders.v2").event_source;
        assert_eq!(of("shop-eu/orders"), "/shop-eu%2Forders/topics/orders.v2");
        assert_eq!(of("a\"?#%[~"), "/a%22%3F%23%25%5B~/topics/orders.v2");
    }

    #[test]
    fn batches_are_arrays_even_of_one() {
        assert_eq!(text(Format::Raw, &[message(1, "k", "1")], true), "[1]");
        assert_eq!(text(Format::Raw, &[message(1, "k", "1"), message(2, "k", " {} ")], true), "[1, {} ]");
        assert_eq!(text(Format::Raw, &[], true), "[]");
    }

    #[test]
    fn media_types() {
        assert_eq!(content_type(Format::Raw, true), "application/json");
        assert_eq!(content_type(Format::Envelope, false), "application/json");
        assert_eq!(content_type(Format::CloudEvents, false), "application/cloudevents+json");
        assert_eq!(content_type(Format::CloudEvents, true), "application/cloudevents-batch+json");
    }

    proptest! {
        #[test]
        fn every_format_is_json_that_holds_the_payload_verbatim(
            id in 1i64.., key in "\\PC{0,20}|[\\x00-\\x1f]{1,4}", payload in "\\PC{0,20}", count in 1usize..4,
        ) {
            let payload = format!(" {} ", json_string(&payload));
            let messages: Vec<_> = (0..count).map(|_| message(id, &key, &payload)).collect();
            for (format, member) in [(Format::Envelope, "payload"), (Format::CloudEvents, "data")] {
                let body = text(format, &messages, true);
                let values: Vec<&RawValue> = serde_json::from_str(&body).expect("an array");
                prop_assert_eq!(values.len(), count);
                for value in values {
                    let verbatim = format!(r#""{member}":{payload}}}"#);
                    prop_assert!(value.get().ends_with(&verbatim));
                    let parsed: Value = serde_json::from_str(value.get()).expect("an object");
                    let written = parsed.get("partition_key").or(parsed.get("subject"));
                    prop_assert_eq!(written.and_then(Value::as_str).unwrap_or_default(), key.as_str());
                }
            }
        }
    }
}
