//! Decides what an answer means, or a missing answer, and describes it in one line that holds no
//! secret.

use std::{
    error::Error,
    time::{Duration, Instant, SystemTime},
};

use hyper::{
    HeaderMap, StatusCode, Uri,
    header::{LOCATION, RETRY_AFTER},
};

use super::http::{Answer, Progress, parse_retry_after};
use crate::domain::attempt::{AttemptResult, ErrorClass, Outcome};

/// The longest error text, in characters.
const MAX_ERROR: usize = 500;

/// The result of an attempt whose answer was read to its end, or as far as answers are read.
pub(super) fn classify_response(started: Instant, answer: &Answer) -> AttemptResult {
    let status = answer.status;
    let (outcome, class, error) = if status.is_success() {
        (Outcome::Accepted, None, None)
    } else if status == StatusCode::GONE {
        (Outcome::Gone, Some(ErrorClass::Status), Some(status.to_string()))
    } else if status.is_redirection() {
        (Outcome::Failed, Some(ErrorClass::Redirect), Some(redirected(status, &answer.headers)))
    } else {
        (Outcome::Failed, Some(ErrorClass::Status), Some(status.to_string()))
    };
    let refused = class.is_some();
    AttemptResult {
        outcome,
        status_code: Some(status.as_u16()),
        error_class: class,
        error,
        duration: started.elapsed(),
        response_excerpt: if refused { excerpt(&answer.excerpt) } else { None },
        retry_after: if refused { retry_after(&answer.headers) } else { None },
    }
}

/// The result of an attempt that got no whole answer.
pub(super) fn failed(started: Instant, class: ErrorClass, error: String) -> AttemptResult {
    AttemptResult {
        outcome: Outcome::Failed,
        status_code: None,
        error_class: Some(class),
        error: Some(error),
        duration: started.elapsed(),
        response_excerpt: None,
        retry_after: None,
    }
}

impl Progress {
    /// The status, if the head of an answer has come.
    pub(super) fn status(self) -> Option<u16> {
        match self {
            Self::Reading(status) => Some(status.as_u16()),
            Self::Connecting | Self::Waiting => None,
        }
    }
}

/// Says which part of the exchange took too long.
pub(super) fn timed_out(timeout: Duration, progress: Progress) -> String {
    let timeout = timeout.as_secs_f64();
    match progress {
        Progress::Connecting => format!("no connection within {timeout} s"),
        Progress::Waiting => format!("no answer within {timeout} s"),
        Progress::Reading(status) => format!("{status}, but no end of the answer's body within {timeout} s"),
    }
}

/// Says where a redirect points: scheme and host only, because path and query may hold credentials.
fn redirected(status: StatusCode, headers: &HeaderMap) -> String {
    let location =
        headers.get(LOCATION).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let to = location
        .as_ref()
        .and_then(|uri: &Uri| Some(format!(" to {}://{}", uri.scheme_str()?, uri.host()?)))
        .unwrap_or_default();
    printable(&format!("{status}{to}: redirects are not followed"))
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    parse_retry_after(headers.get(RETRY_AFTER)?.to_str().ok()?, SystemTime::now())
}

/// The beginning of an answer's body, as text that the database can store.
fn excerpt(body: &[u8]) -> Option<String> {
    // PostgreSQL's type `text` cannot hold NUL.
    (!body.is_empty()).then(|| String::from_utf8_lossy(body).replace('\0', "\u{fffd}"))
}

/// An error and all its causes, in one line. Errors of connections say their cause only in their
/// sources.
pub(super) fn describe(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for cause in chain(error).map(ToString::to_string) {
        // Some errors show their source already.
        if !text.ends_with(&cause) {
            let separator = if text.is_empty() { "" } else { ": " };
            text.push_str(separator);
            text.push_str(&cause);
        }
    }
    printable(&text)
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// One line, without control characters, of bounded length.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_ERROR).collect()
}

#[cfg(test)]
mod tests {
    use std::io;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no connection")]
    struct Outer(#[source] io::Error);

    fn answer(status: u16, location: &str) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, location.parse().expect("a header value"));
        Answer { status: StatusCode::from_u16(status).expect("a status"), headers, excerpt: Vec::new() }
    }

    #[test]
    fn every_cause_is_told_once() {
        let error = Outer(io::Error::other("certificate\nexpired"));
        assert_eq!(describe(&error), "no connection: certificate expired");
    }

    #[test]
    fn a_redirect_tells_only_the_host() {
        for (location, told) in [
            (
                "https://u:pw@b.example:8443/key?token=1",
                "302 Found to https://b.example: redirects are not followed",
            ),
            ("/elsewhere?token=1", "302 Found: redirects are not followed"),
            ("not a url", "302 Found: redirects are not followed"),
        ] {
            assert_eq!(
                classify_response(Instant::now(), &answer(302, location)).error.as_deref(),
                Some(told)
            );
        }
    }

    proptest! {
        #[test]
        fn each_status_has_one_meaning(status in 100u16..=999) {
            let result = classify_response(Instant::now(), &answer(status, "/"));
            let (outcome, class) = match status {
                200..300 => (Outcome::Accepted, None),
                410 => (Outcome::Gone, Some(ErrorClass::Status)),
                300..400 => (Outcome::Failed, Some(ErrorClass::Redirect)),
                _ => (Outcome::Failed, Some(ErrorClass::Status)),
            };
            prop_assert_eq!((result.outcome, result.error_class), (outcome, class));
            prop_assert_eq!(result.error.is_none(), class.is_none());
            prop_assert_eq!(result.status_code, Some(status));
        }

        #[test]
        fn an_excerpt_is_text_that_can_be_stored(body: Vec<u8>) {
            let text = excerpt(&body);
            prop_assert_eq!(text.is_none(), body.is_empty());
            prop_assert!(text.is_none_or(|text| !text.contains('\0')));
        }
    }

    #[test]
    fn errors_are_one_bounded_line() {
        let text = printable(&format!("a\r\nb\0{}", "x".repeat(1000)));
        assert!(text.starts_with("a  b x"));
        assert_eq!(text.chars().count(), MAX_ERROR);
    }
}
