//! Steps of the database's clock.
//!
//! Promised: a lane that is ready can be claimed within about a second, and one that waits after a
//! failure waits about as long as it was to, whatever the database's clock does. `due_at` is
//! written with that clock; when it is stepped back, what was ready lies in the future. So the
//! lanes that are due later are looked through all the time, some at a time, and the rule of
//! `repair_due_at` is applied to them.
//!
//! Nothing is concluded from the clock itself: a step may come while no worker runs, and a
//! transaction that was open across it may commit any time later.

use std::{sync::Arc, time::Duration};

use tracing::{debug, warn};

use super::session::Signals;
use crate::store::{AheadOf, Store};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// How many lanes one look looks at. Where more wait, one round takes several looks.
const LANES: i32 = 10_000;

/// Looks after the lanes that are due later; never returns.
pub(super) async fn watch(store: Store, signals: Arc<Signals>) {
    let mut after = AheadOf::BEGINNING;
    // The clock may have been stepped while nobody looked: the first round is made without a pause,
    // and so is every round that finds something.
    let mut hurry = true;
    loop {
        match store.repair_due_at(after, LANES).await {
            Ok(correction) => {
                if correction.corrected > 0 {
                    warn!(
                        lanes = correction.corrected,
                        "the database's clock was stepped back: lanes that were due later than they should are brought back"
                    );
                    signals.wake();
                    hurry = true;
                }
                after = correction.next.unwrap_or(AheadOf::BEGINNING);
                hurry &= correction.next.is_some();
            }
            // Tried again soon; the session says if the database is gone.
            Err(error) => {
                debug!(%error, "could not look at the lanes that are due later");
                tokio::time::sleep(LOOK).await;
            }
        }
        if !hurry {
            tokio::time::sleep(LOOK).await;
        }
    }
}
