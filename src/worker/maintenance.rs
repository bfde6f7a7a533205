//! Regular maintenance: partitions of the attempt log, messages past their retention, orphans (rows
//! of webhooks and topics that were deleted).

use std::{sync::Arc, time::Duration};

use tracing::{info, warn};

use super::session::Signals;
use crate::store::{Store, StoreError};

/// The time between two rounds.
const EVERY: Duration = Duration::from_mins(1);

/// Every sixtieth round, so once an hour, looks through all messages for those whose topic is gone.
const ORPHAN_MESSAGES_EVERY: u32 = 60;

/// The attempt log has partitions for this many days ahead.
const LOG_DAYS_AHEAD: i32 = 7;

/// How many days of the attempt log are kept.
const LOG_DAYS_KEPT: i32 = 30;

/// If some orphans were locked: how soon to look again.
const ORPHANS_AGAIN: Duration = Duration::from_secs(1);

/// Maintains the database; never returns. Any worker may do it, and all of them do.
pub(super) async fn maintain(store: Store, signals: Arc<Signals>) {
    let (mut rounds, mut number) = (tokio::time::interval(EVERY), 0u32);
    let (mut orphans_left, mut failing) = (false, false);
    let mut arrived = 0;
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
                say_arrived(&store, &mut arrived).await?;
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

/// Says that messages have arrived that were not published here. `known` is how many were said
/// before.
async fn say_arrived(store: &Store, known: &mut i64) -> Result<(), StoreError> {
    let arrived = store.count_arrived_messages().await?;
    if arrived > *known {
        warn!(
            messages = arrived - *known,
            total = arrived,
            "messages arrived by replication, or while triggers were switched off: they were not published here, and nobody \
             is owed them unless their deliveries arrived too (see docs/operations.md)"
        );
    }
    *known = arrived;
    Ok(())
}

/// Deletes orphans. Returns whether some are left, because somebody has locked them.
async fn delete_orphans(store: &Store) -> Result<bool, StoreError> {
    let orphans = store.delete_orphans().await?;
    if orphans.deliveries > 0 {
        info!(orphans = orphans.deliveries, "deleted deliveries of webhooks that are gone");
    }
    Ok(orphans.left)
}
