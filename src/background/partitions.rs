//! Partitions of the attempt log.

use std::time::Duration;

use tracing::info;

use super::piece::{Done, Piece};
use crate::store::{LeaderStore, StoreError};

/// There are partitions for this many days ahead.
const DAYS_AHEAD: i32 = 7;

/// Makes the partitions to come, and drops those past their retention.
pub(super) struct Partitions {
    /// For how many days attempts are kept; 0: for ever.
    kept_days: u32,
}

impl Partitions {
    pub(super) fn new(kept_days: u32) -> Self {
        Self { kept_days }
    }
}

impl Piece for Partitions {
    const NAME: &'static str = "partitions";
    const EVERY: Duration = Duration::from_mins(1);

    async fn run(&mut self, steps: &LeaderStore) -> Result<Done, StoreError> {
        let made = steps.make_attempt_partitions(DAYS_AHEAD).await?;
        let dropped =
            if self.kept_days > 0 { steps.drop_attempt_partitions(self.kept_days).await? } else { 0 };
        if dropped > 0 {
            info!(dropped, "dropped days of the attempt log past their retention");
        }
        Ok(Done { did: u64::from((made + dropped).unsigned_abs()), ..Done::default() })
    }
}
