//! Samples: what webhooks are owed and how they do, noted every 10 s.

use std::time::{Duration, Instant};

use super::piece::{Done, Piece};
use crate::store::{LeaderStore, StoreError};

/// Looking takes at most one part in so many of the time. So a database with many webhooks and much
/// that is owed is looked at less often.
const REST: u32 = 10;

/// Takes samples.
pub(super) struct Samples;

impl Piece for Samples {
    const NAME: &'static str = "samples";
    const EVERY: Duration = Duration::from_secs(10);

    async fn run(&mut self, steps: &LeaderStore) -> Result<Done, StoreError> {
        let begun = Instant::now();
        steps.sample_traffic().await?;
        let (mut did, mut after) = (0, Some(0));
        while let Some(webhook) = after {
            let (seen, ended) = steps.sample_backlogs(webhook).await?;
            did += seen;
            after = ended;
        }
        Ok(Done { did, again: Some(Self::EVERY.max(begun.elapsed() * REST)) })
    }
}
