//! What must be done now and then: partitions of the log, messages past their retention, orphans.

use std::{sync::Arc, time::Duration};

use tracing::{info, warn};

use super::session::Signals;
use crate::store::{Store, StoreError};

/// Between two rounds.
const EVERY: Duration = Duration::from_mins(1);

/// In how many rounds all messages are looked through for a topic that is gone: one in an hour.
const ORPHAN_MESSAGES_EVERY: u32 = 60;

/// How many days ahead the log has its partitions.
const LOG_DAYS_AHEAD: i32 = 7;

/// How many days of the log are kept.
const LOG_DAYS_KEPT: i32 = 30;

/// Maintains the database; never returns. Any worker may do it, and all of them do.
pub(super) async fn maintain(store: Store, signals: Arc<Signals>) {
    let mut failing = false;
    for number in 0u32.. {
        match round(&store, number).await {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                warn!(%error, "maintenance failed; trying again every minute");
                failing = true;
            }
            Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = signals.orphans.notified() => {}
        }
    }
}

async fn round(store: &Store, number: u32) -> Result<(), StoreError> {
    store.make_attempt_partitions(LOG_DAYS_AHEAD).await?;
    store.drop_attempt_partitions(LOG_DAYS_KEPT).await?;
    let expired = store.delete_expired_messages().await?;
    if expired > 0 {
        info!(expired, "deleted messages past their topic's retention");
    }
    let orphans = store.delete_orphans().await?;
    if orphans > 0 {
        info!(orphans, "deleted deliveries of webhooks that are gone");
    }
    // In portions, so that no statement takes long.
    if number % ORPHAN_MESSAGES_EVERY == ORPHAN_MESSAGES_EVERY - 1 {
        while store.delete_orphan_messages().await? > 0 {}
    }
    Ok(())
}
