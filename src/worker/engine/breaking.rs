//! The circuit breakers of all webhooks: when this worker asks to open one, and what follows from what
//! the rows say. The rules are in `scheduling/breaker`.
//!
//! Promises:
//! - Nothing of a webhook is started while this worker suspects it, or knows that its breaker is open,
//!   but probes (`probing`).
//! - It is asked for only when the settle of the outcomes that led to it has written: so they count.
//!   If a lane is locked at that time, its outcomes are written later, with an older epoch. They are
//!   left out, and its messages are sent again.

use std::time::Instant;

use tracing::{debug, info, warn};

use super::{
    super::scheduling::breaker::Switch, command::Command, event::AttemptEnded, failure::Failure, lane::Lane,
    state::Engine,
};
use crate::domain::{
    attempt::ErrorClass,
    breaker::{BreakerPolicy, BreakerRow, Opening, Waking},
    lane::LaneKey,
};

impl Engine {
    /// Whether a lane may be sent now: its webhook takes messages, and its breaker is closed or the
    /// lane is its probe.
    pub(super) fn may_start(&self, lane: &Lane) -> bool {
        let webhook_id = lane.key.webhook_id;
        let probes = lane.probe.is_some() && self.breakers.is_open(webhook_id);
        self.takes_messages(webhook_id) && (probes || self.breakers.may_send(webhook_id))
    }

    /// Whether the breaker of a webhook may open.
    fn is_guarded(&self, webhook_id: i64) -> bool {
        self.endpoints.get(&webhook_id).is_some_and(|endpoint| endpoint.breaker == BreakerPolicy::Auto)
    }

    // -- What counts ------------------------------------------------------------------------------

    /// Whether the failure of a request that is no probe uses up an attempt.
    pub(super) fn uses_up(&mut self, key: LaneKey) -> bool {
        let Some(lane) = self.lanes.get(&key) else { return false };
        let epoch = lane.epoch;
        !self.is_guarded(key.webhook_id) || self.breakers.of(key.webhook_id).counts(epoch)
    }

    /// A request that is no probe has used up an attempt. `last`: it was the last one of its delivery.
    pub(super) fn count_failure(&mut self, key: LaneKey, last: bool, error: &str, now: Instant) {
        let webhook_id = key.webhook_id;
        if !self.is_guarded(webhook_id) || !self.breakers.of(webhook_id).failed(key.lane, last, now) {
            return;
        }
        // What has failed until now is written with the next settle.
        self.pending.hurry();
        let settle = self.settles.next_number();
        self.breakers.suspects.insert(webhook_id, (settle, error.to_owned()));
        debug!(webhook_id, error, "nothing but failures: asking to open the breaker");
        self.stop_sending(webhook_id, now);
    }

    /// A request that is no probe was accepted.
    pub(super) fn count_success(&mut self, key: LaneKey, epoch: i64, now: Instant) {
        let breaker = self.breakers.of(key.webhook_id);
        let switch = breaker.accepted(epoch, now);
        if breaker.is_to_note(now) {
            self.commands.push(Command::NoteSuccess(vec![key.webhook_id]));
        }
        if switch == Switch::Go {
            self.send_again(key.webhook_id, now);
        }
    }

    /// Takes in whether this worker can connect at all.
    pub(super) fn note_reach(&mut self, attempt: &AttemptEnded, now: Instant) {
        let connected = match attempt.result.error_class {
            // Nothing was tried.
            Some(ErrorClass::Forbidden | ErrorClass::Request) => return,
            Some(ErrorClass::Dns | ErrorClass::Connect) => false,
            _ => true,
        };
        let was_broken = self.breakers.reach.was_broken();
        if self.breakers.reach.ended(attempt.key.webhook_id, connected, now) {
            let error = attempt.result.error.as_deref().unwrap_or_default();
            if !was_broken {
                warn!(error, "this worker reaches no webhook at all: it claims nothing for some seconds");
            }
        } else if was_broken && connected {
            info!("this worker reaches webhooks again");
        }
    }

    // -- Asking to open ---------------------------------------------------------------------------

    /// Asks to open the breakers of suspects, if it is time.
    pub(super) fn ask_to_open(&mut self, now: Instant) {
        if self.breakers.suspects.is_empty() {
            return;
        }
        let written = self.settles.ended();
        let mut back = Vec::new();
        for (webhook_id, (settle, error)) in &self.breakers.suspects {
            let Some(breaker) = self.breakers.webhooks.get_mut(webhook_id) else { continue };
            if breaker.stood_back(now) == Switch::Go {
                back.push(*webhook_id);
            } else if written >= *settle && breaker.is_to_ask(now) {
                breaker.asked(now);
                let (epoch, reason) = (breaker.epoch(), error.clone());
                self.commands.push(Command::OpenBreaker { webhook_id: *webhook_id, epoch, reason });
            }
        }
        self.come_back(back, now);
    }

    /// Another worker has left. Webhooks that were left to the others are tried again: they may have
    /// been left to that one alone.
    pub(super) fn other_left(&mut self, now: Instant) {
        let webhooks = &mut self.breakers.webhooks;
        let mut is_back =
            |id: &i64| webhooks.get_mut(id).is_some_and(|breaker| breaker.other_left() == Switch::Go);
        let back = self.breakers.suspects.keys().copied().filter(|id| is_back(id)).collect();
        self.come_back(back, now);
    }

    fn come_back(&mut self, webhooks: Vec<i64>, now: Instant) {
        for webhook_id in webhooks {
            self.send_again(webhook_id, now);
        }
    }

    /// The database has said whether a breaker may open.
    pub(super) fn on_breaker_asked(
        &mut self,
        webhook_id: i64,
        answer: Result<Opening, Failure>,
        now: Instant,
    ) {
        let opening = match answer {
            Ok(opening) => opening,
            // It is asked again.
            Err(failure) => return debug!(webhook_id, %failure, "the breaker could not be asked for"),
        };
        if !self.endpoints.contains_key(&webhook_id) {
            return;
        }
        let error = self.breakers.suspects.get(&webhook_id).map(|(_, error)| error.clone());
        let switch = self.breakers.of(webhook_id).answered(opening, now);
        match opening {
            Opening::Opened(_) => {
                let topic = self.endpoints.get(&webhook_id).map(|endpoint| endpoint.topic.as_str());
                warn!(webhook_id, topic, error, "breaker open: nothing is sent to this webhook but probes");
            }
            Opening::Refused => {
                warn!(
                    webhook_id,
                    error, "requests of other workers are accepted: it is left to them for now"
                );
            }
            Opening::Outdated(_) => {
                self.all_webhooks_due = now;
                self.webhooks_changed(now);
            }
            Opening::Asked | Opening::Off => {}
        }
        self.switch(webhook_id, switch, now);
    }

    // -- What the rows say ------------------------------------------------------------------------

    /// These rows of breakers were read.
    pub(super) fn on_breakers(&mut self, rows: Vec<BreakerRow>, now: Instant) {
        for row in rows {
            let BreakerRow { webhook_id, open, epoch, suspected, wakes } = row;
            // It was deleted, or no request can be made for it.
            if !self.endpoints.contains_key(&webhook_id) {
                continue;
            }
            let breaker = self.breakers.of(webhook_id);
            let switch = breaker.listed(epoch, open);
            if suspected {
                breaker.suspected(now);
                if breaker.is_to_note(now) {
                    self.commands.push(Command::NoteSuccess(vec![webhook_id]));
                }
            }
            self.switch(webhook_id, switch, now);
            if wakes {
                self.wake_lanes(webhook_id);
            }
        }
    }

    /// The breaker has opened or closed.
    pub(super) fn switch(&mut self, webhook_id: i64, switch: Switch, now: Instant) {
        match switch {
            Switch::None => {}
            Switch::Stop => {
                self.breakers.suspects.remove(&webhook_id);
                self.breakers.open.insert(webhook_id);
                self.outages.opened(webhook_id);
                self.stop_sending(webhook_id, now);
            }
            Switch::Go => {
                self.breakers.open.remove(&webhook_id);
                self.outages.accepted(webhook_id, now);
                self.send_again(webhook_id, now);
            }
        }
    }

    /// Starts no further request of a webhook. Those that are under way finish.
    fn stop_sending(&mut self, webhook_id: i64, now: Instant) {
        self.stop_bursts(|lane| lane.key.webhook_id == webhook_id && lane.probe.is_none());
        self.release_stopped(now);
    }

    /// Sends to a webhook again: one lane in flight at first, and twice as many with each success.
    fn send_again(&mut self, webhook_id: i64, now: Instant) {
        debug!(webhook_id, "requests may be started again");
        self.breakers.suspects.remove(&webhook_id);
        self.slots.restart(webhook_id);
        self.claims.ask_from_beginning(webhook_id);
        self.claims.look();
        self.wakeup.worked(now);
    }

    // -- Lanes that wait --------------------------------------------------------------------------

    /// Makes lanes due that still wait for the end of a back-off.
    pub(super) fn wake_lanes(&mut self, webhook_id: i64) {
        if !self.stopping && self.breakers.waking.insert(webhook_id) {
            self.commands.push(Command::WakeLanes { webhook_id });
        }
    }

    /// A step of that was answered.
    pub(super) fn on_lanes_woken(&mut self, webhook_id: i64, answer: Result<Waking, Failure>) {
        self.breakers.waking.remove(&webhook_id);
        self.claims.look();
        match answer {
            Ok(Waking::More) => self.wake_lanes(webhook_id),
            Ok(Waking::Done | Waking::Nothing) => {}
            // A worker that reads all rows anew goes on with it.
            Err(failure) => debug!(webhook_id, %failure, "lanes could not be made due"),
        }
    }
}
