//! Name resolution: at most one lookup of each name at a time, and not too many at once.
//!
//! The system's resolver blocks a thread until it has an answer. If a name server is silent, that
//! takes ten seconds and more, and nothing can end it earlier. So:
//! - Lookups have threads of their own. They never use those that other work needs.
//! - A lookup is kept until its thread returns, even if nobody waits for it any more. Who asks for
//!   the name meanwhile shares it, and starts no second one.
//! - The number of lookups under way is bounded (`places`). Beyond it a name fails at once.
//! - A caller waits a bounded time, counted from the beginning of the lookup. If a lookup hangs,
//!   later callers fail at once.
//!
//! No answer is kept afterwards: caching is left to the system's resolver.

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, ToSocketAddrs as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::watch;

use super::places::{LOOKUPS_MAX, Place, Places};

/// The stack of a lookup's thread, in bytes. The system's resolver may load modules.
const STACK: usize = 1024 * 1024;

/// The result of a lookup. An error is kept as kind and text, because several callers may need it.
type Answer = Result<Vec<SocketAddr>, (io::ErrorKind, String)>;

/// Looks up a name, and blocks its thread meanwhile.
type Resolver = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// The lookups that are under way.
pub(in crate::delivery) struct Lookups {
    state: Mutex<State>,
    resolver: Box<Resolver>,
}

#[derive(Default)]
struct State {
    places: Places,
    running: HashMap<Box<str>, Running>,
}

/// A lookup under way.
struct Running {
    place: Place,
    answer: watch::Receiver<Option<Answer>>,
}

impl Default for Lookups {
    /// With the system's resolver.
    fn default() -> Self {
        Self::with_resolver(|name| Ok((name, 0).to_socket_addrs()?.collect()))
    }
}

impl Lookups {
    pub(in crate::delivery) fn with_resolver(
        resolver: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self { state: Mutex::default(), resolver: Box::new(resolver) }
    }

    /// The addresses of a name. Their port is 0.
    ///
    /// # Errors
    /// If the name does not resolve, if its lookup takes too long, or if too many names are being
    /// looked up.
    pub(in crate::delivery) async fn lookup(self: &Arc<Self>, name: &str) -> io::Result<Vec<SocketAddr>> {
        let (mut answer, since, patience) = self.join_or_start(name)?;
        let deadline = tokio::time::Instant::from_std(since + patience);
        let answered = tokio::time::timeout_at(deadline, answer.wait_for(Option::is_some)).await;
        let answered = answered.map_err(|_| {
            let text = format!("no name server has answered for {:.1} s", since.elapsed().as_secs_f64());
            io::Error::new(io::ErrorKind::TimedOut, text)
        })?;
        match answered.ok().and_then(|answer| answer.clone()) {
            Some(answer) => answer.map_err(|(kind, text)| io::Error::new(kind, text)),
            None => Err(io::Error::other("the lookup ended without an answer")),
        }
    }

    /// The lookup of this name that is under way, or a new one: its answer, when it began, and how
    /// long to wait for it.
    fn join_or_start(
        self: &Arc<Self>,
        name: &str,
    ) -> io::Result<(watch::Receiver<Option<Answer>>, Instant, std::time::Duration)> {
        let mut state = self.lock();
        if let Some(Running { place, answer }) = state.running.get(name) {
            return Ok((answer.clone(), place.since, place.patience));
        }
        let place = state.places.take(name, Instant::now()).ok_or_else(|| {
            let text = format!("too many names are being looked up, of at most {LOOKUPS_MAX}");
            io::Error::new(io::ErrorKind::ResourceBusy, text)
        })?;
        let (sender, answer) = watch::channel(None);
        let started = (answer.clone(), place.since, place.patience);
        state.running.insert(name.into(), Running { place, answer });
        // The lookup locks the state when it ends.
        drop(state);
        let lookup = Lookup { lookups: Arc::clone(self), name: name.into(), sender };
        std::thread::Builder::new().name("lookup".to_owned()).stack_size(STACK).spawn(|| lookup.run())?;
        Ok(started)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of a holder leaves the state usable: each change of it is a single call.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lookup's thread. When it is dropped, even by a panic or because no thread could be started,
/// the lookup is over.
struct Lookup {
    lookups: Arc<Lookups>,
    name: Box<str>,
    sender: watch::Sender<Option<Answer>>,
}

impl Lookup {
    fn run(self) {
        let answer = (self.lookups.resolver)(&self.name);
        self.sender.send_replace(Some(answer.map_err(|error| (error.kind(), error.to_string()))));
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        let resolved = matches!(&*self.sender.borrow(), Some(Ok(addresses)) if !addresses.is_empty());
        let mut state = self.lookups.lock();
        if let Some(Running { place, .. }) = state.running.remove(&self.name) {
            state.places.give_back(&self.name, place, resolved, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Condvar,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use futures_util::future::join_all;

    use super::*;

    /// A resolver whose names that begin with `dead` hang until it is opened. All others resolve at
    /// once.
    #[derive(Default)]
    struct Names {
        open: Mutex<bool>,
        opened: Condvar,
        /// How many lookups were begun, and how many of them are under way.
        begun: AtomicUsize,
        running: AtomicUsize,
    }

    impl Names {
        fn lookups(self: &Arc<Self>) -> Arc<Lookups> {
            let names = Arc::clone(self);
            Arc::new(Lookups::with_resolver(move |name| Ok(names.resolve(name))))
        }

        fn resolve(&self, name: &str) -> Vec<SocketAddr> {
            self.begun.fetch_add(1, Ordering::Relaxed);
            self.running.fetch_add(1, Ordering::Relaxed);
            if name.starts_with("dead") {
                let open = self.open.lock().expect("no panic");
                drop(self.opened.wait_while(open, |open| !*open).expect("no panic"));
            }
            self.running.fetch_sub(1, Ordering::Relaxed);
            vec!["192.0.2.1:0".parse().expect("an address")]
        }

        fn open(&self) {
            *self.open.lock().expect("no panic") = true;
            self.opened.notify_all();
        }
    }

    fn is_running(lookups: &Lookups, name: &str) -> bool {
        lookups.lock().running.contains_key(name)
    }

    async fn until(what: &str, met: impl Fn() -> bool) {
        for _ in 0..1000 {
            if met() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("waited in vain: {what}");
    }

    #[tokio::test]
    async fn who_asks_at_once_shares_one_lookup_and_who_asks_later_gets_a_new_one() {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let lookups = Arc::new(Lookups::with_resolver(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(100));
            Err(io::Error::new(io::ErrorKind::NotFound, "no such name"))
        }));
        for round in 1..3 {
            for answer in join_all((0..50).map(|_| lookups.lookup("a"))).await {
                assert_eq!(answer.expect_err("an error").to_string(), "no such name");
            }
            assert_eq!(count.load(Ordering::Relaxed), round);
            until("nothing is kept", || !is_running(&lookups, "a")).await;
        }
    }

    #[tokio::test]
    async fn a_lookup_that_hangs_is_kept_and_fails_at_once_for_those_who_come_later() {
        let names = Arc::new(Names::default());
        let lookups = names.lookups();
        // This caller leaves early. The lookup goes on.
        let impatient = tokio::time::timeout(Duration::from_millis(10), lookups.lookup("dead")).await;
        assert!(impatient.is_err() && is_running(&lookups, "dead"));
        let error = lookups.lookup("dead").await.expect_err("no answer");
        assert!(error.to_string().starts_with("no name server has answered for 5."), "{error}");
        let begun = Instant::now();
        for _ in 0..100 {
            lookups.lookup("dead").await.expect_err("no answer");
        }
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        assert_eq!(names.begun.load(Ordering::Relaxed), 1);

        names.open();
        until("the lookup ends", || !is_running(&lookups, "dead")).await;
        lookups.lookup("dead").await.expect("it answers now");
    }

    /// As a silent name server makes it: 400 webhooks whose names hang, each of them asked for by
    /// several lanes.
    #[tokio::test]
    async fn hundreds_of_names_that_hang_hold_up_no_name_that_resolves() {
        let names = Arc::new(Names::default());
        let lookups = names.lookups();
        lookups.lookup("good").await.expect("it resolves");
        let dead: Vec<_> = (0..1200)
            .map(|number| {
                let lookups = Arc::clone(&lookups);
                tokio::spawn(async move { lookups.lookup(&format!("dead-{}", number % 400)).await })
            })
            .collect();
        until("all places are taken", || names.running.load(Ordering::Relaxed) >= 352).await;
        for _ in 0..20 {
            let begun = Instant::now();
            lookups.lookup("good").await.expect("it resolves all the same");
            assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        }
        assert!(names.running.load(Ordering::Relaxed) <= LOOKUPS_MAX);
        let mut busy = 0;
        for asked in dead {
            let error = asked.await.expect("no panic").expect_err("it hangs");
            busy += usize::from(error.kind() == io::ErrorKind::ResourceBusy);
        }
        assert_eq!(busy, 3 * (400 - 352), "names beyond the places fail at once");
        names.open();
    }

    #[tokio::test]
    async fn a_lookup_whose_thread_panics_is_over() {
        let lookups = Arc::new(Lookups::with_resolver(|_| panic!("a test panics here")));
        for _ in 0..3 {
            lookups.lookup("a").await.expect_err("no answer");
        }
    }

    #[tokio::test]
    async fn the_systems_resolver_knows_localhost() {
        let addresses = Arc::new(Lookups::default()).lookup("localhost").await.expect("an answer");
        assert!(addresses.iter().any(|address| address.ip().is_loopback()));
    }
}
