//! A webhook: the subscription of a URL to a topic, with its own policy. This file also holds the
//! rules that a new webhook must keep.
//!
//! URLs, header names and secrets are checked by `delivery`, which sends them.

use jiff::Timestamp;
use secrecy::SecretString;

use super::{
    breaker::BreakerPolicy,
    headers::{Headers, check_headers, headers_json},
    health::{Health, HealthState},
    message_type::check_types,
    policy::{
        BACKOFF_FACTOR, BATCH_SIZE, MAX_AGE_SECONDS, MAX_BACKOFF_SECONDS, MAX_IN_FLIGHT, MAX_OWED,
        MAX_RETRIES, OnExhausted, OnOverflow, RATE_LIMIT_PER_SECOND, TIMEOUT_SECONDS, check_overflow,
        check_permanent_statuses, check_range, check_retry_schedule,
    },
    range::{MessageRange, StartFrom},
    topic::{NAME_RULE, TopicRef, is_name},
    violation::Violations,
    words::stored_words,
};

/// The longest filter, in bytes.
pub const FILTER_MAX: usize = 4096;

stored_words! {
    /// The format of a request's body.
    pub enum Format {
        /// The payload, byte for byte. A batch is an array of payloads, without ids and without the
        /// messages' headers.
        Raw = "raw",
        /// A JSON object: `{id, topic, partition_key, type, created_at, headers, payload}`.
        Envelope = "envelope",
        /// `CloudEvents` 1.0, structured JSON.
        CloudEvents = "cloudevents",
    }
}

stored_words! {
    /// Whether the lanes of a webhook may be claimed yet.
    pub enum WebhookState {
        /// Messages are fanned out to it. Its lanes are not claimed yet.
        Starting = "starting",
        /// Messages are fanned out to it, and its lanes are claimed.
        Active = "active",
    }
}

/// A webhook as operators see it. A policy field that is `None` means the worker's default.
///
/// Secrets are never shown. Of the headers only the names are shown, because values may be
/// credentials.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// Its id.
    pub id: i64,
    /// Its topic's id.
    pub topic_id: i64,
    /// Its topic's name.
    pub topic: String,
    /// Its name, which is unique in its topic.
    pub name: String,
    /// Where requests go.
    pub url: String,
    /// The names of the headers that are sent with every request.
    pub header_names: Vec<String>,
    /// The types of the messages that it is owed: exact, or a start followed by `*`. `None`: it is
    /// owed messages of every type, and those without a type.
    pub types: Option<Vec<String>>,
    /// A jsonpath predicate. A message is owed only if the predicate is true for its payload, or
    /// is not evaluated. `None` lets every message through.
    pub filter: Option<String>,
    /// The format of a request's body.
    pub format: Format,
    /// How many consecutive messages of a lane one request may carry.
    pub batch_size: i32,
    /// How many attempts are made before a delivery is given up, the first one included.
    pub max_retries: Option<i32>,
    /// The back-off: the delay after the n-th failure is this number to the power of n, in seconds.
    pub backoff_factor: Option<f64>,
    /// The longest delay, in seconds.
    pub max_backoff_seconds: Option<i32>,
    /// The delay after the first failure, after the second, and so on, in seconds; the last one
    /// repeats. `None`: the back-off says how long.
    pub retry_schedule: Option<Vec<i32>>,
    /// The statuses after which a message is not tried again. `None`: none.
    pub permanent_statuses: Option<Vec<i32>>,
    /// How long one request may take, the answer's body included, in seconds.
    pub timeout_seconds: Option<i32>,
    /// What happens to a lane whose head used up its attempts.
    pub on_exhausted: OnExhausted,
    /// Whether its breaker may open.
    pub breaker: BreakerPolicy,
    /// How many lanes all workers together may have in flight.
    pub max_in_flight: Option<i32>,
    /// How many requests a second all workers together may send; `None` is no limit.
    pub rate_limit_per_second: Option<f64>,
    /// How old a message may be that is sent, in seconds; `None` is no limit.
    pub max_age_seconds: Option<i32>,
    /// How many messages it may be owed, replays aside; `None` is no limit.
    pub max_owed: Option<i32>,
    /// What happens if it is owed more.
    pub on_overflow: OnOverflow,
    /// Whether it was owed more when the leader looked last, and has not been owed clearly less since.
    pub overflowing: bool,
    /// Whether its lanes may be claimed yet.
    pub state: WebhookState,
    /// Whether it is paused. Its backlog is kept, and new messages are still owed.
    pub paused: bool,
    /// Why it was disabled: the receiver answered 410 Gone, or no request can be made from its
    /// settings. `None` while it is enabled. Its backlog is kept.
    pub disabled_reason: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Its health.
    pub health: Health,
}

/// Which webhooks to list. A field that is `None` excludes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookFilter {
    /// Only those of this topic.
    pub topic: Option<TopicRef>,
    /// Only those whose health is in this state.
    pub state: Option<HealthState>,
}

/// What was deleted with a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebhookDeletion {
    /// How many deliveries were still owed and are dropped.
    pub dropped_deliveries: i64,
    /// How many dead letters are dropped.
    pub dropped_dead_letters: i64,
}

/// What PostgreSQL says of a text that is to be a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterVerdict {
    /// It is a filter.
    Accepted,
    /// It is a jsonpath, but no filter: it is no predicate, or would cost publishers too much.
    /// Holds the rule that it breaks.
    Refused(String),
    /// It is not a jsonpath. Holds PostgreSQL's message.
    Unreadable(String),
}

/// A webhook to be created. A policy field that is `None` means the worker's default.
///
/// No `Debug`: headers may hold credentials.
#[derive(Clone, Default)]
pub struct NewWebhook {
    /// The topic's name, or its id as text. Give either this or `topic_id`.
    pub topic: Option<String>,
    /// The topic's id. Give either this or `topic`.
    pub topic_id: Option<i64>,
    /// Its name, unique in its topic: 1 to 255 characters of `[A-Za-z0-9._-]`, not all digits, and
    /// neither `.` nor `..`. `None`: `webhook-` and its id.
    pub name: Option<String>,
    /// Where requests go.
    pub url: String,
    /// The signing secret: `whsec_` and the base64 of 24 to 64 bytes, in the standard alphabet with
    /// padding. Generated unless given.
    pub secret: Option<SecretString>,
    /// Headers sent with every request: at most 64, and at most 8192 bytes as JSON.
    pub headers: Option<Headers>,
    /// The types of the messages that it is owed: exact, or a start followed by `*` (`order.*`); 1
    /// to 100, each of 1 to 255 bytes. `None`: messages of every type, and those without a type.
    pub types: Option<Vec<String>>,
    /// A jsonpath predicate of 1 to 4096 bytes. A message is owed only if the predicate is true for
    /// its payload, or is not evaluated. `None` lets every message through.
    pub filter: Option<String>,
    /// The format of a request's body. `None`: envelope if `batch_size` is more than 1, else raw.
    pub format: Option<Format>,
    /// How many consecutive messages of a lane one request may carry, 1 to 1000. More than 1 sends
    /// a JSON array. `None` is 1.
    pub batch_size: Option<i32>,
    /// How many attempts are made before a delivery is given up, the first one included; 1 to 1000.
    pub max_retries: Option<i32>,
    /// The back-off: the delay after the n-th failure is this number to the power of n, in seconds;
    /// 1 to 100.
    pub backoff_factor: Option<f64>,
    /// The longest delay, in seconds; 1 to 2592000.
    pub max_backoff_seconds: Option<i32>,
    /// The delay after the first failure, after the second, and so on, in seconds; the last one
    /// repeats. 1 to 100 delays, each 1 to 2592000. It takes the place of `backoff_factor` and
    /// `max_backoff_seconds`.
    pub retry_schedule: Option<Vec<i32>>,
    /// Statuses after which a message is not tried again: 1 to 100 of them, each 300 to 599. 410
    /// disables the webhook all the same.
    pub permanent_statuses: Option<Vec<i32>>,
    /// How long one request may take, the answer's body included, in seconds; 1 to 600.
    pub timeout_seconds: Option<i32>,
    /// What happens to a lane whose head used up its attempts.
    pub on_exhausted: OnExhausted,
    /// Whether its breaker may open.
    pub breaker: BreakerPolicy,
    /// How many lanes all workers together may have in flight; 1 to 10000.
    pub max_in_flight: Option<i32>,
    /// How many requests a second all workers together may send; 0.001 to 1000000. `None` is no limit.
    pub rate_limit_per_second: Option<f64>,
    /// How old a message may be that is sent, in seconds; 1 to 31622400. `None` is no limit.
    pub max_age_seconds: Option<i32>,
    /// How many messages it may be owed, replays aside; 1 to 1000000. `None` is no limit.
    pub max_owed: Option<i32>,
    /// What happens if it is owed more. [`OnOverflow::Refuse`] needs `max_owed`;
    /// [`OnOverflow::KeepLatest`] does not, and takes no batches.
    pub on_overflow: OnOverflow,
    /// Where it begins. With any other place than now it is `starting` until a job has made the
    /// earlier messages owed.
    pub start_from: StartFrom,
}

impl NewWebhook {
    /// Checks everything but URL, header names and values, and secret.
    ///
    /// # Errors
    /// Every broken rule.
    pub fn check(&self) -> Result<(), Violations> {
        let mut violations = Violations::default();
        violations.require(
            self.topic.is_some() != self.topic_id.is_some(),
            "topic",
            "must be given, or topic_id in its place, and not both",
        );
        check_name(self.name.as_deref(), &mut violations);
        let start = MessageRange::starting(self.start_from).and_then(|range| range.first_id());
        violations.require(
            start.is_none_or(|id| id > 0),
            "start_from",
            "must be the id of a message, which is 1 or more",
        );
        check_headers(self.headers.as_ref(), &mut violations);
        check_types(self.types.as_deref(), &mut violations);
        check_filter(self.filter.as_deref(), &mut violations);
        check_range("batch_size", self.batch_size, &BATCH_SIZE, &mut violations);
        check_range("max_retries", self.max_retries, &MAX_RETRIES, &mut violations);
        check_range("backoff_factor", self.backoff_factor, &BACKOFF_FACTOR, &mut violations);
        check_range("max_backoff_seconds", self.max_backoff_seconds, &MAX_BACKOFF_SECONDS, &mut violations);
        let with_backoff = self.backoff_factor.is_some() || self.max_backoff_seconds.is_some();
        check_retry_schedule(self.retry_schedule.as_deref(), with_backoff, &mut violations);
        check_permanent_statuses(self.permanent_statuses.as_deref(), &mut violations);
        check_range("timeout_seconds", self.timeout_seconds, &TIMEOUT_SECONDS, &mut violations);
        check_range("max_in_flight", self.max_in_flight, &MAX_IN_FLIGHT, &mut violations);
        check_range(
            "rate_limit_per_second",
            self.rate_limit_per_second,
            &RATE_LIMIT_PER_SECOND,
            &mut violations,
        );
        check_range("max_age_seconds", self.max_age_seconds, &MAX_AGE_SECONDS, &mut violations);
        check_range("max_owed", self.max_owed, &MAX_OWED, &mut violations);
        let is_limited = Some(self.max_owed.is_some());
        check_overflow(Some(self.on_overflow), self.batch_size, is_limited, &mut violations);
        violations.finish()
    }

    /// The topic that is meant; `None` if no topic can have that name or id.
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

/// Changes of a webhook. A field that is `None` stays as it is. `Some(None)` returns to the
/// default.
///
/// No `Debug`: headers may hold credentials.
#[derive(Clone, Default, PartialEq)]
pub struct WebhookChanges {
    /// Its name, as of a new webhook.
    pub name: Option<String>,
    /// Where requests go.
    pub url: Option<String>,
    /// Headers sent with every request: at most 64, and at most 8192 bytes as JSON. They replace
    /// all earlier ones.
    pub headers: Option<Headers>,
    /// The types of the messages that it is owed from now on, as of a new webhook. `Some(None)`:
    /// messages of every type, and those without a type.
    pub types: Option<Option<Vec<String>>>,
    /// A jsonpath predicate of 1 to 4096 bytes, for messages that are published from now on.
    /// `Some(None)` lets every message through.
    pub filter: Option<Option<String>>,
    /// The format of a request's body.
    pub format: Option<Format>,
    /// How many consecutive messages of a lane one request may carry, 1 to 1000. More than 1 sends
    /// a JSON array.
    pub batch_size: Option<i32>,
    /// How many attempts are made before a delivery is given up, the first one included; 1 to 1000.
    pub max_retries: Option<Option<i32>>,
    /// The back-off: the delay after the n-th failure is this number to the power of n, in seconds;
    /// 1 to 100.
    pub backoff_factor: Option<Option<f64>>,
    /// The longest delay, in seconds; 1 to 2592000.
    pub max_backoff_seconds: Option<Option<i32>>,
    /// The delay after each failure, as of a new webhook. `Some(None)`: the back-off says how long.
    pub retry_schedule: Option<Option<Vec<i32>>>,
    /// Statuses after which a message is not tried again, as of a new webhook.
    pub permanent_statuses: Option<Option<Vec<i32>>>,
    /// How long one request may take, the answer's body included, in seconds; 1 to 600.
    pub timeout_seconds: Option<Option<i32>>,
    /// What happens to a lane whose head used up its attempts.
    pub on_exhausted: Option<OnExhausted>,
    /// Whether its breaker may open.
    pub breaker: Option<BreakerPolicy>,
    /// How many lanes all workers together may have in flight; 1 to 10000.
    pub max_in_flight: Option<Option<i32>>,
    /// How many requests a second all workers together may send; 0.001 to 1000000.
    pub rate_limit_per_second: Option<Option<f64>>,
    /// How old a message may be that is sent, in seconds; 1 to 31622400.
    pub max_age_seconds: Option<Option<i32>>,
    /// How many messages it may be owed, replays aside; 1 to 1000000.
    pub max_owed: Option<Option<i32>>,
    /// What happens if it is owed more, as of a new webhook.
    pub on_overflow: Option<OnOverflow>,
    /// `true` pauses the webhook; its backlog is kept. `false` ends the pause.
    pub paused: Option<bool>,
    /// Enables it, if it was disabled.
    pub enable: bool,
}

impl WebhookChanges {
    /// Enables a webhook that was disabled.
    pub fn enable() -> Self {
        Self { enable: true, ..Self::default() }
    }

    /// Pauses a webhook, or ends its pause.
    pub fn pause(paused: bool) -> Self {
        Self { paused: Some(paused), ..Self::default() }
    }

    /// Checks everything but URL, and header names and values.
    ///
    /// # Errors
    /// Every broken rule.
    pub fn check(&self) -> Result<(), Violations> {
        let mut violations = Violations::default();
        check_name(self.name.as_deref(), &mut violations);
        check_headers(self.headers.as_ref(), &mut violations);
        check_types(given(&self.types), &mut violations);
        check_filter(self.filter.as_ref().and_then(Option::as_deref), &mut violations);
        check_range("batch_size", self.batch_size, &BATCH_SIZE, &mut violations);
        check_range("max_retries", self.max_retries.flatten(), &MAX_RETRIES, &mut violations);
        check_range("backoff_factor", self.backoff_factor.flatten(), &BACKOFF_FACTOR, &mut violations);
        check_range(
            "max_backoff_seconds",
            self.max_backoff_seconds.flatten(),
            &MAX_BACKOFF_SECONDS,
            &mut violations,
        );
        let with_backoff =
            self.backoff_factor.flatten().is_some() || self.max_backoff_seconds.flatten().is_some();
        check_retry_schedule(given(&self.retry_schedule), with_backoff, &mut violations);
        check_permanent_statuses(given(&self.permanent_statuses), &mut violations);
        check_range("timeout_seconds", self.timeout_seconds.flatten(), &TIMEOUT_SECONDS, &mut violations);
        check_range("max_in_flight", self.max_in_flight.flatten(), &MAX_IN_FLIGHT, &mut violations);
        check_range(
            "rate_limit_per_second",
            self.rate_limit_per_second.flatten(),
            &RATE_LIMIT_PER_SECOND,
            &mut violations,
        );
        check_range("max_age_seconds", self.max_age_seconds.flatten(), &MAX_AGE_SECONDS, &mut violations);
        check_range("max_owed", self.max_owed.flatten(), &MAX_OWED, &mut violations);
        let is_limited = self.max_owed.map(|limit| limit.is_some());
        check_overflow(self.on_overflow, self.batch_size, is_limited, &mut violations);
        violations.finish()
    }
}

/// The list that a change gives.
#[expect(clippy::ref_option, clippy::option_option, reason = "it is a field of the changes")]
fn given<T>(change: &Option<Option<Vec<T>>>) -> Option<&[T]> {
    change.as_ref().and_then(Option::as_deref)
}

fn check_name(name: Option<&str>, violations: &mut Violations) {
    violations.require(name.is_none_or(is_name), "name", NAME_RULE);
}

fn check_filter(filter: Option<&str>, violations: &mut Violations) {
    let Some(filter) = filter else { return };
    let holds = (1..=FILTER_MAX).contains(&filter.len()) && !filter.contains('\0');
    violations.require(holds, "filter", &format!("must be a jsonpath of 1 to {FILTER_MAX} bytes"));
}

#[cfg(test)]
mod tests;
