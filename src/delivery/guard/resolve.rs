//! Name resolution, one lookup of a name at a time.
//!
//! The system's resolver blocks a thread for as long as it takes, which is long where a name server
//! does not answer, and there is a limited number of such threads. If each of a webhook's lanes
//! blocked one, a dead name server would hold up the other webhooks. So whoever asks for a name
//! that is being looked up waits for the same answer. Nothing is kept afterwards: how long an
//! answer is good for is the system resolver's business.

use std::{
    collections::HashMap,
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::OnceCell;

/// What came of a lookup; errors are kept as kind and text, because several may want the same one.
type Answer = Result<Vec<SocketAddr>, (io::ErrorKind, String)>;
type Running = HashMap<Box<str>, Arc<OnceCell<Answer>>>;

/// The lookups that are under way.
#[derive(Default)]
pub(in crate::delivery) struct Lookups {
    running: Mutex<Running>,
}

impl Lookups {
    /// The addresses of a name, with port 0, from the system's resolver.
    pub(in crate::delivery) async fn lookup(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        self.share(name, async || Ok(tokio::net::lookup_host((name, 0)).await?.collect())).await
    }

    /// Runs `look_up`, or waits for what another caller runs for the same name.
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
        // Nothing is half done when a holder panics: the map is whole between any two calls.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits for a lookup. Its end, also an early one, forgets the lookup once it is done or
/// nobody waits for it.
struct Waiter<'a> {
    lookups: &'a Lookups,
    name: &'a str,
    cell: Arc<OnceCell<Answer>>,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut running = self.lookups.lock();
        // Under the lock nobody else can join: two holders are the map and this one.
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
