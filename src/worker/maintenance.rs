//! Regular maintenance: partitions of the attempt log, what is past its retention, orphans (rows of
//! webhooks and topics that were deleted).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::{info, warn};

use super::{session::Signals, sweep::Sweep};
use crate::{
    config::RetentionConfig,
    store::{Store, StoreError},
};

/// The time between two rounds.
const EVERY: Duration = Duration::from_mins(1);

/// Every sixtieth round, so once an hour, a sweep over all messages begins. It finds those whose
/// topic is gone, and those whose `created_at` does not rise with their ids.
const ALL_MESSAGES_EVERY: u32 = 60;

/// How long one sweep may go on in one round. The next round goes on where it has stopped.
const SWEEP_LIMIT: Duration = Duration::from_secs(5);

/// The attempt log has partitions for this many days ahead.
const LOG_DAYS_AHEAD: i32 = 7;

/// If some orphans were locked: how soon to look again.
const ORPHANS_AGAIN: Duration = Duration::from_secs(1);

/// Maintains the database; never returns. Any worker may do it, and all of them do.
pub(super) async fn maintain(store: Store, retention: RetentionConfig, signals: Arc<Signals>) {
    let mut rounds = tokio::time::interval(EVERY);
    let mut keeper = Keeper { store, retention, number: 0, old: Sweep::of_old_messages(), all: None };
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
                keeper.round().await?;
                say_arrived(&keeper.store, &mut arrived).await?;
            }
            delete_orphans(&keeper.store).await
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

/// What is done once a minute, and how far it is.
struct Keeper {
    store: Store,
    retention: RetentionConfig,
    number: u32,
    /// Over the old messages. It begins anew when it has ended.
    old: Sweep,
    /// Over all messages, while there is one.
    all: Option<Sweep>,
}

impl Keeper {
    async fn round(&mut self) -> Result<(), StoreError> {
        self.number = self.number.wrapping_add(1);
        self.store.make_attempt_partitions(LOG_DAYS_AHEAD).await?;
        if self.retention.attempts_days > 0 {
            self.store.drop_attempt_partitions(self.retention.attempts_days).await?;
        }
        if self.retention.dead_letters_days > 0 {
            let expired = self.store.delete_old_dead_letters(self.retention.dead_letters_days).await?;
            if expired > 0 {
                info!(expired, "deleted dead letters past their retention");
            }
        }
        if self.number.is_multiple_of(ALL_MESSAGES_EVERY) && self.all.is_none() {
            self.all = Some(Sweep::of_all_messages());
        }
        let old = self.go_on(self.old).await?;
        let mut deleted = old.deleted();
        self.old = if old.has_ended() { Sweep::of_old_messages() } else { old };
        if let Some(all) = self.all {
            let all = self.go_on(all).await?;
            deleted += all.deleted();
            self.all = Some(all).filter(|all| !all.has_ended());
        }
        if deleted > 0 {
            info!(deleted, "deleted messages past their retention, or of topics that are gone");
        }
        Ok(())
    }

    /// Goes on with a sweep for one round. Returns it as it stands then.
    async fn go_on(&self, mut sweep: Sweep) -> Result<Sweep, StoreError> {
        let begun = Instant::now();
        sweep.begin_round();
        while sweep.goes_on() && begun.elapsed() < SWEEP_LIMIT {
            let portion = self.store.delete_old_messages(sweep.after(), self.retention.messages_days).await?;
            sweep.note(portion);
        }
        Ok(sweep)
    }
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
