//! Events: changes of state that are published to the topic `pgtopic.events`.

use std::time::{Duration, Instant};

use super::piece::{Done, Piece};
use crate::store::{LeaderStore, StoreError};

/// How often deliveries that were given up are told of: one event for each webhook.
const TELL_EXHAUSTED_EVERY: Duration = Duration::from_mins(1);

/// Publishes events.
#[derive(Default)]
pub(super) struct Events {
    exhausted_told: Option<Instant>,
}

impl Piece for Events {
    const NAME: &'static str = "events";
    const EVERY: Duration = Duration::from_secs(1);

    async fn run(&mut self, steps: &LeaderStore) -> Result<Done, StoreError> {
        if self.exhausted_told.is_none_or(|at| at.elapsed() >= TELL_EXHAUSTED_EVERY) {
            self.exhausted_told = Some(Instant::now());
            steps.record_exhausted().await?;
        }
        Ok(Done { did: steps.publish_events().await?, ..Done::default() })
    }
}
