//! What a webhook is made of, and the rules it must keep.
//!
//! The rules of URLs, header names and secrets are those of sending, and are checked there.

use std::fmt::Display;

use secrecy::SecretString;
use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::{
    headers::{Headers, check_headers, headers_json},
    new_topic::TopicRef,
    violation::Violations,
    webhook::{Format, OnExhausted},
};

/// The longest filter, in bytes.
const FILTER_MAX: usize = 4096;

/// A webhook to be created. A policy field that is left out or null means the worker's `delivery` default.
///
/// No `Debug`: headers may hold credentials.
#[derive(Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// The topic's name, or its id. Either this or `topic_id`.
    #[serde(default)]
    #[schema(examples("orders"))]
    pub topic: Option<String>,
    /// The topic's id. Either this or `topic`.
    #[serde(default)]
    pub topic_id: Option<i64>,
    /// Where requests go.
    #[schema(examples("https://example.com/hooks/orders"))]
    pub url: String,
    /// Signing secret (`whsec_` and base64); generated unless given.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub secret: Option<SecretString>,
    /// Headers sent with every request: at most 64, of at most 8192 bytes as JSON.
    #[serde(default)]
    pub headers: Option<Headers>,
    /// A jsonpath predicate: only messages whose payload it is true for are sent.
    #[serde(default)]
    #[schema(examples("$.event == \"order.created\""))]
    pub filter: Option<String>,
    /// What the body of a request is made of.
    #[serde(default)]
    pub format: Format,
    /// Consecutive messages of a lane that one request may carry, 1 to 1000; more than 1 sends a JSON array.
    #[serde(default)]
    pub batch_size: Option<i32>,
    /// Attempts before the dead letter.
    #[serde(default)]
    pub max_retries: Option<i32>,
    /// The delay after the n-th failure is this to the power of n, in seconds; 1 to 100.
    #[serde(default)]
    pub backoff_factor: Option<f64>,
    /// Cap of one delay, in seconds.
    #[serde(default)]
    pub max_backoff_seconds: Option<i32>,
    /// One request, body included, in seconds; 1 to 600.
    #[serde(default)]
    pub timeout_seconds: Option<i32>,
    /// What happens to a lane whose head used up its attempts.
    #[serde(default)]
    pub on_exhausted: OnExhausted,
    /// Lanes in flight at once in one worker.
    #[serde(default)]
    pub max_in_flight: Option<i32>,
    /// Requests a second at most, in each worker.
    #[serde(default)]
    pub rate_limit_per_second: Option<f64>,
    /// Known, and refused by name: a webhook gets what is published after it.
    #[serde(default)]
    #[schema(ignore)]
    pub start_from: Option<IgnoredAny>,
}

impl NewWebhook {
    /// Whether every rule holds.
    pub fn check(&self) -> Result<(), Violations> {
        let mut violations = Violations::default();
        violations.require(
            self.topic.is_some() != self.topic_id.is_some(),
            "topic",
            "must be given, or topic_id in its place, and not both",
        );
        violations.require(self.start_from.is_none(), "start_from", "is not supported yet");
        check_headers(self.headers.as_ref(), &mut violations);
        Policy {
            filter: self.filter.as_deref(),
            batch_size: self.batch_size,
            max_retries: self.max_retries,
            backoff_factor: self.backoff_factor,
            max_backoff_seconds: self.max_backoff_seconds,
            timeout_seconds: self.timeout_seconds,
            max_in_flight: self.max_in_flight,
            rate_limit_per_second: self.rate_limit_per_second,
        }
        .check(&mut violations);
        violations.finish()
    }

    /// The topic it names; `None` if no topic can be meant.
    pub fn topic_ref(&self) -> Option<TopicRef> {
        match (&self.topic, self.topic_id) {
            (Some(topic), _) => TopicRef::parse(topic),
            (None, id) => id.map(TopicRef::Id),
        }
    }

    /// The headers as the JSON text that is stored.
    pub fn headers_json(&self) -> String {
        self.headers.as_ref().map_or_else(|| "{}".to_owned(), headers_json)
    }
}

/// What may change about a webhook. What is left out stays as it is; null returns to the default.
///
/// No `Debug`: headers may hold credentials.
#[derive(Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookChanges {
    /// Where requests go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Headers sent with every request, in place of all there were: at most 64, of at most 8192 bytes as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Headers>,
    /// A jsonpath predicate, for messages published from now on; null lets everything through.
    #[serde(default, deserialize_with = "super::present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub filter: Option<Option<String>>,
    /// What the body of a request is made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Consecutive messages of a lane that one request may carry, 1 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<i32>,
    /// Attempts before the dead letter.
    #[serde(default, deserialize_with = "super::present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i32>)]
    pub max_retries: Option<Option<i32>>,
    /// The delay after the n-th failure is this to the power of n, in seconds; 1 to 100.
    #[serde(default, deserialize_with = "super::present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub backoff_factor: Option<Option<f64>>,
    /// Cap of one delay, in seconds.
    #[serde(default, deserialize_with = "super::present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i32>)]
    pub max_backoff_seconds: Option<Option<i32>>,
    /// One request, body included, in seconds; 1 to 600.
    #[serde(default, deserialize_with = "super::present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i32>)]
    pub timeout_seconds: Option<Option<i32>>,
    /// What happens to a lane whose head used up its attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_exhausted: Option<OnExhausted>,
    /// Lanes in flight at once in one worker.
    #[serde(default, deserialize_with = "super::present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i32>)]
    pub max_in_flight: Option<Option<i32>>,
    /// Requests a second at most, in each worker.
    #[serde(default, deserialize_with = "super::present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub rate_limit_per_second: Option<Option<f64>>,
    /// true holds it, its backlog kept; false releases it, also where it was disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

impl WebhookChanges {
    /// Holds a webhook, or releases it.
    pub fn pause(paused: bool) -> Self {
        Self { paused: Some(paused), ..Self::default() }
    }

    /// Whether every rule holds.
    pub fn check(&self) -> Result<(), Violations> {
        let mut violations = Violations::default();
        check_headers(self.headers.as_ref(), &mut violations);
        Policy {
            filter: self.filter.as_ref().and_then(Option::as_deref),
            batch_size: self.batch_size,
            max_retries: self.max_retries.flatten(),
            backoff_factor: self.backoff_factor.flatten(),
            max_backoff_seconds: self.max_backoff_seconds.flatten(),
            timeout_seconds: self.timeout_seconds.flatten(),
            max_in_flight: self.max_in_flight.flatten(),
            rate_limit_per_second: self.rate_limit_per_second.flatten(),
        }
        .check(&mut violations);
        violations.finish()
    }

    /// The changed columns, as the JSON object that the store is given.
    ///
    /// # Panics
    /// Never: strings and finite numbers always have a JSON form.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and finite numbers always have a JSON form")
    }
}

/// What the two have in common.
struct Policy<'a> {
    filter: Option<&'a str>,
    batch_size: Option<i32>,
    max_retries: Option<i32>,
    backoff_factor: Option<f64>,
    max_backoff_seconds: Option<i32>,
    timeout_seconds: Option<i32>,
    max_in_flight: Option<i32>,
    rate_limit_per_second: Option<f64>,
}

impl Policy<'_> {
    fn check(&self, violations: &mut Violations) {
        if let Some(filter) = self.filter {
            let holds = (1..=FILTER_MAX).contains(&filter.len()) && !filter.contains('\0');
            violations.require(holds, "filter", &format!("must be a jsonpath of 1 to {FILTER_MAX} bytes"));
        }
        check_range(self.batch_size, 1, 1000, "batch_size", violations);
        check_least(self.max_retries, "max_retries", violations);
        check_range(self.backoff_factor, 1.0, 100.0, "backoff_factor", violations);
        check_least(self.max_backoff_seconds, "max_backoff_seconds", violations);
        check_range(self.timeout_seconds, 1, 600, "timeout_seconds", violations);
        check_least(self.max_in_flight, "max_in_flight", violations);
        check_range(self.rate_limit_per_second, 0.001, 1_000_000.0, "rate_limit_per_second", violations);
    }
}

fn check_range<T: PartialOrd + Display + Copy>(
    value: Option<T>,
    least: T,
    most: T,
    field: &str,
    violations: &mut Violations,
) {
    violations.require(
        value.is_none_or(|value| value >= least && value <= most),
        field,
        &format!("must be between {least} and {most}"),
    );
}

fn check_least(value: Option<i32>, field: &str, violations: &mut Violations) {
    violations.require(value.is_none_or(|value| value >= 1), field, "must be at least 1");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn webhook(changes: &serde_json::Value) -> NewWebhook {
        let mut webhook = json!({"topic": "orders", "url": "https://example.com/"});
        webhook.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        serde_json::from_value(webhook).unwrap()
    }

    fn broken(webhook: &NewWebhook) -> Vec<String> {
        webhook
            .check()
            .err()
            .map(Violations::into_vec)
            .unwrap_or_default()
            .into_iter()
            .map(|v| v.field)
            .collect()
    }

    #[test]
    fn every_broken_rule_is_named() {
        let webhook = webhook(&json!({
            "topic_id": 1, "start_from": "earliest", "filter": "", "batch_size": 0, "max_retries": 0,
            "backoff_factor": 0.5, "max_backoff_seconds": 0, "timeout_seconds": 601, "max_in_flight": 0,
            "rate_limit_per_second": 0,
        }));
        assert_eq!(
            broken(&webhook),
            [
                "topic",
                "start_from",
                "filter",
                "batch_size",
                "max_retries",
                "backoff_factor",
                "max_backoff_seconds",
                "timeout_seconds",
                "max_in_flight",
                "rate_limit_per_second"
            ]
        );
    }

    #[test]
    fn the_limits_of_headers_hold_for_a_webhook_and_its_changes() {
        let headers =
            |count| (0..count).map(|n| (format!("x-{n}"), json!(""))).collect::<serde_json::Map<_, _>>();
        let changes = |count| {
            let changes = json!({"headers": headers(count)});
            serde_json::from_value::<WebhookChanges>(changes).unwrap().check().map_err(Violations::into_vec)
        };
        assert_eq!(broken(&webhook(&json!({"headers": headers(64)}))), [""; 0]);
        assert_eq!(broken(&webhook(&json!({"headers": headers(65)}))), ["headers"]);
        assert_eq!(changes(64), Ok(()));
        assert_eq!(changes(65).unwrap_err()[0].field, "headers");
    }

    #[test]
    fn changes_tell_null_from_nothing() {
        let changes: WebhookChanges = serde_json::from_str(r#"{"filter":null,"max_retries":3}"#).unwrap();
        assert_eq!(changes.to_json(), r#"{"filter":null,"max_retries":3}"#);
        assert_eq!(WebhookChanges::default().to_json(), "{}");
    }

    proptest! {
        #[test]
        fn ranges_are_those_of_the_table(
            batch_size in -5i32..1100, timeout in -5i32..700, factor in -5.0f64..120.0, least in -5i32..5,
        ) {
            let webhook = webhook(&json!({
                "batch_size": batch_size, "timeout_seconds": timeout, "backoff_factor": factor,
                "max_retries": least, "max_in_flight": least, "max_backoff_seconds": least,
            }));
            let holds = (1..=1000).contains(&batch_size) && (1..=600).contains(&timeout)
                && (1.0..=100.0).contains(&factor) && least >= 1;
            prop_assert_eq!(webhook.check().is_ok(), holds);
        }
    }
}
