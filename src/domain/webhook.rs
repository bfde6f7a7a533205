//! A webhook: the subscription of a URL to a topic, with its own policy.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// What the body of a request is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The payload's exact bytes.
    #[default]
    Raw,
    /// `{id, topic, partition_key, created_at, payload}`.
    Envelope,
    /// `CloudEvents` 1.0, structured JSON.
    CloudEvents,
}

impl Format {
    /// The word stored in `webhooks.format`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Envelope => "envelope",
            Self::CloudEvents => "cloudevents",
        }
    }

    /// The format that a stored word names.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Raw, Self::Envelope, Self::CloudEvents].into_iter().find(|format| format.as_str() == word)
    }
}

/// What happens to a lane whose head used up its attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnExhausted {
    /// The head moves to the dead letters and the lane goes on.
    #[default]
    DeadLetter,
    /// The lane stops until an operator retries, skips or discards its head.
    Halt,
}

impl OnExhausted {
    /// The word stored in `webhooks.on_exhausted`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeadLetter => "dead_letter",
            Self::Halt => "halt",
        }
    }

    /// The choice that a stored word names.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::DeadLetter, Self::Halt].into_iter().find(|choice| choice.as_str() == word)
    }
}

/// A webhook's policy with the defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Attempts before the dead letter, the first one included.
    pub max_retries: u32,
    /// The delay after the n-th failure is this to the power of n, in seconds.
    pub backoff_factor: f64,
    /// Cap of one delay.
    pub max_backoff: Duration,
    /// One request, body included.
    pub timeout: Duration,
    /// What happens when the attempts are used up.
    pub on_exhausted: OnExhausted,
    /// Lanes in flight at once in one worker; `None` leaves it to the worker.
    pub max_in_flight: Option<u32>,
}

/// What a worker must know of a webhook to deliver to it.
#[derive(Clone)]
pub struct Target {
    /// The webhook.
    pub webhook_id: i64,
    /// Its topic's name.
    pub topic: String,
    /// Where requests go.
    pub url: String,
    /// Signing secrets (`whsec_…`), newest first; every one of them signs.
    pub secrets: Vec<SecretString>,
    /// The webhook's own headers.
    pub headers: Vec<(String, String)>,
    /// What the body is made of.
    pub format: Format,
    /// How many consecutive messages of a lane one request may carry; more than 1 sends a JSON array.
    pub batch_size: usize,
    /// Retries, backoff, timeout.
    pub policy: Policy,
    /// Requests a second at most, in each worker; `None` is no limit.
    pub rate_limit_per_second: Option<f64>,
    /// Whether lanes of this webhook may be claimed: active, not paused, not disabled.
    pub deliverable: bool,
}

// The secrets redact themselves; headers may hold credentials, so they stay out as well.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("webhook_id", &self.webhook_id)
            .field("topic", &self.topic)
            .field("url", &self.url)
            .field("policy", &self.policy)
            .field("deliverable", &self.deliverable)
            .finish_non_exhaustive()
    }
}

/// A webhook as a worker finds it in the database.
#[derive(Debug, Clone)]
pub struct TargetRow {
    /// The webhook.
    pub webhook_id: i64,
    /// Whether lanes of this webhook may be claimed: active, not paused, not disabled.
    pub deliverable: bool,
    /// Which version of the row was read; another after every change.
    pub version: String,
    /// What a worker must know, or why it cannot be read.
    pub target: Result<Target, UnreadableTarget>,
}

/// Why a webhook's row cannot be read. Messages are one line, and show no value that may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableTarget {
    /// The headers are no JSON object of strings.
    #[error("the webhook's headers are not a JSON object whose values are strings")]
    Headers,
    /// A column holds a word that this release does not know.
    #[error("the webhook's {column} is {value:?}, which this release does not know")]
    Unknown {
        /// The column.
        column: &'static str,
        /// What stands in it.
        value: String,
    },
    /// A column holds something of another type than it should, such as null in an array.
    #[error("the webhook's {0} cannot be read")]
    Column(&'static str),
}

/// A webhook as its operators see it. A policy field that is null means the worker's `delivery` default. Secrets never
/// show, and of the headers, which may hold credentials, only the names do.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Webhook {
    /// Its id.
    pub id: i64,
    /// Its topic's id.
    pub topic_id: i64,
    /// Its topic's name.
    pub topic: String,
    /// Where requests go.
    pub url: String,
    /// The names of the headers sent with every request.
    pub header_names: Vec<String>,
    /// The jsonpath predicate that lets messages through; null lets everything through.
    pub filter: Option<String>,
    /// What the body of a request is made of.
    pub format: Format,
    /// Consecutive messages of a lane that one request may carry.
    pub batch_size: i32,
    /// Attempts before the dead letter.
    pub max_retries: Option<i32>,
    /// The delay after the n-th failure is this to the power of n, in seconds.
    pub backoff_factor: Option<f64>,
    /// Cap of one delay, in seconds.
    pub max_backoff_seconds: Option<i32>,
    /// One request, body included, in seconds.
    pub timeout_seconds: Option<i32>,
    /// What happens to a lane whose head used up its attempts.
    pub on_exhausted: OnExhausted,
    /// Lanes in flight at once in one worker.
    pub max_in_flight: Option<i32>,
    /// Requests a second at most, in each worker.
    pub rate_limit_per_second: Option<f64>,
    /// `starting` (owed messages, not sent to yet) or `active`.
    pub state: String,
    /// Whether it is held; its backlog is kept.
    pub paused: bool,
    /// Why requests stopped: the receiver answered 410 Gone, or SQL wrote settings that no request can be made of. Null
    /// while enabled. The backlog is kept.
    pub disabled_reason: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
}

/// A webhook and what it owes.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct WebhookStatus {
    /// The webhook.
    #[serde(flatten)]
    pub webhook: Webhook,
    /// Deliveries that are still owed. Exact up to 10000.
    pub backlog: i64,
    /// There are more than `backlog` says.
    pub backlog_capped: bool,
    /// Its dead letters. Exact up to 10000.
    pub dead_letters: i64,
    /// There are more than `dead_letters` says.
    pub dead_letters_capped: bool,
}

/// What went with a deleted webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct WebhookDeletion {
    /// Deliveries that nobody will make.
    pub dropped_deliveries: i64,
    /// Dead letters that nobody can replay.
    pub dropped_dead_letters: i64,
}

/// What a filter is, found by trying it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterKind {
    /// True, false or unknown for every payload: what a filter must be.
    Predicate,
    /// A path to a value, which would never match.
    Path,
    /// It names variables, which nobody could give a value.
    Variables,
}
