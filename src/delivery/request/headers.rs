//! The headers of a request, and the names that are reserved for pgtopic.
//!
//! Headers come from pgtopic, from the webhook and from the message. No other header replaces one
//! of pgtopic's. A webhook's header wins over a message's, because it may hold the receiver's
//! credentials.

use std::{borrow::Cow, collections::BTreeMap, fmt::Write as _};

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};
use serde_json::value::RawValue;

use super::traceparent;
use crate::domain::headers::HEADERS_MAX;

/// The longest header name, in bytes.
const MAX_NAME_LENGTH: usize = 256;
/// The longest header value, in bytes; common servers refuse longer ones.
const MAX_VALUE_LENGTH: usize = 4096;

const TRACEPARENT: &str = "traceparent";

/// Reserved names in lower case: those that pgtopic sets, and those of the connection (RFC 9110,
/// section 7.6.1). `webhook-*` and `proxy-*` are reserved too.
const RESERVED: [&str; 11] = [
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// Why a header cannot be sent. The messages are one line, for the person who gave the header. They
/// hold its name and never its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The name is empty, too long, or holds a character that RFC 9110 does not permit.
    #[error("header name {0:?} is not valid")]
    Name(String),
    /// The name is reserved: pgtopic or the connection sets it.
    #[error("header {0:?} is reserved")]
    Reserved(String),
    /// The value is too long, or holds something other than visible ASCII, spaces and tabs.
    #[error("header {0:?} has a value that is not visible ASCII of at most {MAX_VALUE_LENGTH} bytes")]
    Value(String),
}

/// Checks whether a webhook or a message may have this header. The name must be valid (RFC 9110,
/// section 5.1), at most 256 bytes long and not reserved. The value must be visible ASCII, spaces
/// and tabs, at most 4096 bytes long.
///
/// # Errors
/// [`HeaderError`] with the first rule that the header breaks.
pub fn check_header(name: &str, value: &str) -> Result<(), HeaderError> {
    parse_header(name, value).map(drop)
}

/// The header in the client's types, checked by the rules of [`check_header`].
pub(super) fn parse_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), HeaderError> {
    let shown = || name.chars().take(MAX_NAME_LENGTH).collect::<String>();
    if name.len() > MAX_NAME_LENGTH {
        return Err(HeaderError::Name(shown()));
    }
    let parsed = HeaderName::try_from(name).map_err(|_| HeaderError::Name(shown()))?;
    if is_reserved(parsed.as_str()) {
        return Err(HeaderError::Reserved(shown()));
    }
    // The client's type accepts bytes that are not ASCII. Receivers do not agree on their meaning
    // (RFC 9110, section 5.5).
    if value.len() > MAX_VALUE_LENGTH || !value.is_ascii() {
        return Err(HeaderError::Value(shown()));
    }
    let mut value = HeaderValue::from_str(value).map_err(|_| HeaderError::Value(shown()))?;
    // `Debug` does not show the value then: it may be a credential.
    value.set_sensitive(true);
    Ok((parsed, value))
}

/// Whether a name in lower case is reserved.
fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name) || name.starts_with("webhook-") || name.starts_with("proxy-")
}

/// What the headers say about one request.
pub(super) struct Stamp<'a> {
    /// `msg_<id>`.
    pub(super) webhook_id: &'a str,
    /// The message's id; `None` if its topic is not ordered.
    pub(super) position: Option<i64>,
    /// The time of the signature, in seconds since 1970.
    pub(super) timestamp: u64,
    /// Signatures, separated by spaces.
    pub(super) signatures: String,
    /// The message's partition key, as published.
    pub(super) partition_key: &'a str,
    /// The type that all messages of the request have, as published.
    pub(super) r#type: Option<&'a str>,
    /// The number of the attempt; 1 is the first.
    pub(super) attempt: u32,
    /// Whether this is a replay: the message was delivered or became a dead letter before, and is
    /// sent again on request.
    pub(super) replay: bool,
    /// The message's own headers: a JSON object, unchecked.
    pub(super) message_headers: Option<&'a str>,
    /// The context of this request, if it is traced. It wins over the message's.
    pub(super) traceparent: Option<&'a str>,
}

/// The headers of one request: `fixed`, which all requests of the webhook have, and its own ones.
pub(super) fn build(fixed: &HeaderMap, stamp: Stamp<'_>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(fixed.len() + 12);
    headers.extend(fixed.iter().map(|(name, value)| (name.clone(), value.clone())));
    headers.insert("webhook-id", ascii(stamp.webhook_id.to_owned()));
    headers.insert("webhook-timestamp", HeaderValue::from(stamp.timestamp));
    headers.insert("webhook-signature", ascii(stamp.signatures));
    headers.insert("webhook-partition", ascii(percent_encode(stamp.partition_key).into_owned()));
    if let Some(r#type) = stamp.r#type {
        headers.insert("webhook-type", ascii(percent_encode(r#type).into_owned()));
    }
    if let Some(position) = stamp.position {
        headers.insert("webhook-position", HeaderValue::from(position));
    }
    headers.insert("webhook-attempt", HeaderValue::from(stamp.attempt));
    if stamp.replay {
        headers.insert("webhook-replay", HeaderValue::from_static("true"));
    }
    if let Some(json) = stamp.message_headers {
        add_message_headers(&mut headers, json);
    }
    if let Some(traceparent) = stamp.traceparent {
        headers.insert(TRACEPARENT, ascii(traceparent.to_owned()));
    } else if !headers.contains_key(TRACEPARENT) {
        headers.insert(TRACEPARENT, ascii(traceparent::generate()));
    }
    headers
}

/// Adds the headers of a message, at most [`HEADERS_MAX`]. SQL may have written them without a
/// check of names and values. A header that cannot be sent is left out, because a message with a
/// bad header is still owed.
fn add_message_headers(headers: &mut HeaderMap, json: &str) {
    // The values stay unparsed here. So a value that cannot be read does not affect the others.
    let Ok(members) = serde_json::from_str::<BTreeMap<Cow<'_, str>, &RawValue>>(json) else { return };
    for (name, value) in members.into_iter().take(HEADERS_MAX) {
        let Ok(value) = serde_json::from_str::<String>(value.get()) else { continue };
        let Ok((name, parsed)) = parse_header(&name, &value) else { continue };
        let broken_trace = name == TRACEPARENT && !traceparent::is_valid(&value);
        if !broken_trace && !headers.contains_key(&name) {
            headers.insert(name, parsed);
        }
    }
}

/// A value of visible ASCII that pgtopic has written.
fn ascii(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("written by pgtopic as visible ASCII")
}

/// A partition key or a type as the value of a header. Every byte that is not visible ASCII (0x21 to 0x7e),
/// and `%` itself, is written as `%` and two upper-case hexadecimal digits (RFC 3986, section 2.1).
/// Percent-decoding gives the text back.
pub(super) fn percent_encode(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'%';
    if text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if is_plain(byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a String cannot fail");
        }
    }
    Cow::Owned(encoded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn stamp(message_headers: Option<&str>) -> Stamp<'_> {
        Stamp {
            webhook_id: "msg_42",
            position: Some(42),
            timestamp: 1_700_000_000,
            signatures: "v1,abc".to_owned(),
            r#type: Some("order paid"),
            partition_key: "user 42",
            attempt: 3,
            replay: false,
            message_headers,
            traceparent: None,
        }
    }

    fn get<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
        headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }

    #[test]
    fn says_what_a_receiver_needs() {
        let headers = build(&HeaderMap::new(), stamp(None));
        for (name, value) in [
            ("webhook-id", "msg_42"),
            ("webhook-timestamp", "1700000000"),
            ("webhook-signature", "v1,abc"),
            ("webhook-partition", "user%2042"),
            ("webhook-type", "order%20paid"),
            ("webhook-position", "42"),
            ("webhook-attempt", "3"),
        ] {
            assert_eq!(get(&headers, name), Some(value), "{name}");
        }
        assert_eq!(get(&headers, "webhook-replay"), None);
        assert!(traceparent::is_valid(get(&headers, "traceparent").expect("always sent")));
        let unordered = build(&HeaderMap::new(), Stamp { position: None, ..stamp(None) });
        assert_eq!(get(&unordered, "webhook-position"), None);
        let untyped = build(&HeaderMap::new(), Stamp { r#type: None, ..stamp(None) });
        assert_eq!(get(&untyped, "webhook-type"), None);
        let replay = build(&HeaderMap::new(), Stamp { replay: true, ..stamp(None) });
        assert_eq!(get(&replay, "webhook-replay"), Some("true"));
    }

    #[test]
    fn message_headers_are_sent_where_they_can_be() {
        let mut fixed = HeaderMap::new();
        fixed.insert("x-both", HeaderValue::from_static("webhook"));
        let json = format!(
            r#"{{"X-Plain":"a b","x-both":"message","Webhook-Id":"forged","host":"evil","proxy-authorization":"x",
                "x-number":5,"x-huge":1e999999,"x-lone":"\ud800","x-null":null,"bad name":"x","x-line":"a\r\nb",
                "x-wide":"ü","traceparent":"{TRACE}"}}"#
        );
        let headers = build(&fixed, stamp(Some(&json)));
        assert_eq!(get(&headers, "x-plain"), Some("a b"));
        assert_eq!(get(&headers, "x-both"), Some("webhook"));
        assert_eq!(get(&headers, "webhook-id"), Some("msg_42"));
        assert_eq!(get(&headers, "traceparent"), Some(TRACE));
        assert_eq!(headers.len(), 10, "{headers:?}");
    }

    #[test]
    fn a_broken_trace_is_replaced_and_a_webhooks_trace_stays() {
        let own = "00-4bf92f3577b34da6a3ce929d0e0e4736-1111111111111111-00";
        let json = format!(r#"{{"traceparent":"{TRACE}"}}"#);
        let mine = Stamp { traceparent: Some(own), ..stamp(Some(&json)) };
        assert_eq!(get(&build(&HeaderMap::new(), mine), "traceparent"), Some(own), "of a traced request");
        let headers = build(&HeaderMap::new(), stamp(Some(r#"{"traceparent":"nonsense"}"#)));
        assert!(traceparent::is_valid(get(&headers, "traceparent").expect("always sent")));
        let mut fixed = HeaderMap::new();
        fixed.insert("traceparent", HeaderValue::from_static(TRACE));
        assert_eq!(get(&build(&fixed, stamp(None)), "traceparent"), Some(TRACE));
    }

    #[test]
    fn a_multitude_of_message_headers_is_cut() {
        let members: Vec<_> = (0..40_000).map(|n| format!(r#""x-{n}":"v""#)).collect();
        let headers = build(&HeaderMap::new(), stamp(Some(&format!("{{{}}}", members.join(",")))));
        assert_eq!(headers.len(), 8 + HEADERS_MAX);
    }

    #[rstest]
    #[case("x-tenant", "a b\tc")]
    #[case("Authorization", "Bearer x")]
    #[case("traceparent", TRACE)]
    #[case("x-empty", "")]
    fn accepts(#[case] name: &str, #[case] value: &str) {
        assert_eq!(check_header(name, value), Ok(()));
    }

    #[rstest]
    #[case("")]
    #[case("a b")]
    #[case("a:b")]
    #[case("ü")]
    #[case("a\r\nb")]
    fn refuses_names(#[case] name: &str) {
        assert_eq!(check_header(name, "x"), Err(HeaderError::Name(name.to_owned())));
    }

    #[rstest]
    #[case("Webhook-Anything")]
    #[case("CONTENT-TYPE")]
    #[case("Content-Length")]
    #[case("host")]
    #[case("Connection")]
    #[case("transfer-encoding")]
    #[case("TE")]
    #[case("trailer")]
    #[case("upgrade")]
    #[case("keep-alive")]
    #[case("Proxy-Authorization")]
    #[case("user-agent")]
    #[case("expect")]
    fn refuses_reserved(#[case] name: &str) {
        assert_eq!(check_header(name, "x"), Err(HeaderError::Reserved(name.to_owned())));
    }

    #[test]
    fn refuses_values_and_never_shows_them() {
        for value in ["a\nb", "a\0b", "über", &"x".repeat(MAX_VALUE_LENGTH + 1)] {
            let error = check_header("x-secret", value).expect_err("a bad value");
            assert_eq!(error, HeaderError::Value("x-secret".to_owned()));
            assert!(!error.to_string().contains(value));
        }
        assert!(!format!("{:?}", parse_header("x-secret", "hunter2")).contains("hunter2"));
    }

    proptest! {
        #[test]
        fn an_encoded_key_is_visible_ascii_and_decodes_to_itself(key in "\\PC{0,30}|[\\x00-\\x7f]{0,30}") {
            let encoded = percent_encode(&key);
            prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic()));
            let mut decoded = Vec::new();
            let mut bytes = encoded.bytes();
            while let Some(byte) = bytes.next() {
                if byte == b'%' {
                    let digits = [bytes.next().expect("a digit"), bytes.next().expect("a digit")];
                    let digits = std::str::from_utf8(&digits).expect("ASCII");
                    decoded.push(u8::from_str_radix(digits, 16).expect("hexadecimal"));
                } else {
                    decoded.push(byte);
                }
            }
            prop_assert_eq!(String::from_utf8(decoded).expect("UTF-8"), key);
        }

        #[test]
        fn no_message_header_ever_breaks_a_request(
            json in "\\PC{0,60}", name in "\\PC{0,20}", value in "\\PC{0,20}|[\\x00-\\x1f]{1,3}", key in "\\PC{0,20}",
        ) {
            let object = serde_json::json!({ name: value }).to_string();
            for text in [json, object] {
                let headers = build(&HeaderMap::new(), Stamp { partition_key: &key, ..stamp(Some(&text)) });
                prop_assert_eq!(get(&headers, "webhook-id"), Some("msg_42"));
                prop_assert!(headers.len() <= 9);
            }
        }
    }
}
