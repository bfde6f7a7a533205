//! An example of every body and of every parameter of a path. `/docs` fills them in, so that "Try it
//! out" works at the first click. `tests/it/api` sends them all.

use serde_json::{Value, json};

use super::operations::{bodies, operations, parameters};

/// The example of a body, by the name of its schema.
fn of_body(schema: &str) -> Option<Value> {
    let message = json!({"partition_key": "user-42", "type": "order.created", "payload": {"order": 17}});
    Some(match schema {
        "NewTopic" => json!({"name": "orders"}),
        "PutTopic" => json!({"ordering": "partition", "retention_seconds": 604_800}),
        "PauseTopic" => json!({"mode": "hold"}),
        "TopicChanges" => json!({"retention_seconds": 604_800}),
        "NewMessage" => message,
        "Batch" => {
            json!({"messages": [message, {"partition_key": "user-43", "type": "order.paid", "payload": {"order": 16}}]})
        }
        "NewWebhook" => {
            json!({"topic": "orders", "name": "billing", "url": "https://example.com/hooks/orders"})
        }
        "LaneRetry" => json!({"state": "halted"}),
        "LaneSkip" => json!({"partition_key": "user-42", "message_id": 1}),
        "ReplayRequest" => {
            json!({"from": "2026-11-24T00:00:00Z", "to": "2026-11-25T00:00:00Z", "dry_run": true})
        }
        "CancelRequest" => json!({"partition_key": "user-42", "dry_run": true}),
        "DeadLettersRequest" => json!({"reason": "attempts_exhausted", "status_code": 503, "dry_run": true}),
        "PurgeRequest" => json!({"rate_per_second": 1000.0}),
        "WebhookChanges" => json!({"max_retries": 8, "timeout_seconds": 20}),
        "SendingChange" => json!({"sending": true, "reason": "the copy takes over"}),
        _ => return None,
    })
}

/// The example of a body with one message in each line.
const LINES: &str = "{\"partition_key\": \"user-42\", \"type\": \"order.created\", \"payload\": {\"order\": 17}}\n\
                     {\"partition_key\": \"user-43\", \"type\": \"order.paid\", \"payload\": {\"order\": 16}}\n";

/// The example of a parameter of a path.
fn of_parameter(name: &str) -> Option<Value> {
    match name {
        "topic" => Some(json!("orders")),
        "webhook" => Some(json!("orders:billing")),
        "id" | "message_id" => Some(json!(1)),
        _ => None,
    }
}

/// Adds the examples to all bodies and to the parameters of paths.
pub(super) fn add(document: &mut Value) {
    for operation in operations(document) {
        for (kind, content) in bodies(operation) {
            let schema = content["schema"]["$ref"].as_str().and_then(|path| path.rsplit('/').next());
            let example = schema.and_then(of_body);
            if kind == "application/x-ndjson" {
                *content = json!({"schema": {"type": "string"}, "example": LINES});
            } else if let Some(example) = example {
                content["example"] = example;
            }
        }
        for parameter in parameters(operation) {
            let example = parameter["name"].as_str().and_then(of_parameter);
            if let (true, Some(example)) = (parameter["in"] == "path", example) {
                parameter["example"] = example;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_body_and_every_parameter_of_a_path_has_an_example() {
        let mut document = crate::api::openapi();
        for operation in operations(&mut document) {
            for (kind, content) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
                assert!(!content["example"].is_null(), "{kind}: {content}");
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(parameter["in"] == "query" || !parameter["example"].is_null(), "{parameter}");
            }
        }
    }
}
