//! An attempt: one HTTP request made for a delivery, and how it ended.

use std::time::Duration;

/// How an attempt ended, as the delivery rules see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver answered 2xx: it owns the message now.
    Accepted,
    /// Every other answer, or no whole answer. `retry::after_failure` decides what follows.
    Failed,
    /// The receiver answered 410 Gone: the webhook is disabled, and its backlog is kept.
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

    /// The outcome of a stored word; `None` if the word is unknown.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }
}

/// The kind of failure that ended an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// The host's name did not resolve: it has no address, or no name server answered.
    Dns,
    /// No TCP connection could be made to any address: refused, reset, unreachable, no answer in
    /// time.
    Connect,
    /// The TLS handshake failed, or the certificate is not trusted. Also: the URL is `https`, and
    /// the receiver speaks plain HTTP.
    Tls,
    /// The address guard refused the address: it is not public, and `delivery.allow_networks` does
    /// not contain it.
    Forbidden,
    /// The request took longer than the webhook's timeout, the answer's body included.
    Timeout,
    /// The receiver answered with a status outside 2xx and 3xx.
    Status,
    /// The receiver answered with a redirect, which is never followed.
    Redirect,
    /// The connection broke, or the answer was not HTTP.
    Protocol,
    /// No request could be made from the webhook's settings and the messages. Nothing was sent.
    Request,
}

impl ErrorClass {
    /// All of them.
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

    /// The class of a stored word; `None` if the word is unknown.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == word)
    }
}

/// The result of one HTTP request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptResult {
    /// How it ended.
    pub outcome: Outcome,
    /// The HTTP status, if the head of an answer came.
    pub status_code: Option<u16>,
    /// The kind of failure; `None` exactly if it was accepted.
    pub error_class: Option<ErrorClass>,
    /// Why it failed, in one line for people; `None` exactly if it was accepted.
    pub error: Option<String>,
    /// How long it took: from the start to the end of the answer's body, or to the failure.
    pub duration: Duration,
    /// The first 2 KiB of the answer's body, as text. `None` if the attempt was accepted, or if
    /// there was no whole answer or no body.
    pub response_excerpt: Option<String>,
    /// How long the receiver asked to wait (`Retry-After`), at most 366 days. `None` if the attempt
    /// was accepted.
    pub retry_after: Option<Duration>,
}

impl AttemptResult {
    /// No request could be made, for this reason.
    pub fn no_request(error: String) -> Self {
        Self {
            outcome: Outcome::Failed,
            status_code: None,
            error_class: Some(ErrorClass::Request),
            error: Some(error),
            duration: Duration::ZERO,
            response_excerpt: None,
            retry_after: None,
        }
    }
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
