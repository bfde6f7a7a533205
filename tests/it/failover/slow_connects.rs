//! A worker that is cut off while it connects to a receiver.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
};

use futures_util::FutureExt as _;
use pgtopic::{
    config::{Config, DeliveryConfig, WorkerConfig},
    worker,
};
use pgtopic_testkit::{Broker, LIMIT, Link, Scene, create_webhook, quick_delivery};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::all_behind_a_proxy;

/// A certificate for localhost, or the authority that has signed it.
fn certificate(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/database/certificates").join(name)
}

fn acceptor() -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_file(certificate("server.crt")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(certificate("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Accepts every request.
fn accept_all(listener: TcpListener, acceptor: TlsAcceptor) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            if stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {
                stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await.unwrap();
                stream.flush().await.unwrap();
            }
        }
    }))
}

/// A worker stands still in the middle of a TLS handshake. Meanwhile its session is lost, and
/// another worker takes over. When the first worker goes on, the handshake ends before it knows
/// that. It may not send its request.
///
/// The worker has one thread. So what arrives on its connections is looked at before its timers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_was_replaced_while_it_connected_sends_nothing() {
    let scene = Scene::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    create_webhook(&scene.client, &url, &[]).await;
    let delivery = DeliveryConfig { ca_file: Some(certificate("ca.crt")), ..quick_delivery() };
    let (proxy, store) = all_behind_a_proxy(&scene).await;
    let (shutdown, stand_still) = (CancellationToken::new(), CancellationToken::new());
    // If this test fails, both are dropped, and the worker ends.
    let _ended = shutdown.clone().drop_guard();
    let (go_on, waits) = mpsc::channel::<()>();
    let (stands, still) = tokio::sync::oneshot::channel();
    let first = {
        let (delivery, shutdown, stand_still) = (delivery.clone(), shutdown.clone(), stand_still.clone());
        tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.spawn(async move {
                stand_still.cancelled().await;
                stands.send(()).unwrap();
                // It ends when the other half is dropped.
                let _ = waits.recv();
            });
            let config = WorkerConfig { concurrency: 10, shutdown_seconds: 1, ..Config::default().worker };
            let retention = Config::default().retention;
            runtime.block_on(worker::run(store, &config, &delivery, &retention, shutdown)).unwrap();
        })
    };
    scene.publish(&["a"]).await;
    let (connecting, _) = listener.accept().await.unwrap();
    connecting.peek(&mut [0]).await.unwrap();
    stand_still.cancel();
    still.await.unwrap();
    // The end of its session does not reach it.
    proxy.set(Link::Dead);
    scene
        .until(
            "count(pg_terminate_backend(pid)) > 0 FROM pg_stat_activity
              WHERE datname = current_database() AND application_name = 'pgtopic'",
        )
        .await;

    let _receiver = accept_all(listener, acceptor());
    let second = Broker::with(scene.store(), 100, delivery);
    scene.nothing_owed().await;

    let mut handshake = Box::pin(acceptor().accept(connecting));
    assert!((&mut handshake).now_or_never().is_none(), "the receiver has sent its part, and waits");
    drop(go_on);
    let mut sent = Vec::new();
    let reading = async {
        match handshake.await {
            // An error ends the connection as well.
            Ok(mut stream) => drop(stream.read_to_end(&mut sent).await),
            Err(error) => println!("the handshake did not end: {error}"),
        }
    };
    tokio::time::timeout(LIMIT, reading).await.expect("the worker closes the connection");
    assert_eq!(String::from_utf8_lossy(&sent), "");
    shutdown.cancel();
    first.await.unwrap();
    second.stop().await;
}
