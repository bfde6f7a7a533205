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
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Accepted, Self::Failed, Self::Gone];

    /// The word stored in `attempts.outcome`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Failed => "failed",
            Self::Gone => "gone",
        }
    }

    /// The outcome that a stored word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }
}

/// What kind of failure ended an attempt; the word stored in `attempts.error_class`.
///
/// In the order in which a request meets them: from the host's name to the receiver's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// The host's name did not resolve: it has no address, or no name server answered.
    Dns,
    /// No address could be connected to: refused, reset, unreachable, no answer in time.
    Connect,
    /// The TLS handshake failed, or the certificate is not trusted. Also an `https` URL of a
    /// receiver that speaks plain HTTP.
    Tls,
    /// The address is private, loopback or otherwise not to be reached, and no network allows it.
    Forbidden,
    /// The request took longer than the webhook's timeout, body included.
    Timeout,
    /// The receiver answered with a status outside 2xx that is no redirect.
    Status,
    /// The receiver answered with a redirect, which is never followed.
    Redirect,
    /// The connection broke, or the answer was not HTTP.
    Protocol,
    /// The request could not be built from what the webhook and the message say.
    Request,
}

impl ErrorClass {
    /// Every class.
    pub const ALL: [Self; 9] = [
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Forbidden,
        Self::Timeout,
        Self::Status,
        Self::Redirect,
        Self::Protocol,
        Self::Request,
    ];

    /// The word stored in `attempts.error_class`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Forbidden => "forbidden",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::Redirect => "redirect",
            Self::Protocol => "protocol",
            Self::Request => "request",
        }
    }

    /// The class that a stored word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == word)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classes_are_those_of_the_contract() {
        let words = ErrorClass::ALL.map(ErrorClass::as_str).join(" ");
        assert_eq!(words, "dns connect tls forbidden timeout status redirect protocol request");
        assert_eq!(ErrorClass::ALL.map(|class| ErrorClass::parse(class.as_str())), ErrorClass::ALL.map(Some));
        assert_eq!(ErrorClass::parse("network"), None);
    }
}
