//! Webhooks.

use std::collections::BTreeMap;

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::present;
use crate::{
    broker,
    domain::{policy, webhook},
};

words! {
    /// What the body of a request is made of.
    #[derive(Default)]
    #[serde(rename_all = "lowercase")]
    Format of webhook::Format {
        /// The payload's exact bytes.
        #[default]
        Raw,
        /// `{id, topic, partition_key, created_at, payload}`.
        Envelope,
        /// `CloudEvents` 1.0, structured JSON.
        CloudEvents,
    }
}

words! {
    /// What happens to a lane whose head used up its attempts.
    #[derive(Default)]
    #[serde(rename_all = "snake_case")]
    OnExhausted of policy::OnExhausted {
        /// The head moves to the dead letters and the lane goes on.
        #[default]
        DeadLetter,
        /// The lane stops until an operator retries, skips or discards its head.
        Halt,
    }
}

words! {
    /// Whether a webhook is sent to yet.
    #[serde(rename_all = "lowercase")]
    WebhookState of webhook::WebhookState {
        /// It is owed messages, and not sent to yet.
        Starting,
        /// It is owed messages, and sent to.
        Active,
    }
}

/// A webhook to be created. A policy field that is left out or null means the worker's `delivery`
/// default.
///
/// No `Debug`: headers may hold credentials.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewWebhook {
    /// The topic's name, or its id. Either this or `topic_id`.
    #[serde(default)]
    #[schema(examples("orders"))]
    topic: Option<String>,
    /// The topic's id. Either this or `topic`.
    #[serde(default)]
    topic_id: Option<i64>,
    /// Where requests go.
    #[schema(examples("https://example.com/hooks/orders"))]
    url: String,
    /// Signing secret (`whsec_` and base64); generated unless given.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    secret: Option<SecretString>,
    /// Headers sent with every request: at most 64, of at most 8192 bytes as JSON.
    #[serde(default)]
    headers: Option<BTreeMap<String, String>>,
    /// A jsonpath predicate: only messages whose payload it is true for are sent.
    #[serde(default)]
    #[schema(examples("$.event == \"order.created\""))]
    filter: Option<String>,
    /// What the body of a request is made of.
    #[serde(default)]
    format: Format,
    /// Consecutive messages of a lane that one request may carry, 1 to 1000; more than 1 sends a
    /// JSON array.
    #[serde(default)]
    batch_size: Option<i32>,
    /// Attempts before the dead letter, 1 to 1000.
    #[serde(default)]
    max_retries: Option<i32>,
    /// The delay after the n-th failure is this to the power of n, in seconds; 1 to 100.
    #[serde(default)]
    backoff_factor: Option<f64>,
    /// Cap of one delay, in seconds; 1 to 2592000.
    #[serde(default)]
    max_backoff_seconds: Option<i32>,
    /// One request, body included, in seconds; 1 to 600.
    #[serde(default)]
    timeout_seconds: Option<i32>,
    /// What happens to a lane whose head used up its attempts.
    #[serde(default)]
    on_exhausted: OnExhausted,
    /// Lanes in flight at once in one worker, 1 to 10000.
    #[serde(default)]
    max_in_flight: Option<i32>,
    /// Requests a second at most, in each worker; 0.001 to 1000000.
    #[serde(default)]
    rate_limit_per_second: Option<f64>,
    /// Known, and refused by name: a webhook gets what is published after it.
    #[serde(default)]
    #[schema(ignore)]
    start_from: Option<IgnoredAny>,
}

impl From<NewWebhook> for webhook::NewWebhook {
    fn from(new: NewWebhook) -> Self {
        Self {
            topic: new.topic,
            topic_id: new.topic_id,
            url: new.url,
            secret: new.secret,
            headers: new.headers,
            filter: new.filter,
            format: new.format.into(),
            batch_size: new.batch_size,
            max_retries: new.max_retries,
            backoff_factor: new.backoff_factor,
            max_backoff_seconds: new.max_backoff_seconds,
            timeout_seconds: new.timeout_seconds,
            on_exhausted: new.on_exhausted.into(),
            max_in_flight: new.max_in_flight,
            rate_limit_per_second: new.rate_limit_per_second,
            start_from: new.start_from.is_some(),
        }
    }
}

/// What may change about a webhook. What is left out stays as it is; null returns to the default.
///
/// No `Debug`: headers may hold credentials.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "three cases: left out, null, a value")]
pub(crate) struct WebhookChanges {
    /// Where requests go.
    #[serde(default)]
    url: Option<String>,
    /// Headers sent with every request, in place of all there were: at most 64, of at most 8192
    /// bytes as JSON.
    #[serde(default)]
    headers: Option<BTreeMap<String, String>>,
    /// A jsonpath predicate, for messages published from now on; null lets everything through.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    filter: Option<Option<String>>,
    /// What the body of a request is made of.
    #[serde(default)]
    format: Option<Format>,
    /// Consecutive messages of a lane that one request may carry, 1 to 1000.
    #[serde(default)]
    batch_size: Option<i32>,
    /// Attempts before the dead letter, 1 to 1000.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i32>)]
    max_retries: Option<Option<i32>>,
    /// The delay after the n-th failure is this to the power of n, in seconds; 1 to 100.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<f64>)]
    backoff_factor: Option<Option<f64>>,
    /// Cap of one delay, in seconds; 1 to 2592000.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i32>)]
    max_backoff_seconds: Option<Option<i32>>,
    /// One request, body included, in seconds; 1 to 600.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i32>)]
    timeout_seconds: Option<Option<i32>>,
    /// What happens to a lane whose head used up its attempts.
    #[serde(default)]
    on_exhausted: Option<OnExhausted>,
    /// Lanes in flight at once in one worker, 1 to 10000.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i32>)]
    max_in_flight: Option<Option<i32>>,
    /// Requests a second at most, in each worker; 0.001 to 1000000.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<f64>)]
    rate_limit_per_second: Option<Option<f64>>,
    /// true holds it, its backlog kept; false releases it, also where it was disabled.
    #[serde(default)]
    paused: Option<bool>,
}

impl From<WebhookChanges> for webhook::WebhookChanges {
    fn from(changes: WebhookChanges) -> Self {
        Self {
            url: changes.url,
            headers: changes.headers,
            filter: changes.filter,
            format: changes.format.map(Into::into),
            batch_size: changes.batch_size,
            max_retries: changes.max_retries,
            backoff_factor: changes.backoff_factor,
            max_backoff_seconds: changes.max_backoff_seconds,
            timeout_seconds: changes.timeout_seconds,
            on_exhausted: changes.on_exhausted.map(Into::into),
            max_in_flight: changes.max_in_flight,
            rate_limit_per_second: changes.rate_limit_per_second,
            paused: changes.paused,
        }
    }
}

/// A webhook as its operators see it. A policy field that is null means the worker's `delivery`
/// default. Secrets never show, and of the headers, which may hold credentials, only the names do.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Webhook {
    /// Its id.
    id: i64,
    /// Its topic's id.
    topic_id: i64,
    /// Its topic's name.
    topic: String,
    /// Where requests go.
    url: String,
    /// The names of the headers sent with every request.
    header_names: Vec<String>,
    /// The jsonpath predicate that lets messages through; null lets everything through.
    filter: Option<String>,
    /// What the body of a request is made of.
    format: Format,
    /// Consecutive messages of a lane that one request may carry.
    batch_size: i32,
    /// Attempts before the dead letter.
    max_retries: Option<i32>,
    /// The delay after the n-th failure is this to the power of n, in seconds.
    backoff_factor: Option<f64>,
    /// Cap of one delay, in seconds.
    max_backoff_seconds: Option<i32>,
    /// One request, body included, in seconds.
    timeout_seconds: Option<i32>,
    /// What happens to a lane whose head used up its attempts.
    on_exhausted: OnExhausted,
    /// Lanes in flight at once in one worker.
    max_in_flight: Option<i32>,
    /// Requests a second at most, in each worker.
    rate_limit_per_second: Option<f64>,
    /// Whether it is sent to yet.
    state: WebhookState,
    /// Whether it is held; its backlog is kept.
    paused: bool,
    /// Why requests stopped: the receiver answered 410 Gone, or SQL wrote settings that no request
    /// can be made of. Null while enabled. The backlog is kept.
    disabled_reason: Option<String>,
    /// When it was created.
    created_at: Timestamp,
}

impl From<webhook::Webhook> for Webhook {
    fn from(webhook: webhook::Webhook) -> Self {
        let webhook::Webhook {
            id,
            topic_id,
            topic,
            url,
            header_names,
            filter,
            format,
            batch_size,
            max_retries,
            backoff_factor,
            max_backoff_seconds,
            timeout_seconds,
            on_exhausted,
            max_in_flight,
            rate_limit_per_second,
            state,
            paused,
            disabled_reason,
            created_at,
        } = webhook;
        Self {
            id,
            topic_id,
            topic,
            url,
            header_names,
            filter,
            format: format.into(),
            batch_size,
            max_retries,
            backoff_factor,
            max_backoff_seconds,
            timeout_seconds,
            on_exhausted: on_exhausted.into(),
            max_in_flight,
            rate_limit_per_second,
            state: state.into(),
            paused,
            disabled_reason,
            created_at,
        }
    }
}

/// A webhook and its secret.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct CreatedWebhook {
    #[serde(flatten)]
    webhook: Webhook,
    /// The signing secret. It is shown here and nowhere else.
    #[schema(examples("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"))]
    secret: String,
}

impl From<broker::CreatedWebhook> for CreatedWebhook {
    fn from(broker::CreatedWebhook { webhook, secret }: broker::CreatedWebhook) -> Self {
        Self { webhook: webhook.into(), secret: secret.expose_secret().to_owned() }
    }
}

/// A webhook and what it owes.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct WebhookStatus {
    /// The webhook.
    #[serde(flatten)]
    webhook: Webhook,
    /// Deliveries that are still owed. Exact up to 10000.
    backlog: i64,
    /// There are more than `backlog` says.
    backlog_capped: bool,
    /// Its dead letters. Exact up to 10000.
    dead_letters: i64,
    /// There are more than `dead_letters` says.
    dead_letters_capped: bool,
}

impl From<webhook::WebhookStatus> for WebhookStatus {
    fn from(status: webhook::WebhookStatus) -> Self {
        let webhook::WebhookStatus { webhook, owed } = status;
        let webhook::Owed { backlog, backlog_capped, dead_letters, dead_letters_capped } = owed;
        Self { webhook: webhook.into(), backlog, backlog_capped, dead_letters, dead_letters_capped }
    }
}

/// What came of deleting a webhook.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct DeletedWebhook {
    /// Always true.
    deleted: bool,
    /// Deliveries that nobody will make.
    dropped_deliveries: i64,
    /// Dead letters that nobody can replay.
    dropped_dead_letters: i64,
}

impl From<webhook::WebhookDeletion> for DeletedWebhook {
    fn from(deletion: webhook::WebhookDeletion) -> Self {
        let webhook::WebhookDeletion { dropped_deliveries, dropped_dead_letters } = deletion;
        Self { deleted: true, dropped_deliveries, dropped_dead_letters }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_tell_null_from_nothing() {
        let changes: WebhookChanges = serde_json::from_str(r#"{"filter":null,"max_retries":3}"#).unwrap();
        assert_eq!(changes.filter, Some(None));
        assert_eq!(changes.max_retries, Some(Some(3)));
        assert_eq!(changes.backoff_factor, None);
    }

    #[test]
    fn a_starting_point_is_noticed_whatever_it_says() {
        for (text, asked) in [
            (r#"{"url":"u","start_from":"earliest"}"#, true),
            (r#"{"url":"u","start_from":[1]}"#, true),
            (r#"{"url":"u"}"#, false),
        ] {
            let new: NewWebhook = serde_json::from_str(text).unwrap();
            assert_eq!(webhook::NewWebhook::from(new).start_from, asked, "{text}");
        }
    }
}
