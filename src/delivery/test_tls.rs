//! Receivers with TLS for tests. No authority of the platform has signed their certificates.

use std::{net::SocketAddr, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// A certificate for 127.0.0.1 and localhost, valid from 2020 to 2120, signed by its own key.
const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBWjCCAQCgAwIBAgIBATAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDAR0ZXN0MCAX\n\
DTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAPMQ0wCwYDVQQDDAR0ZXN0\n\
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE91XWQ+RXvm6aBtX3k1IHS1SLKgo+\n\
g3ZDlBGC7xHzNTHWW73fqX9+ecN2vp2gUaw8ejjkogsyE9vKjOJDgRd9a6NLMEkw\n\
DAYDVR0TAQH/BAIwADAaBgNVHREEEzARhwR/AAABgglsb2NhbGhvc3QwHQYDVR0O\n\
BBYEFIKDV1qgIEKBDx+NBF7VEipYs8YKMAoGCCqGSM49BAMCA0gAMEUCIQD16X17\n\
feFPjkZg1UDgzslwjlAYbcjZi42jWKsNX48eGwIgCKK266q3dl8FK/VVigATT2oy\n\
Jj2ehto/IJCvfNxPxEY=\n\
-----END CERTIFICATE-----\n\
";

/// The key of [`CERTIFICATE`]. It is for tests only and protects nothing.
const KEY: &str = "\
-----BEGIN PRIVATE KEY-----\n\
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgzpcEYV1YO5+GtKtu\n\
pfnyfMeOzZdLxJjJW6uDcNUfT0KhRANCAAT3VdZD5Fe+bpoG1feTUgdLVIsqCj6D\n\
dkOUEYLvEfM1MdZbvd+pf355w3a+naBRrDx6OOSiCzIT28qM4kOBF31r\n\
-----END PRIVATE KEY-----\n\
";

fn certificate() -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).expect("a certificate")
}

fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(certificate()).expect("a certificate");
    roots
}

/// TLS settings of a client that trusts this certificate and no other.
pub(super) fn trusting() -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS")
        .with_root_certificates(roots())
        .with_no_client_auth()
}

/// Starts a receiver that gives this answer to each request. It may demand a certificate from the
/// client.
pub(super) async fn start(answer: &'static str, demands_certificate: bool) -> SocketAddr {
    serve(answer, acceptor(demands_certificate)).await
}

/// The receiver's side of TLS.
pub(super) fn acceptor(demands_certificate: bool) -> TlsAcceptor {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("TLS");
    let builder = if demands_certificate {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots()), provider);
        builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).expect("a key");
    let config = builder.with_single_cert(vec![certificate()], key).expect("a certificate and its key");
    TlsAcceptor::from(Arc::new(config))
}

/// Starts a receiver with this certificate, whose key is `receiver.key`.
pub(super) async fn start_with(certificate: &str) -> SocketAddr {
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
    let key = include_str!("test_certificates/receiver.key");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key);
    let config = Arc::new(config.expect("a certificate and its key"));
    serve("HTTP/1.1 204 No Content\r\n\r\n", TlsAcceptor::from(config)).await
}

async fn serve(answer: &'static str, acceptor: TlsAcceptor) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Some tests expect an error here.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = [0; 4096];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.flush().await;
                }
            });
        }
    });
    address
}
