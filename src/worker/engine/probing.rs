//! Probes: single requests to webhooks whose breakers are open.
//!
//! Promises:
//! - A probe begins only if its timeout ends before its turn does. So over all workers there is one
//!   probe of a webhook at a time.
//! - Each turn is given back when its request has ended, or when it is certain that none is made.
//! - A failed probe uses up no attempt, with two exceptions: the receiver answers, and refuses the
//!   message (then it is there, and the breaker closes); and each tenth one if the webhook has no other
//!   lane left.

use std::time::Instant;

use tracing::{debug, info};

use super::{
    super::{
        scheduling::breaker::probe_wait,
        tuning::{
            CLAIM_MESSAGES, LOOK_FOR_PROBES, PROBE_COUNTS_EVERY, PROBE_SLOTS, PROBE_SPARE, PROBE_WAIT,
            READ_MESSAGES,
        },
    },
    command::Command,
    event::AttemptEnded,
    failure::{Failure, Lost},
    lane::Lane,
    probe::Probe,
    reading::read_limits,
    settling::nothing_done,
    state::Engine,
    troubles::Kind,
};
use crate::{
    domain::{
        attempt::{AttemptResult, Outcome},
        breaker::TurnEnd,
        lane::LaneKey,
    },
    store::{ProbeEnd, ProbeTurn, ProbeWant, TakenProbe},
};

impl Engine {
    /// When to look for probes next.
    pub(super) fn probes_due(&self, now: Instant) -> Option<Instant> {
        let probing = &self.breakers.probing;
        let look = probing.due.filter(|_| probing.taking.is_none() && self.may_probe(now));
        look.into_iter().chain(probing.turns.values().map(|(_, begin)| *begin)).min()
    }

    fn may_probe(&self, now: Instant) -> bool {
        self.session.sends
            && !self.stopping
            && !self.breakers.open.is_empty()
            && !self.breakers.reach.is_broken(now)
    }

    /// Whether turns are being taken.
    pub(super) fn is_taking_probes(&self) -> bool {
        self.breakers.probing.taking.is_some()
    }

    /// Takes the turn to probe webhooks, if it is time.
    pub(super) fn look_for_probes(&mut self, now: Instant) {
        self.give_late_turns_back(now);
        if self.breakers.open.is_empty() {
            self.breakers.probing.due = None;
            return;
        }
        let due = *self.breakers.probing.due.get_or_insert(now);
        if now < due || self.breakers.probing.taking.is_some() || !self.may_probe(now) {
            return;
        }
        self.breakers.probing.due = Some(now + LOOK_FOR_PROBES);
        let most = (self.slots.capacity() / PROBE_SLOTS).max(1);
        let at_most = most.saturating_sub(self.breakers.probing.turns.len());
        if at_most == 0 {
            return;
        }
        let batches = self.breakers.open.iter().filter_map(|id| self.endpoints.get(id));
        let batch = batches.map(|endpoint| endpoint.batch_size).max().unwrap_or_default();
        let limits = read_limits(batch.clamp(CLAIM_MESSAGES, READ_MESSAGES), self.memory().answer());
        let want = ProbeWant { at_most, default_timeout: self.settings.default_timeout, spare: PROBE_SPARE };
        let token = self.claims.next_token();
        self.breakers.probing.taking = Some(now);
        self.commands.push(Command::TakeProbes { token, want, limits });
    }

    /// Turns were taken.
    pub(super) fn on_probes_taken(
        &mut self,
        answer: Result<Vec<TakenProbe>, Failure>,
        now: Instant,
    ) -> Result<(), Lost> {
        let Some(asked) = self.breakers.probing.taking.take() else { return Ok(()) };
        let taken = match answer {
            Ok(taken) => taken,
            Err(failure) => {
                // It may have claimed lanes, as any other claim.
                let failure = nothing_done(failure)?;
                let wait = self.troubles.failed(Kind::TakeProbes, &failure, now);
                self.breakers.probing.due = Some(now + wait);
                return Ok(());
            }
        };
        self.troubles.succeeded(Kind::TakeProbes);
        for TakenProbe { lane, epoch, failed, open_for, only_lane, turn } in taken {
            let webhook_id = lane.key.webhook_id;
            let until = asked + turn;
            let turn = ProbeTurn { webhook_id, token: lane.token, epoch };
            let timeout = self.endpoints.get(&webhook_id).map(|endpoint| endpoint.policy.timeout);
            let begin = timeout.and_then(|timeout| until.checked_sub(timeout)).unwrap_or(now);
            self.breakers.probing.turns.insert(webhook_id, (lane.key, begin));
            if self.endpoints.contains_key(&webhook_id) {
                // This worker may not have read yet that the breaker is open.
                let switch = self.breakers.of(webhook_id).listed(epoch, true);
                self.switch(webhook_id, switch, now);
            }
            let mut lane = Lane::claimed(lane, now);
            lane.probe = Some(Probe { turn, failed, open_for, only_lane, until });
            self.take_in(lane, now);
        }
        Ok(())
    }

    /// Turns whose lanes have waited too long for a slot are given back.
    fn give_late_turns_back(&mut self, now: Instant) {
        let over = self.breakers.probing.turns.values().filter(|(_, begin)| now >= *begin);
        let over: Vec<LaneKey> = over.map(|(key, _)| *key).collect();
        for key in over {
            match self.lanes.get(&key) {
                // The end of its request ends the turn.
                Some(lane) if lane.in_burst() => {
                    if let Some((_, begin)) = self.breakers.probing.turns.get_mut(&key.webhook_id) {
                        *begin = now + PROBE_SPARE;
                    }
                }
                Some(lane) if lane.probe.is_some() => self.drop_probe(key),
                _ => drop(self.breakers.probing.turns.remove(&key.webhook_id)),
            }
            if self.lanes.get(&key).is_some_and(|lane| lane.is_waiting() || lane.is_queued()) {
                self.advance(key, now);
            }
        }
    }

    /// No request is made for this turn.
    pub(super) fn drop_probe(&mut self, key: LaneKey) {
        let probe = self.lanes.get_mut(&key).and_then(|lane| lane.probe.take());
        self.give_turn_back(probe);
    }

    /// The same for a lane that is not held any more, if it has probed.
    pub(super) fn give_turn_back(&mut self, probe: Option<Probe>) {
        let Some(probe) = probe else { return };
        let end = ProbeEnd::StayOpen { failed: false, next_in: PROBE_WAIT[0], disable: None };
        self.end_turn(probe.turn, end);
    }

    fn end_turn(&mut self, turn: ProbeTurn, end: ProbeEnd) {
        self.breakers.probing.turns.remove(&turn.webhook_id);
        self.commands.push(Command::EndProbe { turn, end });
    }

    /// A probe's request has ended. Says whether it uses up an attempt if it has failed.
    pub(super) fn on_probe_ended(&mut self, attempt: &AttemptEnded) -> bool {
        let Some(lane) = self.lanes.get_mut(&attempt.key) else { return false };
        let Some(probe) = lane.probe.take() else { return false };
        let Probe { turn, failed, open_for, only_lane, .. } = probe;
        let mut uses_up = false;
        let end = if attempt.result.outcome == Outcome::Accepted {
            ProbeEnd::Close("a probe was accepted".to_owned())
        } else if let Some(status) = refused_message(&attempt.result) {
            uses_up = true;
            ProbeEnd::Close(format!("a probe was answered with {status}"))
        } else {
            uses_up = only_lane && (failed + 1).is_multiple_of(PROBE_COUNTS_EVERY);
            let after = self.settings.disable_after.filter(|after| open_for >= *after);
            let disable = after.map(|after| {
                format!("its receiver has not answered for {} days", after.as_secs() / (24 * 3600))
            });
            ProbeEnd::StayOpen { failed: true, next_in: probe_wait(failed, open_for), disable }
        };
        self.end_turn(turn, end);
        uses_up
    }

    /// A turn was given back.
    pub(super) fn on_probe_turn_ended(
        &mut self,
        webhook_id: i64,
        answer: Result<TurnEnd, Failure>,
        now: Instant,
    ) {
        match answer {
            Ok(TurnEnd::Closed(epoch)) => {
                if self.endpoints.contains_key(&webhook_id) {
                    info!(webhook_id, "breaker closed: the receiver answers again");
                    let switch = self.breakers.of(webhook_id).listed(epoch, false);
                    self.switch(webhook_id, switch, now);
                    self.wake_lanes(webhook_id);
                }
            }
            Ok(TurnEnd::Disabled) => {
                info!(
                    webhook_id,
                    "its receiver has not answered for days: webhook disabled, its backlog is kept"
                );
            }
            Ok(TurnEnd::Ended | TurnEnd::Lost) => {}
            // The turn ends by itself.
            Err(failure) => debug!(webhook_id, %failure, "the end of a probe could not be written"),
        }
    }
}

/// The status, if the receiver is there and refuses the message.
fn refused_message(result: &AttemptResult) -> Option<u16> {
    let status = result.status_code.filter(|_| result.outcome == Outcome::Failed)?;
    ((400..500).contains(&status) && ![408, 425, 429].contains(&status)).then_some(status)
}
