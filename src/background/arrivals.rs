//! Messages that arrived without being published here.

use std::time::Duration;

use tracing::warn;

use super::piece::{Done, Piece};
use crate::store::{LeaderStore, StoreError};

/// Says in the log how many such messages have arrived.
#[derive(Default)]
pub(super) struct Arrivals {
    /// How many were said before.
    known: i64,
}

impl Piece for Arrivals {
    const NAME: &'static str = "arrivals";
    const EVERY: Duration = Duration::from_mins(1);

    async fn run(&mut self, steps: &LeaderStore) -> Result<Done, StoreError> {
        let arrived = steps.count_arrived_messages().await?;
        let new = arrived - self.known;
        if new > 0 {
            warn!(
                messages = new,
                total = arrived,
                "messages arrived by replication, or while triggers were switched off: they were not published here, and nobody \
                 is owed them unless their deliveries arrived too (see docs/operations.md)"
            );
        }
        self.known = arrived;
        Ok(Done { did: u64::try_from(new).unwrap_or_default(), ..Done::default() })
    }
}
