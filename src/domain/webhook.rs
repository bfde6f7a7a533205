//! A webhook: the subscription of a URL to a topic, with its own policy.

use std::{fmt, time::Duration};

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
