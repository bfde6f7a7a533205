//! A burst ("run" in the code): consecutive messages of one lane, sent one after another.
//!
//! The next request starts as soon as the last one was accepted, without waiting for the database.
//! A burst stops at the first request that was not accepted, and before any request that may not be
//! started.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::{liveness::Liveness, target::LiveTarget};
use crate::{
    delivery::{self, Client},
    domain::{
        attempt::{AttemptResult, Outcome},
        batch::{Batching, Member},
        lane::LaneKey,
        message::Message,
    },
};

/// What a burst needs.
pub(super) struct Run {
    pub(super) key: LaneKey,
    pub(super) target: Arc<LiveTarget>,
    pub(super) messages: Vec<Message>,
    /// How they are put into requests.
    pub(super) batching: Batching,
    /// Failed attempts of the first request.
    pub(super) failures: u32,
    pub(super) end: Arc<End>,
}

/// Tells a burst to end before all of its messages are sent.
#[derive(Default)]
pub(super) struct End {
    /// No further request may be started.
    stop: AtomicBool,
    /// Yield: others wait for the slot. The burst ends before its next request, but sends at least
    /// one. A request that waits for its webhook's rate limit counts as begun: otherwise its part
    /// of the rate would be lost.
    give_way: AtomicBool,
}

impl End {
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(super) fn give_way(&self) {
        self.give_way.store(true, Ordering::Relaxed);
    }
}

/// What all bursts share.
pub(super) struct Sender {
    pub(super) client: Client,
    pub(super) liveness: Arc<Liveness>,
    pub(super) events: mpsc::UnboundedSender<RunEvent>,
}

/// What a burst reports: one `Report` for each request, then `Ended`.
pub(super) enum RunEvent {
    /// A request ended.
    Report(Report),
    /// The burst is over.
    Ended {
        /// Its lane.
        key: LaneKey,
        /// How many messages it has sent, accepted or not.
        sent: usize,
        /// The messages for which no request was started, in order.
        unsent: Vec<Message>,
        /// If the webhook's rate limit ended the burst: how long the next request must wait.
        not_before: Option<Duration>,
    },
}

/// How one request ended.
pub(super) struct Report {
    pub(super) key: LaneKey,
    /// The messages it carried, in order; never empty.
    pub(super) message_ids: Vec<i64>,
    /// Whether they are replays.
    pub(super) replay: bool,
    /// The number of the attempt; 1 is the first.
    pub(super) attempt: u32,
    pub(super) result: AttemptResult,
    pub(super) attempted_at: Timestamp,
    /// When the messages were published, if they were accepted.
    pub(super) created_at: Vec<Timestamp>,
}

impl Run {
    /// Sends the messages.
    pub(super) async fn send(mut self, sender: Arc<Sender>) {
        let members: Vec<Member> = self.messages.iter().map(Member::from).collect();
        let mut sent = 0;
        let mut not_before = None;
        while sent < self.messages.len() {
            if sent > 0 && self.end.give_way.load(Ordering::Relaxed) {
                break;
            }
            match self.target.reserve_start(Instant::now()) {
                Ok(wait) if wait.is_zero() => {}
                Ok(wait) => tokio::time::sleep(wait).await,
                Err(wait) => {
                    not_before = Some(wait);
                    break;
                }
            }
            if !self.may_start(&sender.liveness) {
                break;
            }
            let end = sent + self.batching.next(&members[sent..]);
            // Only the first request repeats a failed one.
            self.batching.failed = None;
            let messages = &self.messages[sent..end];
            let attempt = if sent == 0 { self.failures + 1 } else { 1 };
            let attempted_at = Timestamp::now();
            let sending = delivery::send(&sender.client, &self.target.prepared, messages, attempt);
            // A panic while one message is sent must cost that message's lane alone. Otherwise it
            // would end the process, again and again.
            let result = AssertUnwindSafe(sending).catch_unwind().await.unwrap_or_else(|_| panicked());
            let accepted = result.outcome == Outcome::Accepted;
            let created_at = if accepted {
                messages.iter().map(|message| message.created_at).collect()
            } else {
                Vec::new()
            };
            let report = Report {
                key: self.key,
                message_ids: members[sent..end].iter().map(|member| member.id).collect(),
                replay: members[sent].replay,
                attempt,
                result,
                attempted_at,
                created_at,
            };
            sent = end;
            // This fails only if the engine has ended. Then this task is about to be aborted.
            let _ = sender.events.send(RunEvent::Report(report));
            if !accepted {
                break;
            }
        }
        let unsent = self.messages.split_off(sent);
        let _ = sender.events.send(RunEvent::Ended { key: self.key, sent, unsent, not_before });
    }

    fn may_start(&self, liveness: &Liveness) -> bool {
        !self.end.stop.load(Ordering::Relaxed)
            && self.target.deliverable()
            && liveness.may_send(Instant::now(), self.target.settings.policy.timeout)
    }
}

/// What is reported of a request that ended in a panic, so by a defect of ours.
fn panicked() -> AttemptResult {
    AttemptResult::no_request("a defect in pgtopic ended the request; its log says which".to_owned())
}
