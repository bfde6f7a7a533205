//! The bounds of every field of a request, from the rules of `domain`.
//!
//! A field has the same bounds wherever it stands. So they are added by its name. Text is measured
//! in bytes, and JSON Schema counts characters. So where other characters than ASCII are taken too,
//! the pattern shows ASCII alone: what it lets through always fits.

use std::{fmt::Write as _, ops::RangeInclusive};

use serde::Serialize;
use serde_json::{Value, json};

use super::operations::{operations, parameters};
use crate::domain::{
    dead_letter::STATUS_CODE,
    headers::HEADERS_MAX,
    key::{IDEMPOTENCY_KEY_MAX, PARTITION_KEY_MAX, TYPE_MAX},
    message::BATCH_MAX,
    message_type::TYPES,
    page::{CURSOR_MAX, LIMIT},
    policy::{
        BACKOFF_FACTOR, BATCH_SIZE, MAX_AGE_SECONDS, MAX_BACKOFF_SECONDS, MAX_IN_FLIGHT, MAX_OWED,
        MAX_RETRIES, PERMANENT_STATUS, PERMANENT_STATUSES, RATE_LIMIT_PER_SECOND, RETRY_SCHEDULE,
        RETRY_SCHEDULE_SECONDS, TIMEOUT_SECONDS,
    },
    sending::SENDING_REASON_MAX,
    topic::{NAME_MAX, RETENTION_SECONDS},
    webhook::FILTER_MAX,
};

/// The bodies of requests.
const BODIES: &[&str] = &[
    "NewTopic",
    "PutTopic",
    "PauseTopic",
    "TopicChanges",
    "NewMessage",
    "Batch",
    "NewWebhook",
    "WebhookChanges",
    "LaneRetry",
    "LaneSkip",
    "SendingChange",
    "ReplayRequest",
    "CancelRequest",
    "PurgeRequest",
    "DeadLettersRequest",
];

/// Fields that have no bounds: truth values, words, and any JSON.
#[cfg(test)]
const UNBOUNDED: &[&str] = &[
    "payload",
    "paused",
    "mode",
    "force",
    "status",
    "ordering",
    "format",
    "on_exhausted",
    "on_overflow",
    "breaker",
    "state",
    "all",
    "sending",
    "reason",
    "error_class",
    "since",
    "until",
    "kind",
    "check",
    "only_failed",
    "dry_run",
];

/// The names that are reserved in headers.
const RESERVED_HEADERS: &str = "connection|content-length|content-type|expect|host|keep-alive|te|trailer|\
     transfer-encoding|upgrade|user-agent";

/// The longest name and the longest value of a header. `tests/it/api` tries them.
const HEADER_NAME_MAX: usize = 256;
const HEADER_VALUE_MAX: usize = 4096;
/// The longest URL of a webhook. `tests/it/api` tries it.
const URL_MAX: usize = 2048;

fn range<T: Serialize>(range: &RangeInclusive<T>) -> Value {
    json!({"minimum": range.start(), "maximum": range.end()})
}

/// A list of integers: how many, and how large.
fn list(count: &RangeInclusive<i32>, numbers: &RangeInclusive<i32>) -> Value {
    json!({
        "minItems": count.start(), "maxItems": count.end(),
        "items": {"type": "integer", "format": "int32", "minimum": numbers.start(), "maximum": numbers.end()},
    })
}

fn ascii(most: usize) -> Value {
    json!({"minLength": 1, "maxLength": most, "pattern": "^[ -~]+$"})
}

/// The id of a message, or a time.
fn place(words: &str) -> Value {
    let time = r"20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z";
    json!({"pattern": format!("^({words}[1-9][0-9]{{0,17}}|{time})$")})
}

/// The common forms of a filter: comparisons of paths with values, joined by `&&` and `||`.
fn filter_pattern() -> String {
    let path = r"\$(\.[A-Za-z_][A-Za-z0-9_]{0,30}|\.\*|\[[0-9]{1,3}\]|\[\*\])*";
    let value = r#"("[A-Za-z0-9 ._-]{0,60}"|-?(0|[1-9][0-9]{0,8})(\.[0-9]{1,9})?|true|false|null)"#;
    let term = format!(
        r#"(exists\({path}\)|{path} (==|!=|<|<=|>|>=) {value}|{path} starts with "[A-Za-z0-9 ._-]{{0,60}}")"#
    );
    format!(r"^(strict |lax )?{term}( (&&|\|\|) {term}){{0,9}}$")
}

/// The bounds of a field by its name; `None` if it has none.
fn of(name: &str) -> Option<Value> {
    Some(match name {
        "name" => json!({
            "minLength": 1, "maxLength": NAME_MAX, "pattern": r"^(?![0-9]+$)(?!\.{1,2}$)[A-Za-z0-9._-]+$",
        }),
        "topic" => {
            json!({"minLength": 1, "maxLength": NAME_MAX, "pattern": r"^(?!\.{1,2}$)[A-Za-z0-9._-]+$"})
        }
        "webhook" => json!({
            "minLength": 1, "maxLength": 2 * NAME_MAX + 1,
            "pattern": r"^([0-9]{1,19}|(?!\.{1,2}:)[A-Za-z0-9._-]+:(?![0-9]+$)(?!\.{1,2}$)[A-Za-z0-9._-]+)$",
        }),
        "id" | "message_id" | "webhook_id" | "topic_id" => range(&(1..=i64::MAX)),
        "status_code" => range(&STATUS_CODE),
        "limit" => range(&LIMIT),
        "after" => json!({"minLength": 1, "maxLength": CURSOR_MAX, "pattern": "^[A-Za-z0-9_-]+$"}),
        "retention_seconds" => range(&RETENTION_SECONDS),
        "batch_size" => range(&BATCH_SIZE),
        "max_retries" => range(&MAX_RETRIES),
        "backoff_factor" => range(&BACKOFF_FACTOR),
        "max_backoff_seconds" => range(&MAX_BACKOFF_SECONDS),
        "retry_schedule" => list(&RETRY_SCHEDULE, &RETRY_SCHEDULE_SECONDS),
        "permanent_statuses" => list(&PERMANENT_STATUSES, &PERMANENT_STATUS),
        "max_age_seconds" => range(&MAX_AGE_SECONDS),
        "max_owed" => range(&MAX_OWED),
        "timeout_seconds" => range(&TIMEOUT_SECONDS),
        "max_in_flight" => range(&MAX_IN_FLIGHT),
        "rate_limit_per_second" | "rate_per_second" => range(&RATE_LIMIT_PER_SECOND),
        "from" | "to" => place(""),
        "start_from" => place("now|beginning|"),
        "partition_key" => ascii(PARTITION_KEY_MAX),
        "idempotency_key" => ascii(IDEMPOTENCY_KEY_MAX),
        "type" => ascii(TYPE_MAX),
        "types" => json!({
            "minItems": TYPES.start(), "maxItems": TYPES.end(),
            "items": {"type": "string", "minLength": 1, "maxLength": TYPE_MAX, "pattern": r"^[ -)+-~]*[ -~]$"},
        }),
        "reason" => ascii(SENDING_REASON_MAX),
        "messages" => json!({"minItems": 1, "maxItems": BATCH_MAX}),
        "headers" => {
            let name = format!(r"^(?!({RESERVED_HEADERS})$)(?!webhook-|proxy-)[a-z0-9!#$%&'*+.^_`|~-]+$");
            json!({
                "maxProperties": HEADERS_MAX,
                "propertyNames": {"minLength": 1, "maxLength": HEADER_NAME_MAX, "pattern": name},
                "additionalProperties": {"type": "string", "maxLength": HEADER_VALUE_MAX, "pattern": "^[\t -~]*$"},
            })
        }
        "url" => {
            let label = "[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
            let mut pattern = format!(r"^https?://({label}\.){{1,3}}{label}");
            let _ = write!(
                pattern,
                r"(:[1-9][0-9]{{0,3}})?(/[A-Za-z0-9._~!$&'()*+,;=:@/-]*)?(\?[A-Za-z0-9._~=&+-]*)?$"
            );
            json!({"format": "uri", "maxLength": URL_MAX, "pattern": pattern})
        }
        // The base64 of 24 to 64 bytes.
        "secret" => json!({
            "pattern": "^whsec_([A-Za-z0-9+/]{4}){8,20}([A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=|\
                        [A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{4}[A-Za-z0-9+/][AQgw]==)?$",
        }),
        "filter" => json!({"minLength": 1, "maxLength": FILTER_MAX, "pattern": filter_pattern()}),
        _ => return None,
    })
}

/// Adds the bounds to all bodies and parameters.
pub(super) fn add(document: &mut Value) {
    for body in BODIES {
        let properties = document["components"]["schemas"][body]["properties"].as_object_mut();
        for (name, schema) in properties.into_iter().flatten() {
            add_to(schema, name);
        }
    }
    name_one_topic(&mut document["components"]["schemas"]["NewWebhook"]);
    for operation in operations(document) {
        for parameter in parameters(operation) {
            let name = parameter["name"].as_str().unwrap_or_default().to_owned();
            add_to(&mut parameter["schema"], &name);
        }
    }
}

/// A new webhook names its topic in one of two ways.
fn name_one_topic(webhook: &mut Value) {
    webhook["oneOf"] = json!([{"required": ["topic"]}, {"required": ["topic_id"]}]);
    webhook["properties"]["topic"]["type"] = json!("string");
    webhook["properties"]["topic_id"]["type"] = json!("integer");
}

fn add_to(schema: &mut Value, name: &str) {
    if let (Some(schema), Some(Value::Object(bounds))) = (schema.as_object_mut(), of(name)) {
        schema.extend(bounds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_and_every_parameter_has_its_bounds() {
        let mut document = crate::api::openapi();
        let mut names: Vec<(String, Value)> = Vec::new();
        for body in BODIES {
            let properties = document["components"]["schemas"][body]["properties"].as_object().unwrap();
            names.extend(properties.iter().map(|(name, schema)| (name.clone(), schema.clone())));
        }
        for operation in operations(&mut document) {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            names.extend(
                parameters.map(|one| (one["name"].as_str().unwrap().to_owned(), one["schema"].clone())),
            );
        }
        for (name, schema) in names {
            match of(&name) {
                Some(bounds) => {
                    for (bound, value) in bounds.as_object().unwrap() {
                        assert_eq!(schema[bound], *value, "{name}");
                    }
                }
                None => assert!(UNBOUNDED.contains(&&*name), "say in `of` what the bounds of {name} are"),
            }
        }
    }

    #[test]
    fn every_body_of_a_request_is_named() {
        let mut document = crate::api::openapi();
        for operation in operations(&mut document) {
            for (kind, content) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
                let body = content["schema"]["$ref"].as_str().and_then(|path| path.rsplit('/').next());
                assert!(kind == "application/x-ndjson" || BODIES.contains(&body.unwrap()), "{content}");
            }
        }
    }
}
