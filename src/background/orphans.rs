//! Orphans: rows of webhooks that were deleted.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;
use tracing::info;

use super::piece::{Done, Piece};
use crate::store::{LeaderStore, StoreError};

/// If some orphans were locked: how soon to look again.
const AGAIN: Duration = Duration::from_secs(1);

/// Deletes orphans.
pub(super) struct Orphans {
    webhook_deleted: Arc<Notify>,
}

impl Orphans {
    pub(super) fn new(webhook_deleted: Arc<Notify>) -> Self {
        Self { webhook_deleted }
    }
}

impl Piece for Orphans {
    const NAME: &'static str = "orphans";
    const EVERY: Duration = Duration::from_mins(1);

    async fn run(&mut self, steps: &LeaderStore) -> Result<Done, StoreError> {
        let orphans = steps.delete_orphans().await?;
        if orphans.deliveries > 0 {
            info!(orphans = orphans.deliveries, "deleted deliveries of webhooks that are gone");
        }
        Ok(Done { did: orphans.deliveries, again: orphans.left.then_some(AGAIN) })
    }

    async fn nudged(&self) {
        self.webhook_deleted.notified().await;
    }
}
