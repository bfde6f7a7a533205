//! Activity that grows old: minutes after an hour, hours after a week, gone after its retention.

use std::time::Duration;

use super::piece::{Done, Piece};
use crate::store::{LeaderStore, StoreError};

/// The spans of rows, in seconds, and after how many seconds they are merged into longer ones.
const MERGES: [(i32, i32, f64); 2] = [(10, 60, 3600.0), (60, 3600, 7.0 * 86_400.0)];

/// How many steps of each kind one run takes at most.
const STEPS_MAX: u32 = 100;

/// Merges and deletes activity.
pub(super) struct Activity {
    /// For how many days it is kept; 0: for ever.
    kept_days: u32,
}

impl Activity {
    pub(super) fn new(kept_days: u32) -> Self {
        Self { kept_days }
    }
}

impl Piece for Activity {
    const NAME: &'static str = "activity";
    const EVERY: Duration = Duration::from_mins(1);

    async fn run(&mut self, steps: &LeaderStore) -> Result<Done, StoreError> {
        let mut did = 0;
        for (from, to, older_than) in MERGES {
            for _ in 0..STEPS_MAX {
                match steps.merge_activity(from, to, older_than).await? {
                    0 => break,
                    taken => did += taken,
                }
            }
        }
        for _ in 0..STEPS_MAX {
            match if self.kept_days > 0 { steps.delete_old_activity(self.kept_days).await? } else { 0 } {
                0 => break,
                deleted => did += deleted,
            }
        }
        Ok(Done { did, ..Done::default() })
    }
}
