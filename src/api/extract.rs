//! Reads bodies, query strings and paths. If something cannot be read, the problem names the field.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, RawPathParams, Request, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE, request::Parts},
};
use serde::de::DeserializeOwned;

use super::error::ApiError;
use crate::{
    broker::BrokerError,
    domain::{topic::TopicRef, violation::Violations},
};

/// The media type of a body that holds one JSON object in each line.
pub(super) const NDJSON: &str = "application/x-ndjson";

/// A JSON body.
pub(super) struct Json<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::UnsupportedMediaType("application/json"));
        }
        parse_json(&read_body(request, state).await?, "").map(Self)
    }
}

/// Whether the `content-type` is JSON: `application/json`, or `application/…+json`.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let kind = media_type(headers);
    kind == "application/json" || kind.starts_with("application/") && kind.ends_with("+json")
}

/// The body's media type, in lower case and without parameters.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Reads the whole body.
///
/// # Errors
/// [`BrokerError::TooLarge`] if it is larger than `api.max_body_bytes`, [`ApiError::Malformed`] if
/// it ends early.
pub(super) async fn read_body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    Bytes::from_request(request, state).await.map_err(|rejection: BytesRejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            BrokerError::TooLarge("the body is larger than api.max_body_bytes".to_owned()).into()
        } else {
            ApiError::Malformed("the body ended early".to_owned())
        }
    })
}

/// Reads JSON. `path` is put before the names of fields.
///
/// # Errors
/// [`ApiError::Malformed`] if the text is not JSON. A broken rule of the field if a value is
/// missing, unknown or of a wrong type.
pub(super) fn parse_json<T: DeserializeOwned>(text: &[u8], path: &str) -> Result<T, ApiError> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let inner = error.inner();
        if !inner.is_data() {
            return ApiError::Malformed(in_path(path, &format!("not JSON: {inner}")));
        }
        let field = error.path().to_string();
        let message = inner.to_string();
        // The place in the text is left out: the field's name is enough.
        let message = message.rfind(" at line ").map_or(message.as_str(), |end| &message[..end]);
        misfit(&join(path, &field), message)
    })?;
    deserializer.end().map_err(|error| {
        ApiError::Malformed(in_path(path, &format!("something follows the JSON value: {error}")))
    })?;
    Ok(value)
}

fn in_path(path: &str, message: &str) -> String {
    if path.is_empty() { message.to_owned() } else { format!("{path}: {message}") }
}

/// Appends a field's path to the path of its parent. `serde_path_to_error` writes the root of a
/// document as `.`.
fn join(path: &str, field: &str) -> String {
    match (path, field) {
        (path, "." | "") => path.to_owned(),
        ("", field) => field.to_owned(),
        (path, field) => format!("{path}.{field}"),
    }
}

/// Turns `serde`'s message about a wrong value into a broken rule.
fn misfit(path: &str, message: &str) -> ApiError {
    // serde reports a missing or unknown field at the path of its parent. The field's name stands
    // between the first two backticks.
    let named = || message.split('`').nth(1).unwrap_or_default();
    let within = |name: &str| {
        if path == name || path.ends_with(&format!(".{name}")) { path.to_owned() } else { join(path, name) }
    };
    if message.starts_with("missing field") {
        Violations::one(join(path, named()), "is required").into()
    } else if message.starts_with("unknown field") {
        Violations::one(within(named()), "is not a field here").into()
    } else if message.starts_with("duplicate field") {
        Violations::one(within(named()), "is given more than once").into()
    } else if path.is_empty() {
        ApiError::Malformed(format!("the body does not fit: {message}"))
    } else {
        Violations::one(path, format!("does not fit: {message}")).into()
    }
}

/// A query string.
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        axum::extract::Query::try_from_uri(&parts.uri).map(|query| Self(query.0)).map_err(|rejection| {
            let text = rejection.body_text();
            let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
            // Either "limit: invalid digit found in string", or a sentence that names the field
            // itself.
            match text.split_once(": ") {
                Some((field, message)) if !field.contains(' ') => misfit(field, message),
                _ => misfit("", text),
            }
        })
    }
}

/// The topic in the path.
pub(super) struct TopicPath(pub(super) TopicRef);

impl<S: Send + Sync> FromRequestParts<S> for TopicPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let text = segment(parts, state, "topic").await?;
        topic_ref(&text).map(Self)
    }
}

/// The id in the path.
pub(super) struct IdPath(pub(super) i64);

impl<S: Send + Sync> FromRequestParts<S> for IdPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        number(parts, state, "id").await.map(Self)
    }
}

/// The webhook and the message in the path.
pub(super) struct DeliveryPath {
    pub(super) webhook_id: i64,
    pub(super) message_id: i64,
}

impl<S: Send + Sync> FromRequestParts<S> for DeliveryPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self {
            webhook_id: number(parts, state, "id").await?,
            message_id: number(parts, state, "message_id").await?,
        })
    }
}

async fn number<S: Send + Sync>(parts: &mut Parts, state: &S, name: &str) -> Result<i64, ApiError> {
    let text = segment(parts, state, name).await?;
    text.parse().map_err(|_| BrokerError::NotFound(format!("{text:?} is no id")).into())
}

async fn segment<S: Send + Sync>(parts: &mut Parts, state: &S, name: &str) -> Result<String, ApiError> {
    let parameters = RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|_| ApiError::Malformed("the path is not UTF-8".to_owned()))?;
    let value = parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
    Ok(value.unwrap_or_default())
}

/// Reads a topic's id or name.
///
/// # Errors
/// [`BrokerError::NotFound`] if no topic can have that id or name.
pub(super) fn topic_ref(text: &str) -> Result<TopicRef, ApiError> {
    TopicRef::parse(text).ok_or_else(|| BrokerError::no_topic(text).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::schema::{NewMessage, NewWebhook};

    fn field(error: ApiError) -> (String, String) {
        match error {
            ApiError::Broker(BrokerError::Invalid(violations)) => {
                let first = violations.into_vec().remove(0);
                (first.field, first.rule)
            }
            other => panic!("{other:?}"),
        }
    }

    fn webhook(text: &str) -> ApiError {
        parse_json::<NewWebhook>(text.as_bytes(), "").err().unwrap()
    }

    #[test]
    fn the_field_is_named() {
        for (text, expected, rule) in [
            (r#"{"topic":"a"}"#, "url", "is required"),
            (r#"{"url":"a","colour":1}"#, "colour", "is not a field here"),
            (r#"{"url":"a","url":"b"}"#, "url", "is given more than once"),
            (r#"{"url":1}"#, "url", "does not fit: invalid type: integer `1`, expected a string"),
            (
                r#"{"url":"a","headers":{"x":1}}"#,
                "headers.x",
                "does not fit: invalid type: integer `1`, expected a string",
            ),
        ] {
            assert_eq!(field(webhook(text)), (expected.to_owned(), rule.to_owned()), "{text}");
        }
        assert_eq!(field(webhook(r#"{"url":"a","format":"xml"}"#)).0, "format");
    }

    #[test]
    fn a_path_stands_before_the_field() {
        let error = parse_json::<NewMessage>(b"{}", "messages[3]").err().unwrap();
        assert_eq!(field(error).0, "messages[3].payload");
    }

    #[test]
    fn what_is_no_json_object_is_malformed() {
        for text in ["", "{", "nope", "[]", "{\"url\":\"a\"} {}", "\u{0}"] {
            assert!(matches!(webhook(text), ApiError::Malformed(_)), "{text:?}");
        }
    }
}
