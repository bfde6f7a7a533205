//! Keeps connections open between requests.
//!
//! A lane sends one message after another. So a connection comes back as soon as its answer was
//! read, and is taken again at once. The connection that was used last is taken first. The others
//! become old and are closed.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;

/// The sending half of one connection.
pub(super) type Connection = SendRequest<Full<Bytes>>;

/// How long an unused connection is kept. This is less than the idle timeout of common servers and
/// load balancers (60 s).
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How many unused connections to one host and port are kept.
const MAX_IDLE_PER_HOST: usize = 1024;
/// How long a connection may take to become ready after its last answer was read. That takes
/// microseconds, unless the receiver answered before it had read the request.
const SETTLE_TIMEOUT: Duration = Duration::from_millis(100);

struct Idle {
    connection: Connection,
    since: Instant,
}

/// Unused connections by `scheme://host:port`.
pub(super) struct Pool {
    idle: Mutex<HashMap<Arc<str>, Vec<Idle>>>,
    idle_timeout: Duration,
    sweeping: AtomicBool,
}

impl Default for Pool {
    fn default() -> Self {
        Self::with_idle_timeout(IDLE_TIMEOUT)
    }
}

impl Pool {
    fn with_idle_timeout(idle_timeout: Duration) -> Self {
        Self { idle: Mutex::default(), idle_timeout, sweeping: AtomicBool::new(false) }
    }

    /// A kept connection to `origin` that is open and ready, as far as this side knows.
    pub(super) async fn take(&self, origin: &str) -> Option<Connection> {
        while let Some(Idle { mut connection, since }) = self.pop(origin) {
            if connection.is_closed() || since.elapsed() >= self.idle_timeout {
                continue;
            }
            if connection.is_ready()
                || matches!(tokio::time::timeout(SETTLE_TIMEOUT, connection.ready()).await, Ok(Ok(())))
            {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection whose last answer was read to its end.
    pub(super) fn put(self: &Arc<Self>, origin: &Arc<str>, connection: Connection) {
        if connection.is_closed() {
            return;
        }
        let idle = Idle { connection, since: Instant::now() };
        {
            let mut hosts = self.lock();
            // The key is copied only for a new host.
            match hosts.get_mut(origin) {
                Some(connections) if connections.len() < MAX_IDLE_PER_HOST => connections.push(idle),
                Some(_) => {}
                None => {
                    hosts.insert(Arc::clone(origin), vec![idle]);
                }
            }
        }
        if !self.sweeping.swap(true, Ordering::Relaxed) {
            tokio::spawn(sweep_regularly(Arc::downgrade(self), self.idle_timeout / 3));
        }
    }

    fn pop(&self, origin: &str) -> Option<Idle> {
        self.lock().get_mut(origin)?.pop()
    }

    /// Closes connections that were unused for too long, or that the other side has closed.
    fn sweep(&self) {
        self.lock().retain(|_, connections| {
            connections
                .retain(|idle| !idle.connection.is_closed() && idle.since.elapsed() < self.idle_timeout);
            !connections.is_empty()
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Vec<Idle>>> {
        // A panic of a holder leaves the map whole: each change of it is a single call.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes old connections again and again, as long as the pool exists.
async fn sweep_regularly(pool: Weak<Pool>, pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        match pool.upgrade() {
            Some(pool) => pool.sweep(),
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::client::conn::http1;
    use hyper_util::rt::TokioIo;
    use tokio::io::DuplexStream;

    use super::*;

    async fn connection() -> (Connection, DuplexStream) {
        let (near, far) = tokio::io::duplex(1024);
        let (sender, driver) = http1::handshake(TokioIo::new(near)).await.expect("a connection");
        tokio::spawn(driver);
        (sender, far)
    }

    #[tokio::test]
    async fn keeps_by_origin_and_closes_what_is_unused() {
        let pool = Arc::new(Pool::with_idle_timeout(Duration::from_millis(60)));
        let origin: Arc<str> = "http://a:80".into();
        let (first, _far) = connection().await;
        pool.put(&origin, first);
        assert!(pool.take("http://b:80").await.is_none());
        let first = pool.take(&origin).await.expect("kept");
        assert!(pool.take(&origin).await.is_none());
        pool.put(&origin, first);
        tokio::time::sleep(pool.idle_timeout * 2).await;
        assert!(pool.lock().is_empty(), "swept");
    }

    #[tokio::test]
    async fn passes_over_connections_that_the_other_side_closed() {
        let pool = Arc::new(Pool::default());
        let origin: Arc<str> = "http://a:80".into();
        let (open, _far) = connection().await;
        let (closed, far) = connection().await;
        pool.put(&origin, open);
        pool.put(&origin, closed);
        drop(far);
        assert!(pool.take(&origin).await.is_some());
        assert!(pool.take(&origin).await.is_none());
    }

    #[tokio::test]
    async fn the_number_kept_is_bounded() {
        let pool = Arc::new(Pool::default());
        let origin: Arc<str> = "http://a:80".into();
        let mut far_ends = Vec::new();
        for _ in 0..MAX_IDLE_PER_HOST + 3 {
            let (near, far) = connection().await;
            far_ends.push(far);
            pool.put(&origin, near);
        }
        assert_eq!(pool.lock().get(&origin).map(Vec::len), Some(MAX_IDLE_PER_HOST));
    }
}
