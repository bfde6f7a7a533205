//! The bodies of webhooks.

use std::collections::BTreeMap;

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::{
    Health, HealthState,
    headers::headers,
    number::{Whole, query_integer},
    place::StartFrom,
};
use crate::{
    broker,
    domain::{breaker, policy, webhook},
};

words! {
    /// The format of a request's body.
    #[serde(rename_all = "lowercase")]
    Format of webhook::Format {
        /// The payload, byte for byte. A batch is an array of payloads, without ids and without the
        /// messages' headers.
        Raw,
        /// A JSON object: `{id, topic, partition_key, type, created_at, headers, payload}`.
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
        /// The lane halts until an operator acts.
        Halt,
    }
}

words! {
    /// Whether the circuit breaker of a webhook may open.
    #[derive(Default)]
    #[serde(rename_all = "lowercase")]
    BreakerPolicy of breaker::BreakerPolicy {
        /// If nothing but failures comes back, only probes are sent until one is answered.
        #[default]
        Auto,
        /// It never opens.
        Off,
    }
}

words! {
    /// What happens to a webhook that is owed more than `max_owed`.
    #[derive(Default)]
    #[serde(rename_all = "snake_case")]
    OnOverflow of policy::OnOverflow {
        /// Its oldest messages move to the dead letters.
        #[default]
        DeadLetterOldest,
        /// Only the newest message of each lane is sent, whether or not there is a limit.
        KeepLatest,
        /// Its topic refuses messages.
        Refuse,
    }
}

words! {
    /// Whether the lanes of a webhook may be claimed yet.
    #[serde(rename_all = "lowercase")]
    WebhookState of webhook::WebhookState {
        /// Messages are fanned out to it. Its lanes are not claimed yet.
        Starting,
        /// Messages are fanned out to it, and its lanes are claimed.
        Active,
    }
}

/// A webhook to be created. A policy field that is left out or null means the worker's default.
// No `Debug`: headers may hold credentials.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewWebhook {
    /// The topic's name, or its id as text. Give either this or `topic_id`.
    #[serde(default)]
    #[schema(examples("orders"))]
    topic: Option<String>,
    /// The topic's id. Give either this or `topic`.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    topic_id: Option<Whole<i64>>,
    /// Its name, unique in its topic: 1 to 255 characters of `[A-Za-z0-9._-]`, not all digits, and
    /// neither `.` nor `..`. `webhook-` and its id unless given.
    #[serde(default)]
    #[schema(examples("billing"))]
    name: Option<String>,
    /// Where requests go.
    #[schema(examples("https://example.com/hooks/orders"))]
    url: String,
    /// The signing secret: `whsec_` and the base64 of 24 to 64 bytes, in the standard alphabet with
    /// padding. Generated unless given.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    secret: Option<SecretString>,
    /// Headers sent with every request: at most 64, and at most 8192 bytes as JSON.
    #[serde(default, deserialize_with = "headers")]
    headers: Option<BTreeMap<String, String>>,
    /// The types of the messages that it is owed: exact, or a start followed by `*`; 1 to 100, each
    /// of 1 to 255 bytes. Unless given: messages of every type, and those without a type.
    #[serde(default)]
    #[schema(examples(json!(["order.*"])))]
    types: Option<Vec<String>>,
    /// A jsonpath predicate of 1 to 4096 bytes. A message is owed only if the predicate is true for
    /// its payload, or is not evaluated. Without a filter every message is owed.
    #[serde(default)]
    #[schema(examples("$.event == \"order.created\""))]
    filter: Option<String>,
    /// The format of a request's body. Unless given: `envelope` if `batch_size` is more than 1, else
    /// `raw`.
    #[serde(default)]
    format: Option<Format>,
    /// How many consecutive messages of a lane one request may carry, 1 to 1000; 1 unless given.
    /// More than 1 sends a JSON array.
    #[serde(default)]
    #[schema(value_type = Option<i32>)]
    batch_size: Option<Whole<i32>>,
    /// How many attempts are made before a delivery is given up, the first one included; 1 to 1000.
    #[serde(default)]
    #[schema(value_type = Option<i32>)]
    max_retries: Option<Whole<i32>>,
    /// The back-off: the delay after the n-th failure is this number to the power of n, in seconds;
    /// 1 to 100.
    #[serde(default)]
    backoff_factor: Option<f64>,
    /// The longest delay, in seconds; 1 to 2592000.
    #[serde(default)]
    #[schema(value_type = Option<i32>)]
    max_backoff_seconds: Option<Whole<i32>>,
    /// The delay after the first failure, after the second, and so on, in seconds; the last one
    /// repeats. 1 to 100 delays, each 1 to 2592000. It takes the place of `backoff_factor` and
    /// `max_backoff_seconds`, which must then be left out.
    #[serde(default)]
    #[schema(value_type = Option<Vec<i32>>, examples(json!([5, 60, 600])))]
    retry_schedule: Option<Vec<Whole<i32>>>,
    /// Statuses after which a message is not tried again: 1 to 100 of them, each 300 to 599. 410
    /// disables the webhook all the same. Unless given, no status is.
    #[serde(default)]
    #[schema(value_type = Option<Vec<i32>>, examples(json!([400, 422])))]
    permanent_statuses: Option<Vec<Whole<i32>>>,
    /// How long one request may take, the answer's body included, in seconds; 1 to 600.
    #[serde(default)]
    #[schema(value_type = Option<i32>)]
    timeout_seconds: Option<Whole<i32>>,
    /// What happens to a lane whose head used up its attempts.
    #[serde(default)]
    on_exhausted: OnExhausted,
    /// Whether its circuit breaker may open.
    #[serde(default)]
    breaker: BreakerPolicy,
    /// How many lanes all workers together may have in flight; 1 to 10000.
    #[serde(default)]
    #[schema(value_type = Option<i32>)]
    max_in_flight: Option<Whole<i32>>,
    /// How many requests a second all workers together may send; 0.001 to 1000000. No limit unless given.
    #[serde(default)]
    rate_limit_per_second: Option<f64>,
    /// How old a message may be that is sent, in seconds; 1 to 31622400. An older one becomes a dead
    /// letter. No limit unless given.
    #[serde(default)]
    #[schema(value_type = Option<i32>)]
    max_age_seconds: Option<Whole<i32>>,
    /// How many messages it may be owed, replays aside; 1 to 1000000. The leader looks once a
    /// second. No limit unless given.
    #[serde(default)]
    #[schema(value_type = Option<i32>)]
    max_owed: Option<Whole<i32>>,
    /// What happens if it is owed more. `refuse` needs `max_owed`; while it is owed more, nobody can
    /// publish to its topic. `keep_latest` does not need it, and `batch_size` must be 1.
    #[serde(default)]
    on_overflow: OnOverflow,
    /// Where it begins: `now` (messages that are published from now on), `beginning` (the oldest
    /// message that is kept), the id of a message, or a time (RFC 3339). `now` unless given. With
    /// any other place the webhook is `starting` until a job has made the earlier messages owed.
    #[serde(default)]
    #[schema(value_type = Option<String>, examples("now"))]
    start_from: Option<StartFrom>,
}

impl From<NewWebhook> for webhook::NewWebhook {
    fn from(new: NewWebhook) -> Self {
        Self {
            topic: new.topic,
            topic_id: new.topic_id.map(|number| number.0),
            name: new.name,
            url: new.url,
            secret: new.secret,
            headers: new.headers,
            types: new.types,
            filter: new.filter,
            format: new.format.map(Into::into),
            batch_size: new.batch_size.map(|number| number.0),
            max_retries: new.max_retries.map(|number| number.0),
            backoff_factor: new.backoff_factor,
            max_backoff_seconds: new.max_backoff_seconds.map(|number| number.0),
            retry_schedule: new.retry_schedule.map(wholes),
            permanent_statuses: new.permanent_statuses.map(wholes),
            timeout_seconds: new.timeout_seconds.map(|number| number.0),
            on_exhausted: new.on_exhausted.into(),
            breaker: new.breaker.into(),
            max_in_flight: new.max_in_flight.map(|number| number.0),
            rate_limit_per_second: new.rate_limit_per_second,
            max_age_seconds: new.max_age_seconds.map(|number| number.0),
            max_owed: new.max_owed.map(|number| number.0),
            on_overflow: new.on_overflow.into(),
            start_from: new.start_from.map(Into::into).unwrap_or_default(),
        }
    }
}

/// A list of integers.
pub(super) fn wholes(list: Vec<Whole<i32>>) -> Vec<i32> {
    list.into_iter().map(|number| number.0).collect()
}

/// A webhook as operators see it. A policy field that is null means the worker's default.
///
/// Secrets are never shown. Of the headers only the names are shown, because values may be
/// credentials.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Webhook {
    /// Its id.
    id: i64,
    /// Its topic's id.
    topic_id: i64,
    /// Its topic's name.
    topic: String,
    /// Its name, which is unique in its topic.
    name: String,
    /// Where requests go.
    url: String,
    /// The names of the headers that are sent with every request.
    header_names: Vec<String>,
    /// The types of the messages that it is owed: exact, or a start followed by `*`. Null: messages
    /// of every type, and those without a type.
    types: Option<Vec<String>>,
    /// A jsonpath predicate. A message is owed only if the predicate is true for its payload, or
    /// is not evaluated. Null lets every message through.
    filter: Option<String>,
    /// The format of a request's body.
    format: Format,
    /// How many consecutive messages of a lane one request may carry.
    batch_size: i32,
    /// How many attempts are made before a delivery is given up, the first one included.
    max_retries: Option<i32>,
    /// The back-off: the delay after the n-th failure is this number to the power of n, in seconds.
    backoff_factor: Option<f64>,
    /// The longest delay, in seconds.
    max_backoff_seconds: Option<i32>,
    /// The delay after the first failure, after the second, and so on, in seconds; the last one
    /// repeats. Null: `backoff_factor` and `max_backoff_seconds` say how long.
    retry_schedule: Option<Vec<i32>>,
    /// Statuses after which a message is not tried again. Null: none.
    permanent_statuses: Option<Vec<i32>>,
    /// How long one request may take, the answer's body included, in seconds.
    timeout_seconds: Option<i32>,
    /// What happens to a lane whose head used up its attempts.
    on_exhausted: OnExhausted,
    /// Whether its circuit breaker may open.
    breaker: BreakerPolicy,
    /// How many lanes all workers together may have in flight.
    max_in_flight: Option<i32>,
    /// How many requests a second all workers together may send; null is no limit.
    rate_limit_per_second: Option<f64>,
    /// How old a message may be that is sent, in seconds; null is no limit.
    max_age_seconds: Option<i32>,
    /// How many messages it may be owed, replays aside; null is no limit.
    max_owed: Option<i32>,
    /// What happens if it is owed more.
    on_overflow: OnOverflow,
    /// Whether it was owed more than `max_owed`, and since then never less than nine tenths of it. The
    /// leader looks once a second.
    overflowing: bool,
    /// Whether its lanes may be claimed yet.
    state: WebhookState,
    /// Whether it is paused. Its backlog is kept, and new messages are still owed.
    paused: bool,
    /// Why it was disabled: the receiver answered 410 Gone, or no request can be made from its
    /// settings. Null while it is enabled. Its backlog is kept.
    disabled_reason: Option<String>,
    /// When it was created.
    created_at: Timestamp,
    /// How it does.
    health: Health,
}

impl From<webhook::Webhook> for Webhook {
    fn from(webhook: webhook::Webhook) -> Self {
        let webhook::Webhook {
            id,
            topic_id,
            topic,
            name,
            url,
            header_names,
            types,
            filter,
            format,
            batch_size,
            max_retries,
            backoff_factor,
            max_backoff_seconds,
            retry_schedule,
            permanent_statuses,
            timeout_seconds,
            on_exhausted,
            breaker,
            max_in_flight,
            rate_limit_per_second,
            max_age_seconds,
            max_owed,
            on_overflow,
            overflowing,
            state,
            paused,
            disabled_reason,
            created_at,
            health,
        } = webhook;
        Self {
            id,
            topic_id,
            topic,
            name,
            url,
            header_names,
            types,
            filter,
            format: format.into(),
            batch_size,
            max_retries,
            backoff_factor,
            max_backoff_seconds,
            retry_schedule,
            permanent_statuses,
            timeout_seconds,
            on_exhausted: on_exhausted.into(),
            breaker: breaker.into(),
            max_in_flight,
            rate_limit_per_second,
            max_age_seconds,
            max_owed,
            on_overflow: on_overflow.into(),
            overflowing,
            state: state.into(),
            paused,
            disabled_reason,
            created_at,
            health: health.into(),
        }
    }
}

/// A webhook that was just created, and its secret.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct CreatedWebhook {
    #[serde(flatten)]
    webhook: Webhook,
    /// The signing secret. It is never shown again.
    #[schema(examples("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"))]
    secret: String,
}

impl From<broker::CreatedWebhook> for CreatedWebhook {
    fn from(broker::CreatedWebhook { webhook, secret }: broker::CreatedWebhook) -> Self {
        Self { webhook: webhook.into(), secret: secret.expose_secret().to_owned() }
    }
}

/// Which webhooks to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WebhooksQuery {
    /// Only webhooks of this topic, by id or name.
    pub(crate) topic: Option<String>,
    /// Only webhooks whose health is in this state.
    pub(crate) state: Option<HealthState>,
    /// The most items on the page, 1 to 1000; 100 unless given.
    #[serde(default, deserialize_with = "query_integer")]
    pub(crate) limit: Option<i64>,
    /// `next` of the previous page.
    #[serde(default)]
    pub(crate) after: Option<String>,
}

/// What was deleted with a webhook.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct DeletedWebhook {
    /// Always true.
    deleted: bool,
    /// How many deliveries were still owed and are dropped.
    dropped_deliveries: i64,
    /// How many dead letters are dropped.
    dropped_dead_letters: i64,
}

impl From<webhook::WebhookDeletion> for DeletedWebhook {
    fn from(deletion: webhook::WebhookDeletion) -> Self {
        let webhook::WebhookDeletion { dropped_deliveries, dropped_dead_letters } = deletion;
        Self { deleted: true, dropped_deliveries, dropped_dead_letters }
    }
}
