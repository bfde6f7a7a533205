//! The `Retry-After` header (RFC 9110, section 10.2.3).

use std::time::{Duration, SystemTime};

/// The longest wait. It keeps sums of times in range.
const MAX: Duration = Duration::from_hours(366 * 24);

/// How long a `Retry-After` value asks to wait, counted from `now`. The value is a number of
/// seconds or a date; otherwise the result is `None`. A date in the past asks for no wait. The
/// result is never more than 366 days.
pub fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Only a number that is larger than a `u64` fails here.
        let wait = value.parse().map_or(MAX, Duration::from_secs);
        return Some(wait.min(MAX));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default().min(MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_seconds() {
        let now = SystemTime::now();
        assert_eq!(parse_retry_after("0", now), Some(Duration::ZERO));
        assert_eq!(parse_retry_after(" 120 ", now), Some(Duration::from_mins(2)));
        assert_eq!(parse_retry_after("99999999999999999999999", now), Some(MAX));
    }

    #[test]
    fn reads_dates() {
        let now = httpdate::parse_http_date("Wed, 21 Oct 2015 07:28:00 GMT").expect("a date");
        for date in
            ["Wed, 21 Oct 2015 07:29:30 GMT", "Wednesday, 21-Oct-15 07:29:30 GMT", "Wed Oct 21 07:29:30 2015"]
        {
            assert_eq!(parse_retry_after(date, now), Some(Duration::from_secs(90)), "{date}");
        }
        assert_eq!(parse_retry_after("Wed, 21 Oct 2015 07:00:00 GMT", now), Some(Duration::ZERO));
    }

    #[test]
    fn anything_else_is_nothing() {
        for value in ["", " ", "-1", "+1", "1.5", "soon", "1 minute"] {
            assert_eq!(parse_retry_after(value, SystemTime::now()), None, "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_never_exceeds_a_year(value in "\\PC{0,40}") {
            prop_assert!(parse_retry_after(&value, SystemTime::now()).is_none_or(|wait| wait <= MAX));
        }

        #[test]
        fn seconds_are_taken_as_they_are(seconds in 0u64..31_000_000) {
            prop_assert_eq!(parse_retry_after(&seconds.to_string(), SystemTime::now()), Some(Duration::from_secs(seconds)));
        }
    }
}
