//! Webhooks that come, change and go.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::warn;

use super::{
    super::tuning::{RELOAD_ALL_WEBHOOKS, RELOAD_WEBHOOKS, RELOAD_WEBHOOKS_AGAIN, RELOAD_WEBHOOKS_MIN},
    command::Command,
    event::LoadedWebhooks,
    failure::Failure,
    lane::Lane,
    state::Engine,
    troubles::Kind,
};
use crate::domain::lane::LaneKey;

impl Engine {
    /// Reads the webhooks, if it is time.
    pub(super) fn load_webhooks(&mut self, now: Instant) {
        if now >= self.webhooks_due && !self.loading_webhooks {
            self.loading_webhooks = true;
            self.webhooks_due = now + RELOAD_WEBHOOKS;
            let all = now >= self.all_webhooks_due;
            if all {
                self.all_webhooks_due = now + RELOAD_ALL_WEBHOOKS;
            }
            self.commands.push(Command::LoadWebhooks { all });
        }
    }

    /// Webhooks or topics have changed.
    pub(super) fn webhooks_changed(&mut self, now: Instant) {
        self.webhooks_due = self.webhooks_due.min(now.max(self.webhooks_not_before));
    }

    /// The webhooks were read.
    pub(super) fn on_webhooks(&mut self, loaded: Result<LoadedWebhooks, Failure>, now: Instant) {
        self.loading_webhooks = false;
        let LoadedWebhooks { changed, removed, deleted, unusable, held, breakers } = match loaded {
            Ok(loaded) => loaded,
            Err(failure) => {
                self.troubles.failed(Kind::LoadWebhooks, &failure, now);
                self.webhooks_due = now + RELOAD_WEBHOOKS_AGAIN;
                self.all_webhooks_due = now;
                return;
            }
        };
        self.troubles.succeeded(Kind::LoadWebhooks);
        self.webhooks_not_before = now + RELOAD_WEBHOOKS_MIN;
        self.webhooks_due = self.webhooks_due.max(self.webhooks_not_before);
        if deleted {
            self.commands.push(Command::DeleteOrphans);
        }
        self.commands.extend(unusable.into_iter().map(Command::DisableUnusable));
        let news = !changed.is_empty();
        for (webhook_id, endpoint) in changed {
            if !endpoint.deliverable {
                self.outages.forget(webhook_id);
            }
            self.shares.changed(webhook_id, &endpoint);
            self.endpoints.insert(webhook_id, endpoint);
            // A lane that waits for a slot asked for no share while there was no limit.
            if self.queue.has(webhook_id) {
                self.shares.want(webhook_id, now);
            }
        }
        for webhook_id in &removed {
            self.endpoints.remove(webhook_id);
            self.holds.forget(*webhook_id);
            self.claims.forget(*webhook_id);
            self.slots.forget(*webhook_id);
            self.shares.forget(*webhook_id);
            self.outages.forget(*webhook_id);
            self.activity.forget(*webhook_id);
            self.breakers.forget(*webhook_id);
        }
        let mut stops = false;
        for (webhook_id, hold) in held {
            if self.holds.hold(webhook_id, now + hold) {
                self.stop_bursts(|lane| lane.key.webhook_id == webhook_id);
                stops = true;
            }
        }
        self.on_breakers(breakers, now);
        if news || stops || !removed.is_empty() {
            // Never less than the default. So the first webhook with that need not wait for a longer
            // lease.
            let timeouts = self.endpoints.values().map(|endpoint| endpoint.policy.timeout);
            self.longest_timeout = timeouts.fold(self.settings.default_timeout, Duration::max);
            self.claims.look();
            self.release_stopped(now);
        }
    }

    /// A receiver has asked this worker to send nothing for a while. No further request is started,
    /// and the other workers are told.
    pub(super) fn hold_webhook(&mut self, webhook_id: i64, hold: Duration, now: Instant) {
        if self.holds.hold(webhook_id, now + hold) {
            self.commands.push(Command::Hold { webhook_id, hold });
            self.stop_bursts(|lane| lane.key.webhook_id == webhook_id);
            self.release_stopped(now);
        }
    }

    /// Ends the holds that are over.
    pub(super) fn end_holds(&mut self, now: Instant) {
        if self.holds.end(now) {
            self.claims.look();
        }
    }

    /// The bursts of these lanes start no further request.
    pub(super) fn stop_bursts(&mut self, of: impl Fn(&Lane) -> bool) {
        let lanes = self.lanes.values().filter(|lane| lane.in_burst() && of(lane));
        let mut keys: Vec<LaneKey> = lanes.map(|lane| lane.key).collect();
        keys.sort_unstable();
        self.commands.extend(keys.into_iter().map(Command::StopBurst));
    }

    /// Releases the lanes of webhooks that may not be sent to any more, not only when they get a slot.
    pub(super) fn release_stopped(&mut self, now: Instant) {
        let idle = self.lanes.values().filter(|lane| !lane.in_burst() && !lane.is_removing());
        let keys = idle.filter(|lane| !self.may_start(lane)).map(|lane| lane.key);
        let mut stopped: Vec<LaneKey> = keys.collect();
        stopped.sort_unstable();
        for key in stopped {
            self.advance(key, now);
        }
    }

    /// Starts no further request for a webhook. Says whether any could be started until now.
    pub(super) fn stop_webhook(&mut self, webhook_id: i64) -> bool {
        let Some(endpoint) = self.endpoints.get_mut(&webhook_id).filter(|endpoint| endpoint.deliverable)
        else {
            return false;
        };
        Arc::make_mut(endpoint).deliverable = false;
        self.commands.push(Command::StopWebhook(webhook_id));
        true
    }

    pub(super) fn on_not_disabled(webhook_id: i64, failure: &Failure) {
        let error = &failure.text;
        warn!(webhook_id, error, "webhook could not be disabled; it is read anew and sent to again");
    }
}
