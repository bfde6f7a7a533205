//! Keeps connections open between requests.
//!
//! A lane sends one message after another. So a connection comes back as soon as its answer was
//! read, and is taken again at once. The connection that was used last is taken first. The others
//! become old and are closed.
//!
//! No connection is used for longer than [`MAX_AGE`]. A new one is made to the address that the
//! host's name has then. So a change in DNS takes effect within a minute, however steady the
//! traffic is.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use hyper::{Request, Response, body::Incoming as Body, client::conn::http1::SendRequest};
use tokio_util::{sync::DropGuard, task::AbortOnDropHandle};

use super::{
    super::request::Identity,
    timely::{Timely, TooLate},
    watched::Incoming,
};

/// How long a connection may be used, from its opening on.
const MAX_AGE: Duration = Duration::from_mins(1);
/// How many unused connections of one identity are kept.
const MAX_IDLE: usize = 1024;
/// How long a connection may take to become ready after its last answer was read. That takes
/// microseconds, unless the receiver answered before it had read the request.
const SETTLE_TIMEOUT: Duration = Duration::from_millis(100);
/// The time between two looks for connections that are too old.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// One open connection. It is closed when it is dropped.
pub(super) struct Connection {
    sender: SendRequest<Timely>,
    incoming: Arc<Incoming>,
    opened: Instant,
    /// Ends the task that reads and writes it.
    _driver: DropGuard,
}

impl Connection {
    /// A connection that was just opened.
    pub(super) fn new(sender: SendRequest<Timely>, incoming: Arc<Incoming>, driver: DropGuard) -> Self {
        Self { sender, incoming, opened: Instant::now(), _driver: driver }
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(&mut self, request: Request<Timely>) -> Result<Response<Body>, Broken> {
        let before = self.incoming.bytes();
        self.sender.send_request(request).await.map_err(|error| Broken {
            too_late: std::error::Error::source(&error).is_some_and(<dyn std::error::Error>::is::<TooLate>),
            unanswered: self.incoming.bytes() == before,
            speaks_tls: self.incoming.is_tls_alert(),
            error,
        })
    }
}

/// Why a connection gave no answer.
pub(super) struct Broken {
    /// The request's time was over. Nothing was sent.
    pub(super) too_late: bool,
    /// No byte of an answer has come.
    pub(super) unanswered: bool,
    /// The other side speaks TLS, and this side does not.
    pub(super) speaks_tls: bool,
    pub(super) error: hyper::Error,
}

struct Idle {
    connection: Connection,
    /// When it is too old to be used.
    until: Instant,
}

impl Idle {
    fn usable(&self, now: Instant) -> bool {
        !self.connection.sender.is_closed() && now < self.until
    }
}

/// Unused connections. Those of one identity are alike.
pub(super) struct Pool {
    idle: Mutex<HashMap<Arc<Identity>, Vec<Idle>>>,
    max_age: Duration,
    sweep_every: Duration,
    /// The task that closes old connections, once there were some.
    sweeper: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl Default for Pool {
    fn default() -> Self {
        Self::with_max_age(MAX_AGE)
    }
}

impl Pool {
    pub(super) fn with_max_age(max_age: Duration) -> Self {
        Self {
            idle: Mutex::default(),
            max_age,
            sweep_every: SWEEP_EVERY.min(max_age),
            sweeper: Mutex::default(),
        }
    }

    /// A kept connection of this identity that is open and ready, as far as this side knows.
    pub(super) async fn take(&self, identity: &Identity) -> Option<Connection> {
        while let Some(mut idle) = self.pop(identity) {
            if !idle.usable(Instant::now()) {
                continue;
            }
            let sender = &mut idle.connection.sender;
            if sender.is_ready()
                || matches!(tokio::time::timeout(SETTLE_TIMEOUT, sender.ready()).await, Ok(Ok(())))
            {
                return Some(idle.connection);
            }
        }
        None
    }

    /// Keeps a connection whose last answer was read to its end, for `idle_timeout` at most.
    pub(super) fn put(
        self: &Arc<Self>,
        identity: &Arc<Identity>,
        connection: Connection,
        idle_timeout: Duration,
    ) {
        let now = Instant::now();
        let idle = Idle { until: (now + idle_timeout).min(connection.opened + self.max_age), connection };
        if !idle.usable(now) {
            return;
        }
        {
            let mut idle_connections = self.lock();
            match idle_connections.get_mut(identity) {
                Some(connections) if connections.len() < MAX_IDLE => connections.push(idle),
                Some(_) => {}
                None => {
                    idle_connections.insert(Arc::clone(identity), vec![idle]);
                }
            }
        }
        self.ensure_sweeper();
    }

    /// Starts the sweeper, unless it runs. It may have ended by a panic.
    fn ensure_sweeper(self: &Arc<Self>) {
        let mut sweeper = self.sweeper.lock().unwrap_or_else(PoisonError::into_inner);
        if sweeper.as_ref().is_none_or(AbortOnDropHandle::is_finished) {
            let sweeping = sweep_regularly(Arc::downgrade(self), self.sweep_every);
            *sweeper = Some(AbortOnDropHandle::new(tokio::spawn(sweeping)));
        }
    }

    /// Closes all unused connections, and waits until nothing sweeps any more.
    pub(super) async fn close(&self) {
        self.lock().clear();
        let sweeper = self.sweeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sweeper) = sweeper {
            sweeper.abort();
            // An error says that it was aborted.
            let _ = sweeper.await;
        }
    }

    /// Closes all unused connections of this identity. They were used before one that the other side has
    /// closed.
    pub(super) fn close_unused(&self, identity: &Identity) {
        self.lock().remove(identity);
    }

    fn pop(&self, identity: &Identity) -> Option<Idle> {
        self.lock().get_mut(identity)?.pop()
    }

    /// Closes connections that are too old, or that the other side has closed.
    fn sweep(&self) {
        let now = Instant::now();
        self.lock().retain(|_, connections| {
            connections.retain(|idle| idle.usable(now));
            !connections.is_empty()
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<Identity>, Vec<Idle>>> {
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
    use tokio_util::sync::CancellationToken;

    use super::*;

    const LONG: Duration = Duration::from_mins(10);

    fn identity(url: &str) -> Arc<Identity> {
        Arc::new(Identity::of(&url.parse().expect("a URL")).expect("an identity"))
    }

    async fn connection() -> (Connection, DuplexStream) {
        let (near, far) = tokio::io::duplex(1024);
        let (sender, driver) = http1::handshake(TokioIo::new(near)).await.expect("a connection");
        tokio::spawn(driver);
        (Connection::new(sender, Arc::default(), CancellationToken::new().drop_guard()), far)
    }

    #[tokio::test]
    async fn keeps_by_identity_and_closes_what_is_unused() {
        let pool = Arc::new(Pool { sweep_every: Duration::from_millis(20), ..Pool::default() });
        let (identity_b, identity) = (identity("http://b"), identity("http://a"));
        let idle_timeout = Duration::from_millis(60);
        let (first, _far) = connection().await;
        pool.put(&identity, first, idle_timeout);
        assert!(pool.take(&identity_b).await.is_none());
        let first = pool.take(&identity).await.expect("kept");
        assert!(pool.take(&identity).await.is_none());
        pool.put(&identity, first, idle_timeout);
        tokio::time::sleep(idle_timeout * 2).await;
        assert!(pool.lock().is_empty(), "swept");
        let (second, _far) = connection().await;
        pool.put(&identity, second, Duration::ZERO);
        assert!(pool.lock().is_empty(), "not kept");
    }

    #[tokio::test]
    async fn a_connection_that_is_in_steady_use_becomes_too_old() {
        let pool = Arc::new(Pool::with_max_age(Duration::from_millis(60)));
        let identity = identity("http://a");
        let (mut steady, _far) = connection().await;
        let opened = steady.opened;
        let last = loop {
            pool.put(&identity, steady, LONG);
            match pool.take(&identity).await {
                Some(taken) => steady = taken,
                None => break opened.elapsed(),
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        assert!(last >= pool.max_age, "{last:?}");
    }

    #[tokio::test]
    async fn passes_over_connections_that_the_other_side_closed() {
        let pool = Arc::new(Pool::default());
        let identity = identity("http://a");
        let (open, _far) = connection().await;
        let (closed, far) = connection().await;
        pool.put(&identity, open, LONG);
        pool.put(&identity, closed, LONG);
        drop(far);
        assert!(pool.take(&identity).await.is_some());
        assert!(pool.take(&identity).await.is_none());
    }

    #[tokio::test]
    async fn the_number_kept_is_bounded() {
        let pool = Arc::new(Pool::default());
        let identity = identity("http://a");
        let mut far_ends = Vec::new();
        for _ in 0..MAX_IDLE + 3 {
            let (near, far) = connection().await;
            far_ends.push(far);
            pool.put(&identity, near, LONG);
        }
        assert_eq!(pool.lock().get(&identity).map(Vec::len), Some(MAX_IDLE));
        pool.close_unused(&identity);
        assert!(pool.take(&identity).await.is_none());
    }
}
