//! What a request's end means for its lane.

use std::time::{Duration, Instant};

use rand::Rng as _;
use tracing::{debug, info};

use super::{
    super::tuning::{SAVE_POSITION_AFTER, SLOW_FAILURE},
    command::Command,
    event::{AttemptEnded, LogAnswer},
    outages::Loss,
    state::Engine,
};
use crate::{
    domain::{
        attempt::{AttemptResult, ErrorClass, Outcome},
        batch::Batch,
        retry::{AfterFailure, after_failure, asked_hold},
    },
    store::{AttemptRow, DeadDelivery, LaneChange, LaneState, LastError},
};

impl Engine {
    /// A request has ended.
    pub(super) fn on_attempt(&mut self, attempt: &AttemptEnded, now: Instant) {
        self.note_standing(attempt, now);
        self.note_reach(attempt, now);
        self.activity.add(attempt);
        let uses_up = if attempt.probe { self.on_probe_ended(attempt) } else { self.uses_up(attempt.key) };
        match attempt.result.outcome {
            Outcome::Accepted => self.on_accepted(attempt, now),
            Outcome::Failed if !uses_up => self.on_spared(attempt, now),
            Outcome::Failed => self.on_failed(attempt, now),
            Outcome::Gone => self.on_gone(attempt, now),
        }
        self.log(attempt);
    }

    /// Takes in whether the webhook answers in time.
    fn note_standing(&mut self, attempt: &AttemptEnded, now: Instant) {
        let webhook_id = attempt.key.webhook_id;
        let changed = if held_up(&attempt.result) {
            self.slots.timed_out(webhook_id)
        } else {
            self.slots.answered(webhook_id, now)
        };
        if changed {
            self.queue.change_line(webhook_id, self.slots.line(webhook_id));
        }
    }

    fn on_accepted(&mut self, attempt: &AttemptEnded, now: Instant) {
        self.outages.accepted(attempt.key.webhook_id, now);
        let Some(lane) = self.lanes.get_mut(&attempt.key) else { return };
        let claim = (lane.key, lane.token);
        let epoch = lane.epoch;
        for message_id in &attempt.message_ids {
            lane.backlog.left(*message_id);
        }
        self.pending.done(claim, &attempt.message_ids, now);
        if lane.overcame() || lane.backlog.unsaved(SAVE_POSITION_AFTER) {
            // The row must not keep the failures of a message that has left the lane, nor a
            // position far behind.
            self.pending.lane(claim, lane.change(LaneState::Held, None), now);
        }
        let half_over = lane.attempt_ended(attempt.message_ids.len());
        let wants_more = half_over && lane.backlog.more() && !lane.backlog.has_messages();
        self.slots.accepted(attempt.key.webhook_id);
        if !attempt.probe {
            self.count_success(attempt.key, epoch, now);
        }
        if wants_more && !self.turn_is_over(attempt.key, now) {
            self.read_ahead(attempt.key, now);
        }
    }

    fn on_failed(&mut self, attempt: &AttemptEnded, now: Instant) {
        let key = attempt.key;
        let random = self.random.random();
        let Some(endpoint) = self.endpoints.get(&key.webhook_id) else { return };
        if let Some(hold) = asked_hold(&endpoint.policy, &attempt.result) {
            self.on_held(attempt, hold, now);
            return;
        }
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        let claim = (lane.key, lane.token);
        let failures = lane.failed(Batch::of(&attempt.message_ids));
        let error = LastError::of(&attempt.result);
        let (last, several) = (*attempt.message_ids.last().unwrap_or(&0), attempt.message_ids.len() > 1);
        let (change, loss) = match after_failure(&endpoint.policy, failures, &attempt.result, random) {
            AfterFailure::Retry(delay) => (lane.change(LaneState::Waiting(delay), error), Loss::None),
            AfterFailure::Halt | AfterFailure::DeadLetter(_) if several => {
                // One of the messages may be the reason. Each is tried by itself, so that it alone
                // is given up.
                lane.split(last);
                (lane.change(LaneState::Ready, None), Loss::None)
            }
            AfterFailure::Halt => (lane.change(LaneState::Halted, error), Loss::Halted),
            AfterFailure::DeadLetter(reason) => {
                lane.died(last);
                let dead = DeadDelivery {
                    message_id: last,
                    reason,
                    attempts: failures,
                    last: Some(attempt.result.clone()),
                };
                self.pending.dead(claim, dead, now);
                self.activity.dead(key.webhook_id);
                // The lane goes on only when the dead letter is written. Otherwise, after a crash,
                // the message would be sent again after its successor, and a receiver would take it
                // for a duplicate.
                (lane.change(LaneState::Ready, None), Loss::DeadLetter)
            }
        };
        // A message that is refused for good says nothing about the receiver.
        let used_up = loss != Loss::None && failures >= endpoint.policy.max_retries;
        let epoch = (!attempt.probe).then_some(lane.epoch);
        self.pending.lane(claim, LaneChange { epoch, ..change }, now);
        lane.leave();
        let error = attempt.result.error.as_deref().unwrap_or_default();
        debug!(
            webhook_id = key.webhook_id,
            message_id = attempt.message_ids[0],
            messages = attempt.message_ids.len(),
            attempt = attempt.attempt,
            error,
            ?loss,
            "request failed"
        );
        self.outages.failed(key.webhook_id, &endpoint.topic, error, loss, now);
        if !attempt.probe {
            self.count_failure(key, used_up, error, now);
        }
    }

    /// A request has failed that uses up no attempt: a probe, or one that began before the breaker
    /// opened. The lane is as it was.
    fn on_spared(&mut self, attempt: &AttemptEnded, now: Instant) {
        let key = attempt.key;
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        let Some(endpoint) = self.endpoints.get(&key.webhook_id) else { return };
        let change = lane.change(LaneState::Ready, LastError::of(&attempt.result));
        self.pending.lane((lane.key, lane.token), change, now);
        lane.leave();
        let error = attempt.result.error.as_deref().unwrap_or_default();
        self.outages.failed(key.webhook_id, &endpoint.topic, error, Loss::None, now);
    }

    /// The receiver asks for nothing to be sent for a while. The attempt does not count.
    fn on_held(&mut self, attempt: &AttemptEnded, hold: Duration, now: Instant) {
        let webhook_id = attempt.key.webhook_id;
        let Some(lane) = self.lanes.get_mut(&attempt.key) else { return };
        let Some(endpoint) = self.endpoints.get(&webhook_id) else { return };
        let mut change = lane.change(LaneState::Waiting(hold), LastError::of(&attempt.result));
        // The wait belongs to the head, which the burst has taken out.
        if change.failures == 0 {
            change.failed = Batch::of(&attempt.message_ids[..1]);
        }
        self.pending.lane((lane.key, lane.token), change, now);
        lane.leave();
        let error = attempt.result.error.as_deref().unwrap_or_default();
        self.outages.failed(webhook_id, &endpoint.topic, error, Loss::None, now);
        debug!(webhook_id, ?hold, error, "the receiver has asked for a pause");
        self.hold_webhook(webhook_id, hold, now);
    }

    /// The receiver is gone for good: disables the webhook, and keeps its backlog.
    fn on_gone(&mut self, attempt: &AttemptEnded, now: Instant) {
        let webhook_id = attempt.key.webhook_id;
        let Some(lane) = self.lanes.get_mut(&attempt.key) else { return };
        let change = lane.change(LaneState::Ready, LastError::of(&attempt.result));
        self.pending.lane((lane.key, lane.token), change, now);
        lane.leave();
        if self.stop_webhook(webhook_id) {
            info!(webhook_id, "receiver answered 410 Gone: webhook disabled, its backlog is kept");
            self.commands.push(Command::Disable { webhook_id });
        }
    }

    // -- What people read -------------------------------------------------------------------------

    fn log(&mut self, attempt: &AttemptEnded) {
        let batch = Batch::of(&attempt.message_ids);
        for message_id in &attempt.message_ids {
            self.attempt_log.add(AttemptRow {
                webhook_id: attempt.key.webhook_id,
                message_id: *message_id,
                attempt: attempt.attempt,
                batch,
                result: attempt.result.clone(),
                attempted_at: attempt.attempted_at,
                replay: attempt.replay,
                probe: attempt.probe,
            });
        }
    }

    /// Writes the attempt log, if anything waits.
    pub(super) fn log_attempts(&mut self) {
        if let Some((rows, refusals_max)) = self.attempt_log.begin() {
            self.commands.push(Command::LogAttempts { rows, refusals_max });
        }
    }

    pub(super) fn on_attempts_logged(&mut self, answer: &LogAnswer, now: Instant) {
        self.attempt_log.ended(answer, now);
        // A few rows wait for the next settle. Many are written at once: they would fill this
        // worker's memory until then.
        if self.attempt_log.is_long() {
            self.log_attempts();
        }
    }

    /// Writes the activity, if it is time. A worker that stops writes it when nothing is in flight
    /// any more.
    pub(super) fn write_activity(&mut self, now: Instant) {
        let last = self.stopping && self.slots.used() == 0;
        if let Some((seconds, rows)) = self.activity.begin(self.slots.by_webhook(), last, now) {
            self.commands.push(Command::WriteActivity { seconds, rows });
        }
    }

    /// Logs what is due of outages, and tells the audit log.
    pub(super) fn tell_outages(&mut self, now: Instant) {
        let changes = self.outages.tell(now);
        if !changes.is_empty() {
            self.commands.push(Command::RecordOutages(changes));
        }
    }
}

/// Whether a request held its slot for nothing. If a host drops every packet, requests fail slowly:
/// such a request holds its slot for as long as one to a host that hangs.
fn held_up(result: &AttemptResult) -> bool {
    match result.error_class {
        Some(ErrorClass::Timeout) => true,
        Some(ErrorClass::Dns | ErrorClass::Connect | ErrorClass::Tls | ErrorClass::Protocol) => {
            result.duration > SLOW_FAILURE
        }
        _ => false,
    }
}

const _: () =
    assert!(SLOW_FAILURE.as_millis() < Duration::from_secs(10).as_millis(), "below a usual timeout");
