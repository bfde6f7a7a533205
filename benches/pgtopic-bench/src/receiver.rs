//! A receiver that costs as little as HTTP can. It notes the request, reads the body and answers
//! 204.
//!
//! It has threads of its own, each with a single-threaded runtime. Connections go to them in turns.
//! So publishers in the same process share no queue with it. It listens on loopback only.
//!
//! The test kit's receiver keeps every request with its headers and body, behind a lock, and asks a
//! script for each answer. Here the costs of that would be measured too.

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

/// The most threads. The receiver must not be the limit, nor take what others need.
const THREADS_MAX: usize = 2;

/// The most that is read of a slow request at once, in bytes.
const SLOW_PIECE: usize = 64 << 10;

/// A running receiver. If it is dropped, all connections end.
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

    /// The address of an endpoint.
    pub(super) fn url(&self, endpoint: usize) -> String {
        format!("http://{}/{endpoint}", self.address)
    }

    /// The same for [`Database::topics_with_webhook`](super::server::Database::topics_with_webhook):
    /// the number of each topic is that of its endpoint.
    pub(super) fn url_of_topic(&self) -> String {
        format!("http://{}/{{topic}}", self.address)
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
            // A thread that panicked has printed why.
            let _ = thread.join();
        }
    }
}

/// Accepts connections and gives them to the threads in turns.
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
            // A thread ends only when all are about to end.
            Ok(stream) => drop(line.send(stream)),
            // There are no descriptors left, or the client went away.
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
            let mut builder = http1::Builder::new();
            builder.auto_date_header(false);
            if !tally.read_pause().is_zero() {
                builder.max_buf_size(SLOW_PIECE);
            }
            let service = service_fn(move |request| answer(Arc::clone(&tally), request));
            // A client that goes away does not matter.
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(tally: Arc<Tally>, request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (head, mut body) = request.into_parts();
    while let Some(Ok(_)) = body.frame().await {
        if !tally.read_pause().is_zero() {
            tokio::time::sleep(tally.read_pause()).await;
        }
    }
    let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let status = match tally.note(head.uri.path(), header("webhook-partition"), header("webhook-position")) {
        Some(true) => {
            let answer_after = tally.answer_after();
            if !answer_after.is_zero() {
                // The timers of a runtime tick once a millisecond and round up. The sleep of a
                // thread is exact.
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
