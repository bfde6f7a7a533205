//! The body of a change of a webhook.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    headers::headers,
    number::Whole,
    present,
    webhook::{BreakerPolicy, Format, OnExhausted, OnOverflow, wholes},
};
use crate::domain::webhook;

/// Changes of a webhook. A field that is left out stays as it is. A policy field that is null
/// returns to the default.
// No `Debug`: headers may hold credentials.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "three cases: left out, null, a value")]
pub(crate) struct WebhookChanges {
    /// Its name, unique in its topic.
    #[serde(default)]
    name: Option<String>,
    /// Where requests go.
    #[serde(default)]
    url: Option<String>,
    /// Headers sent with every request: at most 64, and at most 8192 bytes as JSON. They replace
    /// all earlier ones.
    #[serde(default, deserialize_with = "headers")]
    headers: Option<BTreeMap<String, String>>,
    /// The types of the messages that it is owed from now on: exact, or a start followed by `*`.
    /// Null: messages of every type, and those without a type.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Vec<String>>)]
    types: Option<Option<Vec<String>>>,
    /// A jsonpath predicate of 1 to 4096 bytes, for messages that are published from now on. Null
    /// lets every message through.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    filter: Option<Option<String>>,
    /// The format of a request's body.
    #[serde(default)]
    format: Option<Format>,
    /// How many consecutive messages of a lane one request may carry, 1 to 1000. More than 1 sends
    /// a JSON array.
    #[serde(default)]
    #[schema(value_type = Option<i32>)]
    batch_size: Option<Whole<i32>>,
    /// How many attempts are made before a delivery is given up, the first one included; 1 to 1000.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i32>)]
    max_retries: Option<Option<Whole<i32>>>,
    /// The back-off: the delay after the n-th failure is this number to the power of n, in seconds;
    /// 1 to 100.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<f64>)]
    backoff_factor: Option<Option<f64>>,
    /// The longest delay, in seconds; 1 to 2592000.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i32>)]
    max_backoff_seconds: Option<Option<Whole<i32>>>,
    /// The delay after the first failure, after the second, and so on, in seconds; the last one
    /// repeats. 1 to 100 delays, each 1 to 2592000. It takes the place of `backoff_factor` and
    /// `max_backoff_seconds`, which must then be null. Null: these say how long.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Vec<i32>>)]
    retry_schedule: Option<Option<Vec<Whole<i32>>>>,
    /// Statuses after which a message is not tried again: 1 to 100 of them, each 300 to 599. Null:
    /// none.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Vec<i32>>)]
    permanent_statuses: Option<Option<Vec<Whole<i32>>>>,
    /// How long one request may take, the answer's body included, in seconds; 1 to 600.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i32>)]
    timeout_seconds: Option<Option<Whole<i32>>>,
    /// What happens to a lane whose head used up its attempts.
    #[serde(default)]
    on_exhausted: Option<OnExhausted>,
    /// Whether its circuit breaker may open. If it is open, each change of this field closes it.
    #[serde(default)]
    breaker: Option<BreakerPolicy>,
    /// How many lanes all workers together may have in flight; 1 to 10000.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i32>)]
    max_in_flight: Option<Option<Whole<i32>>>,
    /// How many requests a second all workers together may send; 0.001 to 1000000. Null is no limit.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<f64>)]
    rate_limit_per_second: Option<Option<f64>>,
    /// How old a message may be that is sent, in seconds; 1 to 31622400. Null is no limit.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i32>)]
    max_age_seconds: Option<Option<Whole<i32>>>,
    /// How many messages it may be owed, replays aside; 1 to 1000000. Null is no limit.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i32>)]
    max_owed: Option<Option<Whole<i32>>>,
    /// What happens if it is owed more. `refuse` needs `max_owed`; with `keep_latest`, `batch_size`
    /// must be 1.
    #[serde(default)]
    on_overflow: Option<OnOverflow>,
    /// `true` pauses the webhook; its backlog is kept. `false` ends the pause.
    #[serde(default)]
    paused: Option<bool>,
}

/// An integer that may be left out, or null.
#[expect(clippy::option_option, reason = "three cases: left out, null, a value")]
fn whole(field: Option<Option<Whole<i32>>>) -> Option<Option<i32>> {
    field.map(|number| number.map(|number| number.0))
}

impl From<WebhookChanges> for webhook::WebhookChanges {
    fn from(changes: WebhookChanges) -> Self {
        Self {
            name: changes.name,
            url: changes.url,
            headers: changes.headers,
            types: changes.types,
            filter: changes.filter,
            format: changes.format.map(Into::into),
            batch_size: changes.batch_size.map(|number| number.0),
            max_retries: whole(changes.max_retries),
            backoff_factor: changes.backoff_factor,
            max_backoff_seconds: whole(changes.max_backoff_seconds),
            retry_schedule: changes.retry_schedule.map(|list| list.map(wholes)),
            permanent_statuses: changes.permanent_statuses.map(|list| list.map(wholes)),
            timeout_seconds: whole(changes.timeout_seconds),
            on_exhausted: changes.on_exhausted.map(Into::into),
            breaker: changes.breaker.map(Into::into),
            max_in_flight: whole(changes.max_in_flight),
            rate_limit_per_second: changes.rate_limit_per_second,
            max_age_seconds: whole(changes.max_age_seconds),
            max_owed: whole(changes.max_owed),
            on_overflow: changes.on_overflow.map(Into::into),
            paused: changes.paused,
            enable: false,
        }
    }
}

#[cfg(test)]
mod tests;
