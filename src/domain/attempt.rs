//! An attempt: one HTTP request made for a delivery, and how it ended.

use std::time::Duration;

/// How an attempt ended, as the delivery rules see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver answered 2xx: it owns the message now.
    Accepted,
    /// Anything else: the lane waits and the same message is tried again.
    Failed,
    /// The receiver answered 410 Gone: the webhook is disabled and its backlog kept.
    Gone,
}

impl Outcome {
    /// The word stored in `attempts.outcome`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Failed => "failed",
            Self::Gone => "gone",
        }
    }
}

/// What kind of failure ended an attempt; the word stored in `attempts.error_class`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// The receiver answered with a status outside 2xx.
    Status,
    /// The receiver answered with a redirect, which is never followed.
    Redirect,
    /// No connection could be made: name resolution, refusal, reset, TLS.
    Connect,
    /// The address is private, loopback or otherwise not to be reached, and no network allows it.
    Forbidden,
    /// The request took longer than the webhook's timeout, body included.
    Timeout,
    /// The connection broke, or the answer was not HTTP.
    Protocol,
    /// The request could not be built from what the webhook and the message say.
    Request,
}

impl ErrorClass {
    /// The word stored in `attempts.error_class`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Redirect => "redirect",
            Self::Connect => "connect",
            Self::Forbidden => "forbidden",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Request => "request",
        }
    }
}

/// The result of one HTTP request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptResult {
    /// How it ended.
    pub outcome: Outcome,
    /// The HTTP status, where an answer came.
    pub status_code: Option<u16>,
    /// The kind of failure; `None` exactly when accepted.
    pub error_class: Option<ErrorClass>,
    /// One line for people; `None` exactly when accepted.
    pub error: Option<String>,
    /// From the start of the request to the end of the answer's body.
    pub duration: Duration,
    /// The first 2 KiB of the answer's body of a failed attempt, as text.
    pub response_excerpt: Option<String>,
    /// What the receiver asked for in `Retry-After`.
    pub retry_after: Option<Duration>,
}
