//! Asks for shares of the limits that hold for all workers.

use std::time::Instant;

use super::{
    super::tuning::SHARE_UNCLEAR_WAIT,
    command::Command,
    failure::{Effect, Failure},
    shares::Answered,
    state::Engine,
    troubles::Kind,
};
use crate::store::Share;

impl Engine {
    /// Asks for shares, if it is time.
    pub(super) fn share_limits(&mut self, now: Instant) {
        if self.shares.due().is_none_or(|due| now < due) {
            return;
        }
        let busy =
            self.lanes.values().filter(|lane| lane.is_busy()).map(|lane| lane.key.webhook_id).collect();
        let used = self.slots.by_webhook().collect();
        let (asks, done) = self.shares.begin(&busy, &used, now);
        self.commands.push(Command::ShareLimits { asks, done });
    }

    /// An ask was answered.
    pub(super) fn on_shares(&mut self, shares: Result<Vec<Share>, Failure>, now: Instant) {
        let shares = match shares {
            Ok(shares) => shares,
            Err(failure) => {
                let wait = self.troubles.failed(Kind::ShareLimits, &failure, now);
                let unclear = failure.effect == Effect::Unknown;
                self.shares.failed(now + if unclear { SHARE_UNCLEAR_WAIT } else { wait });
                return;
            }
        };
        self.troubles.succeeded(Kind::ShareLimits);
        let Answered { granted, refused, rates } = self.shares.answered(shares, now);
        for (webhook_id, per_second) in rates {
            self.commands.push(Command::SetRate { webhook_id, per_second });
        }
        for webhook_id in granted {
            self.claims.ask(webhook_id);
        }
        if !refused.is_empty() {
            self.stop_bursts(|lane| refused.contains(&lane.key.webhook_id));
            self.release_stopped(now);
        }
    }
}
