//! One attempt: takes messages and returns the attempt's result.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hyper::Request;

use super::{
    classify::{classify_response, describe, failed, timed_out},
    http::{Client, ExchangeError, Progress, Timely},
    request::PreparedTarget,
};
use crate::domain::{
    attempt::{AttemptResult, ErrorClass},
    message::Message,
};

/// Makes one request for `messages`, and returns how it ended. They are consecutive messages of one
/// lane.
///
/// It takes no longer than the webhook's timeout, from connecting to the end of the answer's body.
/// `attempt` is 1 for the first attempt. The messages are either all replays or none of them is.
/// The header `webhook-id` names the first and the last message; `webhook-position` is that of the
/// last one. The message's own headers are sent as such if the webhook takes no batches. If the
/// future is dropped, the connection is closed.
///
/// The first attempt may use a kept connection. If the receiver has closed that, and no byte of an
/// answer came, the same attempt is made once more on a new connection. Further attempts always use
/// a new connection.
///
/// `traceparent` is the context of the request, if it is traced.
///
/// `may_start` is asked when there is a connection, each time: to connect may take seconds. It says
/// until when the first byte may leave. If it says `None`, or if this time is over when the bytes
/// are to leave, nothing is sent, and the result is `None`.
///
/// Without messages, or with more than the webhook's batch size, the result is a failure of class
/// `request`, and nothing is sent.
pub async fn send(
    client: &Client,
    target: &PreparedTarget,
    messages: &[Message],
    attempt: u32,
    traceparent: Option<&str>,
    may_start: impl Fn() -> Option<Instant>,
) -> Option<AttemptResult> {
    let started = Instant::now();
    let last = match messages.last() {
        Some(last) if messages.len() <= target.batch_size() => last,
        _ => {
            let error = format!("{} messages for a request of 1 to {}", messages.len(), target.batch_size());
            return Some(failed(started, ErrorClass::Request, error));
        }
    };
    let timestamp = timestamp();
    let request = || {
        let until = may_start()?;
        let request = target.request(messages, last, attempt, timestamp, traceparent);
        Some(request.map(|body| Timely::until(until, body)))
    };
    // Perhaps the last attempt failed because its connection was old.
    exchange(client, target, started, attempt > 1, request).await
}

/// Makes a request that only tries the webhook, on a new connection, and returns how it ended. It
/// is signed and limited as those of [`send`] are. `name` is sent as `webhook-id`. The message has
/// no position.
pub(super) async fn send_test(
    client: &Client,
    target: &PreparedTarget,
    name: &str,
    message: &Message,
) -> AttemptResult {
    let timestamp = timestamp();
    let request = || Some(target.test_request(name, message, timestamp).map(Timely::always));
    // There is always a request, so there is always a result.
    exchange(client, target, Instant::now(), true, request)
        .await
        .unwrap_or_else(|| AttemptResult::no_request("the request was not started".to_owned()))
}

/// The time of a signature, in seconds since 1970.
fn timestamp() -> u64 {
    // If the clock is before 1970, 1970 is signed. Receivers refuse that as too old.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

async fn exchange(
    client: &Client,
    target: &PreparedTarget,
    started: Instant,
    fresh: bool,
    request: impl Fn() -> Option<Request<Timely>>,
) -> Option<AttemptResult> {
    let mut progress = Progress::default();
    let exchange = client.exchange(target.identity(), request, fresh, &mut progress);
    Some(match tokio::time::timeout(target.timeout(), exchange).await {
        Ok(Err(ExchangeError::NotStarted)) => return None,
        Ok(Ok(answer)) => classify_response(started, &answer),
        Ok(Err(error)) => AttemptResult {
            status_code: progress.status(),
            ..failed(started, error.class(), describe(&error))
        },
        Err(_) => AttemptResult {
            status_code: progress.status(),
            ..failed(started, ErrorClass::Timeout, timed_out(target.timeout(), progress))
        },
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rstest::rstest;
    use tokio::net::TcpListener;

    use super::{
        super::{
            AddressGuard, SigningKey,
            test_server::{Received, SECRET, TestServer, Then, message, send, target},
        },
        *,
    };
    use crate::domain::{attempt::Outcome, target::Target, webhook::Format};

    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

    fn client(allow: &[&str]) -> Client {
        let allow = allow.iter().map(|network| network.parse().expect("a network")).collect();
        Client::new(AddressGuard::new(allow), None).expect("a client")
    }

    fn local() -> Client {
        client(&["127.0.0.0/8", "::1/128"])
    }

    fn prepare(target: &Target) -> PreparedTarget {
        PreparedTarget::new(target).expect("a valid target")
    }

    async fn send_one(url: &str) -> AttemptResult {
        send(&local(), &prepare(&target(url)), &[message(7, "{}")], 1).await
    }

    fn verifies(request: &Received) -> bool {
        let header = |name| request.header(name).expect(name);
        let timestamp = header("webhook-timestamp").parse().expect("a number");
        let key = SigningKey::parse(SECRET).expect("a secret");
        header("webhook-signature") == key.sign(header("webhook-id"), timestamp, &request.body)
    }

    #[rstest]
    #[case("200 OK")]
    #[case("201 Created")]
    #[case("299 Odd")]
    #[tokio::test]
    async fn any_2xx_is_accepted(#[case] status: &str) {
        let server = TestServer::with_status(status, "retry-after: 5\r\n", "thanks").await;
        let result = send_one(&server.url()).await;
        assert_eq!(result.outcome, Outcome::Accepted);
        assert_eq!(result.status_code, Some(status[..3].parse().expect("a number")));
        assert_eq!((result.error_class, result.error, result.response_excerpt), (None, None, None));
        assert_eq!(result.retry_after, None);
    }

    #[tokio::test]
    async fn sends_and_signs_the_exact_bytes() {
        let server = TestServer::start(OK, Then::KeepAlive).await;
        let payload = "{ \"b\":1.50,\"a\":\"\u{fc}\" }";
        let mut target = target(&server.url());
        target.headers.push(("Authorization".to_owned(), "Bearer x".to_owned()));
        let mut message = message(42, payload);
        message.headers = Some(r#"{"x-tenant":"a","host":"evil"}"#.to_owned());
        message.replay = true;
        send(&local(), &prepare(&target), &[message], 3).await;
        let [request] = &server.requests()[..] else { panic!("one request") };
        assert_eq!(request.request_line, "POST /hook?a=b HTTP/1.1");
        assert_eq!(request.body, payload.as_bytes());
        assert!(verifies(request));
        for (name, value) in [
            ("host", server.address.to_string().as_str()),
            ("content-type", "application/json"),
            ("user-agent", concat!("pgtopic/", env!("CARGO_PKG_VERSION"))),
            ("webhook-id", "msg_42"),
            ("webhook-source", "pgtopic"),
            ("webhook-subscription", "1"),
            ("webhook-topic", "orders"),
            ("webhook-partition", "user%2042"),
            ("webhook-position", "42"),
            ("webhook-attempt", "3"),
            ("webhook-replay", "true"),
            ("authorization", "Bearer x"),
            ("x-tenant", "a"),
        ] {
            assert_eq!(request.header(name), Some(value), "{name}");
        }
        assert_eq!(request.headers.iter().filter(|(name, _)| name == "host").count(), 1);
    }

    #[tokio::test]
    async fn a_test_is_named_and_signed_and_has_no_position() {
        let server = TestServer::start(OK, Then::KeepAlive).await;
        let mut target = target(&server.url());
        (target.format, target.batch_size) = (Format::CloudEvents, 3);
        let message = Message { r#type: Some("pgtopic.test".to_owned()), ..message(0, "{}") };
        let result = send_test(&local(), &prepare(&target), "msg_test_1", &message).await;
        assert_eq!(result.outcome, Outcome::Accepted);
        let [request] = &server.requests()[..] else { panic!("one request") };
        assert!(verifies(request));
        for (name, value) in [
            ("webhook-id", Some("msg_test_1")),
            ("webhook-type", Some("pgtopic.test")),
            ("webhook-attempt", Some("1")),
            ("webhook-position", None),
            ("webhook-replay", None),
        ] {
            assert_eq!(request.header(name), value, "{name}");
        }
        assert!(request.body.starts_with(br#"[{"specversion":"1.0","id":"msg_test_1","#), "an array of one");
    }

    /// Its id would be no position: messages of an unordered topic arrive in any order.
    #[tokio::test]
    async fn a_message_of_an_unordered_topic_has_no_position() {
        let server = TestServer::start(OK, Then::KeepAlive).await;
        let unordered = Target { ordered: false, ..target(&server.url()) };
        send(&local(), &prepare(&unordered), &[message(42, "{}")], 1).await;
        let [request] = &server.requests()[..] else { panic!("one request") };
        assert_eq!(request.header("webhook-id"), Some("msg_42"));
        assert_eq!(request.header("webhook-position"), None);
    }

    #[tokio::test]
    async fn a_batch_is_one_signed_array_named_after_its_first_and_last_message() {
        let server = TestServer::start(OK, Then::KeepAlive).await;
        let mut target = target(&server.url());
        (target.batch_size, target.format) = (2, Format::CloudEvents);
        let prepared = prepare(&target);
        let messages = [message(1, "1"), message(2, "2"), message(3, "3")];
        send(&local(), &prepared, &messages[..2], 1).await;
        let [request] = &server.requests()[..] else { panic!("one request") };
        assert_eq!(request.header("webhook-id"), Some("msg_1-2"));
        assert_eq!(request.header("webhook-position"), Some("2"));
        assert_eq!(request.header("content-type"), Some("application/cloudevents-batch+json"));
        assert!(request.body.starts_with(b"[{") && verifies(request));
        for wrong in [&messages[..], &[]] {
            let result = send(&local(), &prepared, wrong, 1).await;
            assert_eq!((result.outcome, result.error_class), (Outcome::Failed, Some(ErrorClass::Request)));
        }
        assert_eq!(server.requests().len(), 1);
    }

    #[tokio::test]
    async fn a_refusal_keeps_the_start_of_its_body() {
        let server =
            TestServer::with_status("500 Internal Server Error", "retry-after: 7\r\n", "oh\0no").await;
        let result = send_one(&server.url()).await;
        assert_eq!((result.outcome, result.error_class), (Outcome::Failed, Some(ErrorClass::Status)));
        assert_eq!(result.error.as_deref(), Some("500 Internal Server Error"));
        assert_eq!(result.response_excerpt.as_deref(), Some("oh\u{fffd}no"));
        assert_eq!(result.retry_after, Some(Duration::from_secs(7)));
        let server = TestServer::with_status("400 Bad Request", "", &"x".repeat(5000)).await;
        assert_eq!(send_one(&server.url()).await.response_excerpt.map(|text| text.len()), Some(2048));
    }

    #[tokio::test]
    async fn gone_is_told_apart() {
        let server = TestServer::with_status("410 Gone", "", "").await;
        let result = send_one(&server.url()).await;
        assert_eq!((result.outcome, result.status_code), (Outcome::Gone, Some(410)));
        assert_eq!((result.error_class, result.response_excerpt), (Some(ErrorClass::Status), None));
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed_and_shows_no_secret() {
        let elsewhere = TestServer::start(OK, Then::KeepAlive).await;
        let location = format!("location: http://u:pw@{}/key?token=1\r\n", elsewhere.address);
        let server = TestServer::with_status("307 Temporary Redirect", &location, "").await;
        let result = send_one(&server.url()).await;
        assert_eq!((result.outcome, result.error_class), (Outcome::Failed, Some(ErrorClass::Redirect)));
        let expected = "307 Temporary Redirect to http://127.0.0.1: redirects are not followed";
        assert_eq!(result.error.as_deref(), Some(expected));
        assert!(elsewhere.requests().is_empty());
    }

    #[rstest]
    #[case::silence("", None, "no answer within 0.3 s")]
    #[case::half_a_head("HTTP/1.1 200", None, "no answer within 0.3 s")]
    #[case::half_a_body("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", Some(200), "200 OK, but no end")]
    #[tokio::test]
    async fn a_hanging_receiver_is_cut_off(
        #[case] answer: &str,
        #[case] status: Option<u16>,
        #[case] error: &str,
    ) {
        let server = TestServer::start(answer, Then::Hang).await;
        let mut target = target(&server.url());
        target.policy.timeout = Duration::from_millis(300);
        let result = send(&local(), &prepare(&target), &[message(7, "{}")], 1).await;
        assert_eq!((result.outcome, result.error_class), (Outcome::Failed, Some(ErrorClass::Timeout)));
        assert_eq!(result.status_code, status);
        assert!(result.error.as_deref().is_some_and(|text| text.starts_with(error)), "{result:?}");
        let bound = target.policy.timeout..target.policy.timeout * 3;
        assert!(bound.contains(&result.duration), "{:?}", result.duration);
    }

    #[tokio::test]
    async fn a_huge_body_is_judged_by_its_status_and_not_read() {
        for (status, outcome) in [("200 OK", Outcome::Accepted), ("500 No", Outcome::Failed)] {
            let server = TestServer::with_status(status, "", &"x".repeat(64 << 20)).await;
            let result = send_one(&server.url()).await;
            assert_eq!(result.outcome, outcome);
            assert!(result.duration < Duration::from_secs(1), "{:?}", result.duration);
        }
    }

    #[rstest]
    #[case::closed("")]
    #[case::garbage("SSH-2.0-OpenSSH_9.9\r\n\r\n")]
    #[case::broken_body("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")]
    #[tokio::test]
    async fn a_broken_answer_is_a_failure(#[case] answer: &str) {
        let server = TestServer::start(answer, Then::Close).await;
        let result = send_one(&server.url()).await;
        assert_eq!((result.outcome, result.error_class), (Outcome::Failed, Some(ErrorClass::Protocol)));
        assert!(result.error.is_some_and(|text| !text.contains('\n')));
        assert_eq!(server.requests().len(), 1, "never sent twice");
    }

    #[tokio::test]
    async fn a_reset_connection_is_a_failure() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/", listener.local_addr().expect("bound"));
        let server = tokio::spawn(async move {
            // Closing with unread bytes resets the connection.
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.peek(&mut [0]).await.expect("a request");
        });
        let result = send_one(&url).await;
        assert_eq!((result.outcome, result.error_class), (Outcome::Failed, Some(ErrorClass::Protocol)));
        assert!(result.error.as_deref().is_some_and(|text| text.contains("reset")), "{result:?}");
        server.await.expect("no panic");
    }

    #[rstest]
    #[case::literal("127.0.0.1")]
    #[case::name("localhost")]
    #[case::mapped("[::ffff:127.0.0.1]")]
    #[tokio::test]
    async fn loopback_is_forbidden_unless_allowed(#[case] host: &str) {
        let server = TestServer::start(OK, Then::KeepAlive).await;
        let url = format!("http://{host}:{}/", server.address.port());
        let prepared = prepare(&target(&url));
        let result = send(&client(&[]), &prepared, &[message(1, "{}")], 1).await;
        assert_eq!((result.outcome, result.error_class), (Outcome::Failed, Some(ErrorClass::Forbidden)));
        assert!(result.error.as_deref().is_some_and(|text| text.contains("loopback")), "{result:?}");
        assert!(server.requests().is_empty());
        assert_eq!(send_one(&url).await.outcome, Outcome::Accepted);
    }
}
