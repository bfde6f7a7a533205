//! Name resolution: at most one lookup of each name at a time.
//!
//! The system's resolver blocks a thread until it has an answer. That takes long if a name server
//! does not answer, and the number of these threads is limited. If each lane of a webhook blocked a
//! thread, a dead name server would hold up the other webhooks.
//!
//! So all callers that ask for the same name at the same time share one lookup and its answer. No
//! answer is kept afterwards: caching is left to the system's resolver.

use std::{
    collections::HashMap,
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::OnceCell;

/// The result of a lookup. An error is kept as kind and text, because several callers may need it.
type Answer = Result<Vec<SocketAddr>, (io::ErrorKind, String)>;
type Running = HashMap<Box<str>, Arc<OnceCell<Answer>>>;

/// The lookups that are under way.
#[derive(Default)]
pub(in crate::delivery) struct Lookups {
    running: Mutex<Running>,
}

impl Lookups {
    /// The addresses of a name, from the system's resolver. Their port is 0.
    pub(in crate::delivery) async fn lookup(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        self.share(name, async || Ok(tokio::net::lookup_host((name, 0)).await?.collect())).await
    }

    /// Runs `look_up`, or waits for the lookup of the same name that another caller runs.
    pub(in crate::delivery) async fn share<F: Future<Output = io::Result<Vec<SocketAddr>>>>(
        &self,
        name: &str,
        look_up: impl FnOnce() -> F,
    ) -> io::Result<Vec<SocketAddr>> {
        let cell = Arc::clone(self.lock().entry(name.into()).or_default());
        let waiter = Waiter { lookups: self, name, cell };
        let answer = waiter
            .cell
            .get_or_init(|| async { look_up().await.map_err(|error| (error.kind(), error.to_string())) });
        answer.await.clone().map_err(|(kind, text)| io::Error::new(kind, text))
    }

    /// Whether a name is being looked up.
    #[cfg(test)]
    pub(in crate::delivery) fn is_running(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        // A panic of a holder leaves the map whole: each change of it is a single call.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A caller that waits for a lookup. When it ends, even early, it removes the lookup if that is
/// done or if nobody else waits for it.
struct Waiter<'a> {
    lookups: &'a Lookups,
    name: &'a str,
    cell: Arc<OnceCell<Answer>>,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut running = self.lookups.lock();
        // Nobody can join while the lock is held. If there are two holders, they are the map and
        // this waiter.
        let over = self.cell.initialized() || Arc::strong_count(&self.cell) == 2;
        if over && running.get(self.name).is_some_and(|cell| Arc::ptr_eq(cell, &self.cell)) {
            running.remove(self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn who_asks_at_once_shares_one_lookup_and_who_asks_later_gets_a_new_one() {
        let (lookups, count) = (Lookups::default(), AtomicUsize::new(0));
        let look_up = async || {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
            Err(io::Error::new(io::ErrorKind::NotFound, "no such name"))
        };
        for round in 1..3 {
            for answer in join_all((0..50).map(|_| lookups.share("a", look_up))).await {
                assert_eq!(answer.expect_err("an error").to_string(), "no such name");
            }
            assert_eq!(count.load(Ordering::Relaxed), round);
            assert!(lookups.lock().is_empty(), "nothing is kept");
        }
    }

    #[tokio::test]
    async fn a_lookup_that_is_given_up_passes_to_the_next_and_leaves_nothing() {
        let lookups = Lookups::default();
        let forever = lookups.share("a", std::future::pending);
        assert!(tokio::time::timeout(Duration::from_millis(10), forever).await.is_err());
        assert!(lookups.lock().is_empty(), "nothing is kept");
        let answer = lookups.share("a", async || Ok(Vec::new())).await;
        assert_eq!(answer.expect("an answer"), []);
    }

    #[tokio::test]
    async fn the_systems_resolver_knows_localhost() {
        let addresses = Lookups::default().lookup("localhost").await.expect("an answer");
        assert!(addresses.iter().any(|address| address.ip().is_loopback()));
    }
}
