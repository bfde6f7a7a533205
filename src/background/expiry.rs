//! Messages that are too old for their webhooks, in lanes that no worker holds.
//!
//! A worker judges the age of what it would send. The leader does so for the rest: for lanes that
//! wait, and for webhooks that are paused or disabled.

use std::time::{Duration, Instant};

use tracing::info;

use super::piece::{Done, Piece};
use crate::{
    domain::lane::LaneKey,
    store::{LeaderStore, StoreError},
};

/// Looking takes at most one part in so many of the time.
const REST: u32 = 10;

/// The pause if more is known to be too old.
const AGAIN: Duration = Duration::from_millis(10);

/// Before all lanes.
const START: LaneKey = LaneKey { webhook_id: i64::MIN, lane: i64::MIN };

/// Gives up what is too old.
pub(super) struct Expiry;

impl Piece for Expiry {
    const NAME: &'static str = "expiry";
    const EVERY: Duration = Duration::from_secs(1);

    async fn run(&mut self, steps: &LeaderStore) -> Result<Done, StoreError> {
        let (begun, mut did, mut more, mut after) = (Instant::now(), 0, false, Some(START));
        while let Some(lane) = after {
            let step = steps.expire_deliveries(lane).await?;
            did += step.messages;
            more |= step.more;
            after = step.last;
        }
        if did > 0 {
            info!(messages = did, "messages were too old for their webhooks, and became dead letters");
        }
        let pause = if more && did > 0 { AGAIN } else { Self::EVERY.max(begun.elapsed() * REST) };
        Ok(Done { did, again: Some(pause) })
    }
}
