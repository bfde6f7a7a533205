//! Answers that a test holds back.

use tokio::sync::watch;

/// Holds back every answer that waits for it, until the test opens it.
#[derive(Debug, Clone)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    /// A closed one.
    pub fn closed() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Lets everything pass from now on.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is open.
    pub(super) async fn passed(&self) {
        // This cannot fail: `self` could open it.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}
