//! Webhooks that are owed more than they may be: what they give up, and whether they overflow.
//!
//! Publishers count nothing. The leader counts once a second, so a limit holds within a look. If a
//! count takes long, the webhook is looked at less often, and the others are not.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tracing::{info, warn};

use super::piece::{Done, Piece};
use crate::store::{LeaderStore, StoreError};

/// Counting takes at most one part in so many of the time: for one webhook that takes long, and for
/// all others together. While much is to be given up, it takes more.
const REST: u32 = 10;

/// The pause if more is to be given up.
const AGAIN: Duration = Duration::from_millis(10);

/// How many messages of a webhook are given up before it is counted again, and how many in a step.
const LISTED: u64 = 10_000;
const PORTION: usize = 1_000;

/// How often other messages are listed because those that were listed could not be given up.
const LISTINGS: u32 = 5;

/// How often the log says how much was given up, at most.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Keeps what webhooks are owed below their limits.
#[derive(Default)]
pub(super) struct Overflow {
    /// The webhooks whose count took long, and when they are looked at next.
    slow: HashMap<i64, Instant>,
    /// How many messages were given up since the log said so, and when that was.
    given_up: u64,
    said: Option<Instant>,
}

impl Piece for Overflow {
    const NAME: &'static str = "overflow";
    const EVERY: Duration = Duration::from_secs(1);

    async fn run(&mut self, steps: &LeaderStore) -> Result<Done, StoreError> {
        self.slow.retain(|_, next| *next > Instant::now());
        let left_out: Vec<i64> = self.slow.keys().copied().collect();
        let (mut did, mut more, mut after) = (0, false, i64::MIN);
        let mut looked = Duration::ZERO;
        loop {
            let checked = steps.check_backlogs(after, &left_out).await?;
            let Some(last) = checked.last() else { break };
            after = last.webhook_id;
            for backlog in checked {
                let webhook_id = backlog.webhook_id;
                match (backlog.changed, backlog.overflows) {
                    (true, true) => warn!(webhook_id, "a webhook is owed more than its max_owed"),
                    (true, false) => info!(webhook_id, "a webhook is not owed too much any more"),
                    (false, _) => {}
                }
                let given_up = match backlog.excess.min(LISTED) {
                    0 => 0,
                    excess => give_up(steps, webhook_id, excess).await?,
                };
                did += given_up;
                if given_up == LISTED {
                    more = true;
                } else if backlog.took * REST > Self::EVERY {
                    self.slow.insert(webhook_id, Instant::now() + backlog.took * REST);
                } else {
                    looked += backlog.took;
                }
            }
        }
        self.say(did);
        Ok(Done { did, again: Some(if more { AGAIN } else { Self::EVERY.max(looked * REST) }) })
    }
}

impl Overflow {
    fn say(&mut self, given_up: u64) {
        self.given_up += given_up;
        if self.given_up > 0 && self.said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            info!(
                messages = self.given_up,
                "webhooks were owed more than their max_owed: messages became dead letters"
            );
            self.said = Some(Instant::now());
            self.given_up = 0;
        }
    }
}

/// Gives up so many messages of a webhook. Returns how many were given up: some may be locked.
async fn give_up(steps: &LeaderStore, webhook_id: i64, excess: u64) -> Result<u64, StoreError> {
    let (mut given_up, mut left_out) = (0, Vec::new());
    for _ in 0..LISTINGS {
        let listed = steps.list_overflow(webhook_id, excess - given_up, &left_out).await?;
        let known = left_out.len();
        for portion in listed.chunks(PORTION) {
            let dropped = steps.drop_overflow(webhook_id, portion).await?;
            given_up += dropped.messages;
            left_out.extend(dropped.left_lanes);
        }
        if given_up >= excess || left_out.len() == known {
            break;
        }
    }
    Ok(given_up)
}
