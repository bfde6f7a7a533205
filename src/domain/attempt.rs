//! An attempt: one HTTP request made for a delivery, and how it ended.

use std::time::Duration;

use super::words::stored_words;

stored_words! {
    /// How an attempt ended, as the delivery rules see it.
    pub enum Outcome {
        /// The receiver answered 2xx: it owns the message now.
        Accepted = "accepted",
        /// Every other answer, or no whole answer. `retry::after_failure` decides what follows.
        Failed = "failed",
        /// The receiver answered 410 Gone: the webhook is disabled, and its backlog is kept.
        Gone = "gone",
    }
}

stored_words! {
    /// The kind of failure that ended an attempt.
    pub enum ErrorClass {
        /// The host's name did not resolve: it has no address, or no name server answered.
        Dns = "dns",
        /// No TCP connection could be made to any address: refused, reset, unreachable, no answer
        /// in time.
        Connect = "connect",
        /// The TLS handshake failed, or the certificate is not trusted. Also: the URL is `https`,
        /// and the receiver speaks plain HTTP.
        Tls = "tls",
        /// The address guard refused the address: it is not public, and `delivery.allow_networks`
        /// does not contain it.
        Forbidden = "forbidden",
        /// The request took longer than the webhook's timeout, the answer's body included.
        Timeout = "timeout",
        /// The receiver answered with a status outside 2xx and 3xx.
        Status = "status",
        /// The receiver answered with a redirect, which is never followed.
        Redirect = "redirect",
        /// The connection broke, or the answer was not HTTP.
        Protocol = "protocol",
        /// No request could be made from the webhook's settings and the messages. Nothing was sent.
        Request = "request",
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
