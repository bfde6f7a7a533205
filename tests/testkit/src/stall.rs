//! How long the machine stood still.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio_util::task::AbortOnDropHandle;

/// The time between two looks at the clock.
const TICK: Duration = Duration::from_millis(10);

/// How long this machine does not let this process run, from [`Stall::watch`] on. A measured time
/// may be longer by that.
pub struct Stall {
    longest: Arc<Mutex<Duration>>,
    _watching: AbortOnDropHandle<()>,
}

impl Stall {
    /// Begins to watch.
    pub fn watch() -> Self {
        let longest = Arc::<Mutex<Duration>>::default();
        let noted = Arc::clone(&longest);
        let watching = tokio::spawn(async move {
            loop {
                let begun = Instant::now();
                tokio::time::sleep(TICK).await;
                let late = begun.elapsed().saturating_sub(TICK);
                let mut longest = noted.lock().unwrap();
                *longest = (*longest).max(late);
            }
        });
        Self { longest, _watching: AbortOnDropHandle::new(watching) }
    }

    /// The longest time so far.
    pub fn longest(&self) -> Duration {
        *self.longest.lock().unwrap()
    }
}
