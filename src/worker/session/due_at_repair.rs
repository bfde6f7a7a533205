//! Steps of the database's clock.
//!
//! Promised, whatever that clock does: a ready lane can be claimed within about a second, and a
//! lane that waits after a failure waits about as long as it should.
//!
//! `due_at` is written with the database's clock. If the clock is stepped back, the `due_at` of
//! ready lanes lies in the future. So each worker goes through the lanes that are due later, some
//! at a time and again and again, and applies the rule of `repair_due_at` to them: a lane is due at
//! most `wait_seconds` from now.
//!
//! The clock itself is not watched. A step may come while no worker runs. A transaction that was
//! open during a step may commit at any time later.

use std::{sync::Arc, time::Duration};

use tracing::{debug, warn};

use super::signals::Signals;
use crate::store::{AheadOf, Store};

/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// How many lanes one look covers. If more are due later, one round takes several looks.
const LANES: i32 = 10_000;

/// Repairs lanes that are due later than they should be; never returns.
pub(crate) async fn watch(store: Store, signals: Arc<Signals>) {
    let mut after = AheadOf::BEGINNING;
    // The first round makes no pause: the clock may have been stepped while no worker ran. After a
    // look that repairs something, the rest of the round makes no pause either.
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
            // It is tried again soon. If the database is gone, the session notices it.
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
