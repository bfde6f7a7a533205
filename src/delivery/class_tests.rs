//! Tests of every error class, over real sockets: each class has a receiver that causes it.

use std::{collections::BTreeSet, time::Duration};

use rstest::rstest;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{
    AddressGuard, Client, PreparedTarget,
    test_server::{TestServer, Then, message, send, target},
    test_tls,
};
use crate::domain::attempt::{AttemptResult, ErrorClass, Outcome};

const OK: &str = "HTTP/1.1 204 No Content\r\n\r\n";

fn loopback() -> AddressGuard {
    AddressGuard::new(vec!["127.0.0.0/8".parse().expect("a network")])
}

fn client() -> Client {
    Client::new(loopback(), None).expect("a client")
}

/// The result of one request, with a timeout that no test here reaches.
async fn send_by(client: &Client, url: &str) -> AttemptResult {
    let mut target = target(url);
    target.policy.timeout = Duration::from_secs(30);
    let prepared = PreparedTarget::new(&target).expect("a valid target");
    send(client, &prepared, &[message(1, "{}")], 1).await
}

#[track_caller]
fn assert_failed(result: &AttemptResult, class: ErrorClass, said: &str) {
    assert_eq!((result.outcome, result.error_class), (Outcome::Failed, Some(class)), "{result:?}");
    assert!(result.error.as_deref().is_some_and(|error| error.contains(said)), "{said}: {result:?}");
}

/// A receiver that hands its connections to `serve`, one after another.
async fn serve<F: Future<Output = ()> + Send>(
    serve: impl Fn(tokio::net::TcpStream) -> F + Send + 'static,
) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            serve(stream).await;
        }
    });
    address
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_dns() {
    // No name that ends in `.invalid` exists (RFC 6761, section 6.4).
    let result = send_by(&client(), "http://nowhere.invalid/").await;
    assert_failed(&result, ErrorClass::Dns, "the host's name did not resolve: ");
}

#[rstest]
#[case("http")]
#[case("https")]
#[tokio::test]
async fn a_refused_port_is_connect(#[case] scheme: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let result = send_by(&client(), &format!("{scheme}://{address}/")).await;
    assert_failed(&result, ErrorClass::Connect, "refused");
}

#[tokio::test]
async fn a_plain_receiver_behind_an_https_url_is_tls_and_the_remedy_is_told() {
    let address = serve(|mut stream| async move {
        let _ = stream.read_u8().await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let result = send_by(&client(), &format!("https://{address}/")).await;
    assert_failed(&result, ErrorClass::Tls, "perhaps its URL should start with http://");
}

#[tokio::test]
async fn a_receiver_with_tls_behind_an_http_url_is_told_with_the_remedy() {
    let address = test_tls::start(OK, false).await;
    let result = send_by(&client(), &format!("http://{address}/")).await;
    assert_failed(&result, ErrorClass::Protocol, "perhaps its URL should start with https://");
}

#[tokio::test]
async fn a_connection_that_ends_within_the_handshake_is_tls() {
    let address = serve(|mut stream| async move { drop(stream.read_u8().await) }).await;
    let result = send_by(&client(), &format!("https://{address}/")).await;
    assert_failed(&result, ErrorClass::Tls, "no TLS connection: ");
}

/// Each certificate that is not accepted, and what is said of it.
#[tokio::test]
async fn a_certificate_that_is_not_accepted_is_tls_and_the_reason_is_told_in_words() {
    let authority = authority();
    let trusting = Client::new(loopback(), Some(authority.path())).expect("a client");
    let receiver = include_str!("test_certificates/receiver.pem");
    for (client, certificate, host, said) in [
        (&client(), receiver, "127.0.0.1", "comes from an authority that is not trusted here"),
        (
            &trusting,
            include_str!("test_certificates/expired.pem"),
            "127.0.0.1",
            "the receiver's certificate expired at 2021-01-01T00:00:00Z",
        ),
        (
            &trusting,
            include_str!("test_certificates/early.pem"),
            "localhost",
            "the receiver's certificate is not valid before 2119-01-01T00:00:00Z",
        ),
        // The same address, written in a way that the certificate does not name.
        (
            &trusting,
            receiver,
            "[::ffff:127.0.0.1]",
            "the receiver's certificate is for 127.0.0.1, localhost, not for ::ffff:127.0.0.1",
        ),
        (
            &trusting,
            include_str!("test_certificates/self_signed.pem"),
            "127.0.0.1",
            "is that of an authority (CA:TRUE)",
        ),
    ] {
        let address = test_tls::start_with(certificate).await;
        let result = send_by(client, &format!("https://{host}:{}/", address.port())).await;
        assert_failed(&result, ErrorClass::Tls, said);
    }
}

#[tokio::test]
async fn an_authority_of_ones_own_is_trusted_if_its_file_is_named() {
    let authority = authority();
    let client = Client::new(loopback(), Some(authority.path())).expect("a client");
    let address = test_tls::start_with(include_str!("test_certificates/receiver.pem")).await;
    for host in ["127.0.0.1", "localhost"] {
        let result = send_by(&client, &format!("https://{host}:{}/", address.port())).await;
        assert_eq!(result.outcome, Outcome::Accepted, "{result:?}");
    }
}

fn authority() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), include_str!("test_certificates/authority.pem")).expect("written");
    file
}

/// With TLS 1.3 the receiver refuses after the client's part of the handshake is over.
#[tokio::test]
async fn a_receiver_that_demands_a_certificate_is_tls() {
    let address = test_tls::start(OK, true).await;
    let client = Client::with_tls(loopback(), test_tls::trusting());
    let result = send_by(&client, &format!("https://{address}/")).await;
    assert_failed(&result, ErrorClass::Tls, "demands a client certificate");
}

#[tokio::test]
async fn what_is_sent_over_tls_arrives_and_its_answer_is_judged_as_any() {
    let client = Client::with_tls(loopback(), test_tls::trusting());
    for host in ["127.0.0.1", "localhost", "127.0.0.1."] {
        let address = test_tls::start(OK, false).await;
        let url = format!("https://{host}:{}/", address.port());
        for _ in 0..2 {
            let result = send_by(&client, &url).await;
            assert_eq!(result.outcome, Outcome::Accepted, "{url}: {result:?}");
        }
    }
    let address = test_tls::start("SSH-2.0-OpenSSH_9.9\r\n\r\n", false).await;
    let result = send_by(&client, &format!("https://{address}/")).await;
    assert_failed(&result, ErrorClass::Protocol, "");
}

/// The classes that need only an answer, or no answer. The tests above produce the other ones.
#[tokio::test]
async fn every_class_is_produced() {
    let mut seen = BTreeSet::from(["dns", "connect", "tls"]);
    let mut saw = |result: AttemptResult, class: ErrorClass| {
        assert_failed(&result, class, "");
        seen.insert(class.as_str());
    };

    let server = TestServer::start(OK, Then::KeepAlive).await;
    let guarded = Client::new(AddressGuard::default(), None).expect("a client");
    saw(send_by(&guarded, &server.url()).await, ErrorClass::Forbidden);
    let https = server.url().replacen("http", "https", 1);
    saw(send_by(&guarded, &https).await, ErrorClass::Forbidden);

    let silent = TestServer::start("", Then::Hang).await;
    let mut hasty = target(&silent.url());
    hasty.policy.timeout = Duration::from_millis(100);
    let hasty = PreparedTarget::new(&hasty).expect("a valid target");
    saw(send(&client(), &hasty, &[message(1, "{}")], 1).await, ErrorClass::Timeout);

    let refusing = TestServer::with_status("503 Service Unavailable", "", "").await;
    saw(send_by(&client(), &refusing.url()).await, ErrorClass::Status);
    let moved = TestServer::with_status("308 Permanent Redirect", "location: /\r\n", "").await;
    saw(send_by(&client(), &moved.url()).await, ErrorClass::Redirect);
    let closing = TestServer::start("", Then::Close).await;
    saw(send_by(&client(), &closing.url()).await, ErrorClass::Protocol);

    let prepared = PreparedTarget::new(&target(&server.url())).expect("a valid target");
    saw(send(&client(), &prepared, &[], 1).await, ErrorClass::Request);
    assert_eq!(seen, ErrorClass::ALL.map(ErrorClass::as_str).into());
}
