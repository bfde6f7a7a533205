//! How long an unused connection is kept.
//!
//! The receiver closes an unused connection after a time of its own. A request that meets this end
//! on its way is lost. So this side closes the connection first.

use std::time::Duration;

use hyper::HeaderMap;

/// How long an unused connection is kept if the receiver does not say. Common servers close unused
/// connections after 5 s and more.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// How much earlier than the receiver this side closes a connection. The answer and the next
/// request are on their way for some of the receiver's time.
const MARGIN: Duration = Duration::from_secs(1);

/// How long the connection is kept on which an answer with these headers came. The header
/// `keep-alive: timeout=20` names the receiver's time in seconds.
pub(super) fn idle_timeout(headers: &HeaderMap) -> Duration {
    let parameters = headers.get_all("keep-alive").iter().filter_map(|value| value.to_str().ok());
    let timeout = parameters.flat_map(|value| value.split(',')).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let seconds = value.trim().trim_matches('"').parse::<u32>().ok()?;
        name.trim().eq_ignore_ascii_case("timeout").then(|| Duration::from_secs(seconds.into()))
    });
    timeout.map_or(IDLE_TIMEOUT, |timeout| timeout.saturating_sub(MARGIN).max(timeout / 2))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn of(values: &[&[u8]]) -> Duration {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("keep-alive", HeaderValue::from_bytes(value).expect("a value"));
        }
        idle_timeout(&headers)
    }

    #[rstest]
    #[case(&[], 4000)]
    #[case(&["timeout=5"], 4000)]
    #[case(&["timeout=20, max=100"], 19_000)]
    #[case(&["max=100, Timeout = \"20\""], 19_000)]
    #[case(&["max=100", "timeout=3"], 2000)]
    #[case(&["timeout=1"], 500)]
    #[case(&["timeout=0"], 0)]
    #[case(&["timeout=-1"], 4000)]
    #[case(&["timeout=soon"], 4000)]
    #[case(&["timeout"], 4000)]
    fn the_receivers_time_counts(#[case] values: &[&str], #[case] milliseconds: u64) {
        let values: Vec<_> = values.iter().map(|value| value.as_bytes()).collect();
        assert_eq!(of(&values), Duration::from_millis(milliseconds));
    }

    #[test]
    fn bytes_that_are_no_text_are_passed_over() {
        assert_eq!(of(&[b"timeout=\xff"]), IDLE_TIMEOUT);
    }

    proptest! {
        #[test]
        fn never_panics(value in "\\PC{0,30}|timeout=[0-9]{0,30}") {
            of(&[value.as_bytes()]);
        }
    }
}
