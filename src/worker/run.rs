//! A run: some consecutive messages of one lane, sent one after another.
//!
//! The next request starts as soon as the last one was accepted, without waiting for the database. A run stops at the
//! first request that was not accepted, and before any that may not be started.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::{liveness::Liveness, target::LiveTarget};
use crate::{
    delivery::{self, Client},
    domain::{
        attempt::{AttemptResult, Outcome},
        lane::LaneKey,
        message::Message,
    },
};

/// What a run needs.
pub(super) struct Run {
    pub(super) key: LaneKey,
    pub(super) target: Arc<LiveTarget>,
    pub(super) messages: Vec<Message>,
    /// Failed attempts of the first message.
    pub(super) failures: u32,
    /// Set when the run is to stop before its next request.
    pub(super) stop: Arc<AtomicBool>,
}

/// What all runs share.
pub(super) struct Sender {
    pub(super) client: Client,
    pub(super) liveness: Arc<Liveness>,
    pub(super) events: mpsc::UnboundedSender<RunEvent>,
}

/// What a run tells, in this order: a report for each request, then its end.
pub(super) enum RunEvent {
    /// A request ended.
    Report(Report),
    /// The run is over.
    Ended {
        /// Its lane.
        key: LaneKey,
        /// The messages for which no request was started, in order.
        unsent: Vec<Message>,
    },
}

/// How one request ended.
pub(super) struct Report {
    pub(super) key: LaneKey,
    /// The messages it carried, in order; never empty.
    pub(super) message_ids: Vec<i64>,
    /// 1 is the first.
    pub(super) attempt: u32,
    pub(super) result: AttemptResult,
    pub(super) attempted_at: Timestamp,
}

impl Run {
    /// Sends the messages.
    pub(super) async fn send(mut self, sender: Arc<Sender>) {
        let batch = self.target.settings.batch_size;
        let mut sent = 0;
        while sent < self.messages.len() {
            let start = self.target.reserve_start(Instant::now());
            if start > Instant::now() {
                tokio::time::sleep_until(start.into()).await;
            }
            if !self.may_start(&sender.liveness) {
                break;
            }
            let end = (sent + batch).min(self.messages.len());
            let messages = &self.messages[sent..end];
            let attempt = if sent == 0 { self.failures + 1 } else { 1 };
            let attempted_at = Timestamp::now();
            let result =
                delivery::send(&sender.client, &self.target.prepared, messages, attempt, false).await;
            let accepted = result.outcome == Outcome::Accepted;
            let report = Report {
                key: self.key,
                message_ids: messages.iter().map(|message| message.id).collect(),
                attempt,
                result,
                attempted_at,
            };
            sent = end;
            // The engine is gone only when this task is about to be aborted.
            let _ = sender.events.send(RunEvent::Report(report));
            if !accepted {
                break;
            }
        }
        let unsent = self.messages.split_off(sent);
        let _ = sender.events.send(RunEvent::Ended { key: self.key, unsent });
    }

    fn may_start(&self, liveness: &Liveness) -> bool {
        !self.stop.load(Ordering::Relaxed)
            && self.target.deliverable()
            && liveness.may_send(Instant::now(), self.target.settings.policy.timeout)
    }
}
