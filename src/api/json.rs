//! Reads JSON. What is wrong with it is said in the words of JSON, with the name of the field.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::error::ApiError;
use crate::domain::violation::Violations;

/// A JSON object. Without this, a `struct` may be given as an array of its fields, too.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// Reads a JSON object. `path` is put before the names of fields.
///
/// # Errors
/// [`ApiError::Malformed`] if the text is not one JSON object. A broken rule of the field if a
/// value is missing, unknown or of a wrong type.
pub(super) fn parse_json<T: DeserializeOwned>(text: &[u8], path: &str) -> Result<T, ApiError> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value: Object<T> = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
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
    Ok(value.0)
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
pub(super) fn misfit(path: &str, message: &str) -> ApiError {
    // serde reports a missing or unknown field at the path of its parent. The field's name stands
    // between the first two backticks.
    let named = || message.split('`').nth(1).unwrap_or_default();
    let within = |name: &str| {
        if path == name || path.ends_with(&format!(".{name}")) { path.to_owned() } else { join(path, name) }
    };
    if message.starts_with("missing field") {
        Violations::one(join(path, named()), "is required").into()
    } else if message.starts_with("unknown field") {
        // After the name stand those of all fields, each between backticks.
        let known: Vec<&str> = message.split('`').skip(3).step_by(2).collect();
        let rule = match known.as_slice() {
            [] => "is not a field here".to_owned(),
            known => format!("is not a field here; these are: {}", known.join(", ")),
        };
        Violations::one(within(named()), rule).into()
    } else if message.starts_with("duplicate field") {
        Violations::one(within(named()), "is given more than once").into()
    } else if path.is_empty() {
        ApiError::Malformed(format!("the body {}", in_words(message)))
    } else {
        Violations::one(path, in_words(message)).into()
    }
}

/// `serde`'s message about a wrong value in the words of JSON. The value itself is left out: it may
/// be a secret.
fn in_words(message: &str) -> String {
    let about = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    match about.and_then(|about| about.rsplit_once(", expected ")) {
        Some((found, expected)) => {
            format!("must be {}, not {}", expected_in_words(expected), found_in_words(found))
        }
        // A rule that a field of `schema` has found broken.
        None if message.starts_with("must ") => message.to_owned(),
        None => "cannot be read".to_owned(),
    }
}

fn expected_in_words(expected: &str) -> &str {
    match expected.split(' ').next().unwrap_or_default() {
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" => "an integer",
        "f32" | "f64" => "a number",
        "struct" => "an object",
        // Written in `schema`.
        "an" | "one" => expected,
        _ => match expected {
            "a string" => "a string",
            "a boolean" => "true or false",
            "a map" => "an object",
            "a sequence" => "an array",
            _ => "something else",
        },
    }
}

fn found_in_words(found: &str) -> &'static str {
    match found.split(' ').next().unwrap_or_default() {
        "integer" | "floating" => "a number",
        "string" | "character" => "a string",
        "boolean" => "true or false",
        "map" => "an object",
        "sequence" => "an array",
        "null" | "unit" | "Option" => "null",
        _ => "this",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::schema::{Batch, NewMessage, NewTopic, NewWebhook, TopicChanges, WebhookChanges},
        broker::BrokerError,
    };

    fn field(error: ApiError) -> (String, String) {
        match error {
            ApiError::Broker(BrokerError::Invalid(violations)) => {
                let first = violations.into_vec().remove(0);
                (first.field, first.rule)
            }
            other => panic!("{other:?}"),
        }
    }

    fn refused<T: DeserializeOwned>(text: &str) -> ApiError {
        parse_json::<T>(text.as_bytes(), "").err().unwrap_or_else(|| panic!("taken: {text}"))
    }

    #[test]
    fn the_field_is_named_and_so_is_what_must_be_there() {
        for (text, expected, rule) in [
            (r#"{"topic":"a"}"#, "url", "is required"),
            (r#"{"url":"a","url":"b"}"#, "url", "is given more than once"),
            (r#"{"url":1}"#, "url", "must be a string, not a number"),
            (r#"{"url":null}"#, "url", "must be a string, not null"),
            (r#"{"url":true}"#, "url", "must be a string, not true or false"),
            (r#"{"url":"a","secret":["sesame"]}"#, "secret", "must be a string, not an array"),
            (r#"{"url":"a","headers":{"x":1}}"#, "headers.x", "must be a string, not a number"),
            (
                r#"{"url":"a","headers":["x"]}"#,
                "headers",
                "must be an object whose values are texts, not an array",
            ),
            (r#"{"url":"a","batch_size":"7"}"#, "batch_size", "must be an integer, not a string"),
            (r#"{"url":"a","batch_size":1.5}"#, "batch_size", "must be an integer"),
            (r#"{"url":"a","backoff_factor":{}}"#, "backoff_factor", "must be a number, not an object"),
            (r#"{"url":"a","format":"xml"}"#, "format", "must be one of raw, envelope, cloudevents"),
            (
                r#"{"url":"a","format":{"raw":null}}"#,
                "format",
                "must be one of raw, envelope, cloudevents, not an object",
            ),
        ] {
            assert_eq!(field(refused::<NewWebhook>(text)), (expected.to_owned(), rule.to_owned()), "{text}");
        }
        let unknown = field(refused::<NewTopic>(r#"{"colour":1}"#));
        assert_eq!(
            unknown,
            (
                "colour".to_owned(),
                "is not a field here; these are: name, ordering, retention_seconds".to_owned()
            )
        );
        let paused = |text| field(refused::<TopicChanges>(text));
        let rule = "must be one of refuse, hold, not a number";
        assert_eq!(paused(r#"{"paused":1}"#), ("paused".to_owned(), rule.to_owned()));
        assert_eq!(paused(r#"{"paused":"stop"}"#).1, "must be one of refuse, hold");
        assert_eq!(
            field(refused::<WebhookChanges>(r#"{"paused":1}"#)).1,
            "must be true or false, not a number"
        );
        assert_eq!(field(refused::<Batch>(r#"{"messages":{}}"#)).1, "must be an array, not an object");
    }

    #[test]
    fn a_path_stands_before_the_field() {
        let error = parse_json::<NewMessage>(b"{}", "messages[3]").err().unwrap();
        assert_eq!(field(error).0, "messages[3].payload");
    }

    #[test]
    fn what_is_no_json_object_is_malformed() {
        for text in ["", "{", "nope", "[]", "{\"url\":\"a\"} {}", "\u{0}", "1", "\"a\""] {
            assert!(matches!(refused::<NewWebhook>(text), ApiError::Malformed(_)), "{text:?}");
        }
        assert_eq!(refused::<NewWebhook>("[]").to_string(), "the body must be an object, not an array");
    }

    #[test]
    fn an_array_of_its_fields_is_no_object() {
        refused::<NewTopic>(r#"["orders", "none", 60]"#);
        refused::<TopicChanges>("[60, true]");
        refused::<NewMessage>(r#"[1, "a", {}, "once"]"#);
        refused::<WebhookChanges>("[]");
        refused::<Batch>(r#"[[{"payload":1}]]"#);
        let within = refused::<Batch>(r#"{"messages":[{"payload":1},[1,"a",{},"once"]]}"#);
        assert_eq!(field(within), ("messages[1]".to_owned(), "must be an object, not an array".to_owned()));
    }

    #[test]
    fn an_integer_may_be_written_as_a_number_and_may_be_too_large() {
        for (text, expected) in
            [("7", 7), ("7.0", 7), ("1e2", 100), ("99999999999999999999", i32::MAX), ("-1e300", i32::MIN)]
        {
            let changes: WebhookChanges =
                parse_json(format!(r#"{{"batch_size":{text}}}"#).as_bytes(), "").ok().unwrap();
            assert_eq!(
                crate::domain::webhook::WebhookChanges::from(changes).batch_size,
                Some(expected),
                "{text}"
            );
        }
    }
}
