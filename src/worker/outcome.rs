//! What a request's outcome means for its lane.

use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::{
    engine::Engine,
    lane::Phase,
    operation::Done,
    outage::Loss,
    run::{Report, RunEvent},
    target::Unusable,
};
use crate::{
    domain::{
        attempt::{ErrorClass, Outcome},
        batch::Batch,
        dead_letter::Reason,
        lane::LaneKey,
        message::Message,
        retry::{AfterFailure, after_failure},
    },
    store::{AttemptRow, DeadDelivery, LaneState, LastError},
};

/// A request that failed to connect and took longer than this counts like a timeout: it held its
/// slot for nothing.
const SLOW_FAILURE: Duration = Duration::from_secs(1);

/// How long a lane waits if this worker may not start its next request.
const HELD_BACK: Duration = Duration::from_millis(500);

/// Write a busy lane's position after this many messages.
const SAVE_POSITION_AFTER: usize = 1000;

impl Engine {
    pub(super) fn on_run_event(&mut self, event: RunEvent) {
        match event {
            RunEvent::Report(report) => self.on_report(&report),
            RunEvent::Ended { key, sent, unsent, not_before } => {
                self.on_run_ended(key, sent, unsent, not_before);
            }
        }
    }

    fn on_report(&mut self, report: &Report) {
        let key = report.key;
        // If a host drops every packet, requests fail slowly. Such a request holds its slot for as
        // long as one to a host that hangs.
        let held_up = match report.result.error_class {
            Some(ErrorClass::Timeout) => true,
            Some(ErrorClass::Dns | ErrorClass::Connect | ErrorClass::Tls | ErrorClass::Protocol) => {
                report.result.duration > SLOW_FAILURE
            }
            _ => false,
        };
        if held_up {
            self.slots.timed_out(key.webhook_id);
        } else {
            self.slots.answered(key.webhook_id);
        }
        self.activity.add(report);
        match report.result.outcome {
            Outcome::Accepted => {
                self.outages.accepted(key.webhook_id, Instant::now());
                self.on_accepted(report);
            }
            Outcome::Failed => self.on_failed(report),
            Outcome::Gone => self.on_gone(report),
        }
        let batch = Batch::of(&report.message_ids);
        for message_id in &report.message_ids {
            self.log.add(AttemptRow {
                webhook_id: key.webhook_id,
                message_id: *message_id,
                attempt: report.attempt,
                batch,
                result: report.result.clone(),
                attempted_at: report.attempted_at,
                replay: report.replay,
            });
        }
    }

    fn on_accepted(&mut self, report: &Report) {
        let Some(lane) = self.lanes.get_mut(&report.key) else { return };
        let (key, token) = (lane.key, lane.token);
        for message_id in &report.message_ids {
            lane.left(*message_id);
        }
        self.gathered.done((key, token), &report.message_ids);
        if lane.overcame() || lane.unsaved(SAVE_POSITION_AFTER) {
            // The row must not keep the failures of a message that has left the lane, nor a
            // position far behind.
            let change = lane.change(LaneState::Held, None);
            self.gathered.lane((key, token), change);
        }
        let wants_more = lane.reported(report.message_ids.len()) && lane.more && !lane.has_messages();
        if wants_more && !self.turn_is_over(report.key) {
            self.read_ahead(report.key);
        }
    }

    fn on_failed(&mut self, report: &Report) {
        let Some(lane) = self.lanes.get_mut(&report.key) else { return };
        let Some(target) = self.targets.get(&report.key.webhook_id) else { return };
        let claim = (lane.key, lane.token);
        let failures = lane.failed(Batch::of(&report.message_ids));
        let error = LastError::of(&report.result);
        let (last, several) = (*report.message_ids.last().unwrap_or(&0), report.message_ids.len() > 1);
        let policy = &target.settings.policy;
        let loss = match after_failure(policy, failures, report.result.retry_after, rand::random()) {
            AfterFailure::Retry(delay) => {
                let change = lane.change(LaneState::Waiting(delay), error);
                self.gathered.lane(claim, change);
                Loss::None
            }
            AfterFailure::Halt | AfterFailure::DeadLetter if several => {
                // One of the messages may be the reason. Each is tried by itself, so that it alone
                // is given up.
                lane.split(last);
                let change = lane.change(LaneState::Ready, None);
                self.gathered.lane(claim, change);
                Loss::None
            }
            AfterFailure::Halt => {
                let change = lane.change(LaneState::Halted, error);
                self.gathered.lane(claim, change);
                Loss::Halted
            }
            AfterFailure::DeadLetter => {
                lane.left(last);
                let dead = DeadDelivery {
                    message_id: last,
                    reason: Reason::AttemptsExhausted,
                    attempts: failures,
                    last: Some(report.result.clone()),
                };
                self.gathered.dead(claim, dead);
                self.activity.dead(report.key.webhook_id);
                lane.failures = 0;
                // The lane goes on only when the dead letter is written. Otherwise, after a crash,
                // the message would be sent again after its successor, and a receiver would take it
                // for a duplicate.
                let change = lane.change(LaneState::Ready, None);
                self.gathered.lane(claim, change);
                Loss::DeadLetter
            }
        };
        lane.phase = Phase::Released;
        debug!(
            webhook_id = report.key.webhook_id,
            message_id = report.message_ids[0],
            messages = report.message_ids.len(),
            attempt = report.attempt,
            error = report.result.error.as_deref(),
            ?loss,
            "request failed"
        );
        let error = report.result.error.as_deref().unwrap_or_default();
        self.outages.failed(report.key.webhook_id, &target.settings.topic, error, loss, Instant::now());
    }

    /// The receiver is gone for good: disables the webhook, and keeps its backlog.
    fn on_gone(&mut self, report: &Report) {
        let webhook_id = report.key.webhook_id;
        let Some(lane) = self.lanes.get_mut(&report.key) else { return };
        let change = lane.change(LaneState::Ready, LastError::of(&report.result));
        self.gathered.lane((lane.key, lane.token), change);
        lane.phase = Phase::Released;
        if let Some(target) = self.targets.get(&webhook_id)
            && target.deliverable()
        {
            info!(webhook_id, "receiver answered 410 Gone: webhook disabled, its backlog is kept");
            target.stop();
            let (store, worker) = (self.store.clone(), self.worker);
            self.operations.spawn(async move {
                let reason = "the receiver answered 410 Gone";
                Done::Disabled(webhook_id, store.disable_webhook(webhook_id, reason, worker).await)
            });
        }
    }

    /// No request can be made for the webhook: disables it, and keeps its backlog. Only the worker
    /// that has disabled it logs that.
    pub(super) fn disable_unusable(&mut self, unusable: Unusable) {
        let (store, worker) = (self.store.clone(), self.worker);
        self.operations.spawn(async move {
            let Unusable { webhook_id, version, reason } = unusable;
            let disabled = store.disable_unusable_webhook(webhook_id, &version, &reason, worker).await;
            if let Ok(true) = disabled {
                warn!(
                    webhook_id,
                    reason, "no request can be made for the webhook: disabled, its backlog is kept"
                );
            }
            Done::Disabled(webhook_id, disabled.map(drop))
        });
    }

    fn on_run_ended(
        &mut self,
        key: LaneKey,
        sent: usize,
        unsent: Vec<Message>,
        not_before: Option<Duration>,
    ) {
        self.slots.give_back(key.webhook_id);
        let timeout = self.timeout(key);
        let early = !unsent.is_empty();
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        self.claims.ran(key.webhook_id, sent, lane.run_began.elapsed());
        if matches!(lane.phase, Phase::Released) {
            self.lanes.remove(&key);
            if let Some(successor) = self.successors.remove(&key) {
                self.take_in(successor);
            }
            return;
        }
        // If this worker may not send, the lane's next burst would end at once, and so on without
        // end. The worker is about to stop or to start over, or its lease does not cover a timeout
        // that was just raised. So the lane waits in the database.
        let held_back = early && !self.sender.liveness.may_send(Instant::now(), timeout);
        lane.put_back(unsent);
        lane.phase = Phase::Idle;
        if held_back || not_before.is_some() {
            let wait = not_before.unwrap_or(HELD_BACK);
            self.release(key, LaneState::Waiting(wait));
        } else if self.gives_way(key, early) {
            self.release(key, LaneState::Ready);
        } else {
            self.advance(key);
        }
    }

    fn timeout(&self, key: LaneKey) -> Duration {
        self.targets.get(&key.webhook_id).map(|target| target.settings.policy.timeout).unwrap_or_default()
    }
}
