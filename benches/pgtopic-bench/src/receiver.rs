//! A receiver that costs as little as HTTP can: it notes the request, reads the body and answers
//! 204.
//!
//! It has threads of its own with a single-threaded runtime each, and connections are dealt out to
//! them in turn, so that publishers in the same process do not share a queue with it. Only
//! loopback.
//!
//! The test kit's receiver keeps every request with its headers and body, behind a lock, and asks a
//! script for each answer: here that would be what is measured.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, thread::JoinHandle};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};
use tokio_util::sync::CancellationToken;

use super::{CliError, failed, tally::Tally};

/// Threads at most: it must not be what is measured, nor take what others need.
const THREADS_MAX: usize = 2;

/// A running receiver; dropping it ends all connections.
pub(super) struct Receiver {
    address: SocketAddr,
    stop: CancellationToken,
    threads: Vec<JoinHandle<()>>,
}

/// How many threads a receiver has.
pub(super) fn thread_count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX)
}

impl Receiver {
    /// Listens on any free port.
    pub(super) fn start(tally: &Arc<Tally>) -> Result<Self, CliError> {
        let no_receiver = |error: std::io::Error| failed(format!("the receiver cannot start: {error}"));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(no_receiver)?;
        listener.set_nonblocking(true).map_err(no_receiver)?;
        let address = listener.local_addr().map_err(no_receiver)?;
        let stop = CancellationToken::new();
        let mut receiver = Self { address, stop: stop.clone(), threads: Vec::new() };
        let mut lines = Vec::new();
        for _ in 0..thread_count() {
            let (line, streams) = unbounded_channel();
            lines.push(line);
            receiver.thread(serve_all(streams, Arc::clone(tally), stop.clone())).map_err(no_receiver)?;
        }
        receiver.thread(deal(listener, lines, stop)).map_err(no_receiver)?;
        Ok(receiver)
    }

    /// Where an endpoint is.
    pub(super) fn url(&self, endpoint: usize) -> String {
        format!("http://{}/{endpoint}", self.address)
    }

    fn thread(&mut self, work: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let builder = std::thread::Builder::new().name("receiver".to_owned());
        self.threads.push(builder.spawn(move || runtime.block_on(work))?);
        Ok(())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.cancel();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// Accepts connections and deals them out in turn.
async fn deal(
    listener: std::net::TcpListener,
    lines: Vec<UnboundedSender<std::net::TcpStream>>,
    stop: CancellationToken,
) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    for line in lines.iter().cycle() {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted.and_then(|(stream, _)| stream.into_std()) {
            // Its thread is gone only when all are about to end.
            Ok(stream) => drop(line.send(stream)),
            // Out of descriptors, or the client was gone already.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    }
}

async fn serve_all(
    mut streams: UnboundedReceiver<std::net::TcpStream>,
    tally: Arc<Tally>,
    stop: CancellationToken,
) {
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            stream = streams.recv() => stream,
        };
        let Some(stream) = stream else { return };
        let Ok(stream) = TcpStream::from_std(stream) else { continue };
        let _ = stream.set_nodelay(true);
        let tally = Arc::clone(&tally);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&tally), request));
            // A client that goes away is none of the receiver's business.
            let _ = http1::Builder::new()
                .auto_date_header(false)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(tally: Arc<Tally>, request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (head, mut body) = request.into_parts();
    while let Some(Ok(_)) = body.frame().await {}
    let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let status = match tally.note(head.uri.path(), header("webhook-partition"), header("webhook-position")) {
        Some(true) => {
            let answer_after = tally.answer_after();
            if !answer_after.is_zero() {
                // A runtime's timers tick once a millisecond and round up; a thread's sleep is
                // exact.
                let _ = tokio::task::spawn_blocking(move || std::thread::sleep(answer_after)).await;
            }
            StatusCode::NO_CONTENT
        }
        Some(false) => std::future::pending().await,
        None => StatusCode::NOT_FOUND,
    };
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status;
    Ok(response)
}
