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

/// How soon to look again for orphans of which some were locked.
const ORPHANS_AGAIN: Duration = Duration::from_secs(1);

/// Maintains the database; never returns. Any worker may do it, and all of them do.
pub(super) async fn maintain(store: Store, signals: Arc<Signals>) {
    let (mut rounds, mut number) = (tokio::time::interval(EVERY), 0u32);
    let (mut orphans_left, mut failing) = (false, false);
    loop {
        let due = tokio::select! {
            _ = rounds.tick() => true,
            () = signals.orphans.notified() => false,
            () = tokio::time::sleep(ORPHANS_AGAIN), if orphans_left => false,
        };
        let done = async {
            if due {
                number = number.wrapping_add(1);
                round(&store, number).await?;
            }
            delete_orphans(&store).await
        };
        match done.await {
            Ok(left) => (orphans_left, failing) = (left, false),
            Err(error) if !failing => {
                warn!(%error, "maintenance failed; trying again every minute");
                failing = true;
            }
            Err(_) => {}
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
    // In portions, so that no statement takes long.
    if number.is_multiple_of(ORPHAN_MESSAGES_EVERY) {
        while store.delete_orphan_messages().await? > 0 {}
    }
    Ok(())
}

/// Says whether some are left, since they were locked.
async fn delete_orphans(store: &Store) -> Result<bool, StoreError> {
    let orphans = store.delete_orphans().await?;
    if orphans.deliveries > 0 {
        info!(orphans = orphans.deliveries, "deleted deliveries of webhooks that are gone");
    }
    Ok(orphans.left)
}
