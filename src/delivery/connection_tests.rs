//! Tests of requests whose connection takes long to open, and of connections that nobody uses any
//! more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rstest::rstest;
use tokio::{io::AsyncReadExt as _, net::TcpListener, runtime::Handle};

use super::{
    AddressGuard, Client, PreparedTarget,
    test_server::{TestServer, Then, later, message, target, until},
    test_tls,
};
use crate::domain::{
    attempt::{ErrorClass, Outcome},
    target::Target,
};

fn client() -> Client {
    let guard = AddressGuard::new(vec!["127.0.0.0/8".parse().expect("a network")]);
    Client::with_tls(guard, test_tls::trusting())
}

fn prepare(target: &Target) -> PreparedTarget {
    PreparedTarget::new(target).expect("a valid target")
}

async fn tls_listener() -> (TcpListener, Target) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("https://{}/", listener.local_addr().expect("bound"));
    (listener, target(&url))
}

/// While the receiver takes its time over the handshake, the worker loses the right to send.
#[rstest]
#[case::first(1)]
#[case::repeated(2)]
#[tokio::test]
async fn a_request_that_may_not_start_when_its_connection_is_open_is_not_sent(#[case] attempt: u32) {
    let (listener, target) = tls_listener().await;
    let may_start = Arc::new(AtomicBool::new(true));
    let withdraw = Arc::clone(&may_start);
    let receiver = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.peek(&mut [0]).await.expect("the client's part of the handshake");
        withdraw.store(false, Ordering::Relaxed);
        let mut stream = test_tls::acceptor(false).accept(stream).await.expect("a handshake");
        let mut bytes = Vec::new();
        // It may end with an error. What has come before is there.
        let _ = stream.read_to_end(&mut bytes).await;
        bytes
    });
    let client = client();
    let may_start = || may_start.load(Ordering::Relaxed).then(later).flatten();
    let result = super::send(&client, &prepare(&target), &[message(1, "{}")], attempt, None, may_start).await;
    assert_eq!(result, None);
    let bytes = receiver.await.expect("no panic");
    assert_eq!(String::from_utf8_lossy(&bytes), "");
}

/// The receiver closes the kept connection when it has read the second request. The worker would
/// repeat it.
#[tokio::test]
async fn a_request_that_may_not_start_any_more_is_not_repeated() {
    let server = TestServer::start("HTTP/1.1 204 No Content\r\n\r\n", Then::CloseAtNext).await;
    let (client, target) = (client(), prepare(&target(&server.url())));
    let may_start = || (server.requests().len() < 2).then(later).flatten();
    for id in [1, 2] {
        let result = super::send(&client, &target, &[message(id, "{}")], 1, None, may_start).await;
        assert_eq!(result.map(|result| result.outcome), (id == 1).then_some(Outcome::Accepted));
    }
    until("the new connection is closed", || server.closed_by_client() == 1).await;
    assert_eq!(server.requests().len(), 2);
    assert_eq!(server.unfinished_bytes(), 0);
}

/// The process stood still between the look at its lease and the writing of the request, on a kept
/// connection and on a new one.
#[tokio::test]
async fn a_request_whose_time_is_over_when_its_bytes_are_to_leave_is_not_sent() {
    let server = TestServer::start("HTTP/1.1 204 No Content\r\n\r\n", Then::KeepAlive).await;
    let (client, target) = (client(), prepare(&target(&server.url())));
    let result = super::send(&client, &target, &[message(1, "{}")], 1, None, later).await;
    assert_eq!(result.map(|result| result.outcome), Some(Outcome::Accepted));
    for attempt in [1, 2] {
        let over = || Some(Instant::now());
        let result = super::send(&client, &target, &[message(2, "{}")], attempt, None, over).await;
        assert_eq!(result, None, "attempt {attempt}");
    }
    until("both connections are closed", || server.closed_by_client() == 2).await;
    assert_eq!(server.requests().len(), 1);
    assert_eq!(server.unfinished_bytes(), 0);
}

/// The receiver reads nothing of a long request. Over TLS its connection cannot be closed in good
/// order: the end would have to wait until all else is sent.
#[tokio::test]
async fn nothing_goes_on_when_a_client_is_gone() {
    let (listener, mut target) = tls_listener().await;
    target.policy.timeout = Duration::from_millis(500);
    let receiver = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let _unread = test_tls::acceptor(false).accept(stream).await.expect("a handshake");
        std::future::pending::<()>().await;
    });
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let client = client();
    let payload = format!("\"{}\"", "x".repeat(32 << 20));
    let result = super::send(&client, &prepare(&target), &[message(1, &payload)], 1, None, later).await;
    assert_eq!(result.and_then(|result| result.error_class), Some(ErrorClass::Timeout));
    drop(client);
    until("its connection has no task", || tasks() == before).await;
    receiver.abort();
}
