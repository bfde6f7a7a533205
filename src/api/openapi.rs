//! The parts of the API's description that are not routes.
//!
//! What the handlers and types say is completed here: bounds ([`bounds`]), examples ([`examples`]),
//! and that no token is needed where none is set.

mod bounds;
mod examples;
mod operations;

use serde_json::{Value, json};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

use self::operations::{operations, parameters};
use super::error::ProblemSchema;

/// The description that the routes are added to. Title, version and licence are those of the
/// package.
#[derive(OpenApi)]
#[openapi(
    components(schemas(ProblemSchema)),
    modifiers(&BearerToken),
    tags(
        (name = "topics", description = "Named streams of messages."),
        (name = "messages", description = "Publishing messages, and reading them."),
        (name = "webhooks", description = "Subscriptions of a URL to a topic."),
        (name = "deliveries", description = "Messages owed to a webhook, and the attempts to deliver them."),
        (name = "dead letters", description = "Deliveries that were given up."),
        (name = "installation", description = "What concerns the whole installation."),
        (name = "jobs", description = "Long operations: replay, cancel, backfill, purge."),
        (name = "health", description = "For probes. Needs no token."),
    )
)]
struct Base;

struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

/// The description that the routes are added to.
pub(super) fn base() -> utoipa::openapi::OpenApi {
    Base::openapi()
}

/// The whole description, made from that of the routes.
///
/// # Panics
/// Never: a description always has a JSON form.
pub(super) fn complete(described: utoipa::openapi::OpenApi) -> Value {
    let mut document = serde_json::to_value(described).expect("a description always has a JSON form");
    // Without tokens in the settings none is needed.
    document["security"] = json!([{"token": []}, {}]);
    for operation in operations(&mut document) {
        for parameter in parameters(operation) {
            if parameter["in"] == "query" {
                leave_out_null(&mut parameter["schema"]);
            }
        }
    }
    bounds::add(&mut document);
    examples::add(&mut document);
    document
}

/// A parameter of a query string may be left out, and is never null.
fn leave_out_null(schema: &mut Value) {
    if let Some(types) = schema["type"].as_array() {
        let others: Vec<Value> = types.iter().filter(|kind| *kind != "null").cloned().collect();
        if let [only] = &others[..] {
            schema["type"] = only.clone();
        }
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let mut others = choices.iter().filter(|choice| choice["type"] != "null");
        if let (Some(only), None) = (others.next().cloned(), others.next()) {
            *schema = only;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_for_users_of_the_api() {
        let text = serde_json::to_string(&crate::api::openapi()).unwrap();
        for note in ["[`", "`]", "::", "Some(", "None", "Option<", "Vec<", "serde", "impl ", "struct "] {
            assert!(
                !text.contains(note),
                "{note} in {}",
                &text[text.find(note).unwrap().saturating_sub(100)..][..200]
            );
        }
    }

    #[test]
    fn nothing_in_it_is_null() {
        fn is_null_within(value: &Value) -> bool {
            match value {
                Value::Null => true,
                Value::Array(items) => items.iter().any(is_null_within),
                Value::Object(fields) => fields.values().any(is_null_within),
                _ => false,
            }
        }
        let document = crate::api::openapi();
        let nulls: Vec<_> =
            document["paths"].as_object().unwrap().iter().filter(|(_, path)| is_null_within(path)).collect();
        assert!(nulls.is_empty(), "{nulls:?}");
        assert!(!is_null_within(&document));
    }

    #[test]
    fn a_parameter_of_a_query_string_is_never_null() {
        let mut document = crate::api::openapi();
        for operation in operations(&mut document) {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(!parameter["schema"].to_string().contains("null"), "{parameter}");
            }
        }
    }
}
