//! A burst: consecutive messages of one lane, sent one after another.
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
    time::Instant,
};

use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::{
    super::{
        engine::{
            command::Burst,
            event::{AttemptEnded, BurstEnd, BurstEnded, Event},
        },
        session::liveness::Liveness,
    },
    endpoints::LiveEndpoint,
};
use crate::{
    delivery::{self, Client},
    domain::{
        attempt::{AttemptResult, Outcome},
        batch::Member,
        message::Message,
    },
    telemetry::{
        metrics::Metrics,
        traces::{DeliverySpan, Outgoing, Traces},
    },
};

/// Tells a burst to end before all of its messages are sent.
#[derive(Default)]
pub(super) struct BurstFlags {
    /// No further request may be started.
    stop: AtomicBool,
    /// Others wait for the slot. The burst ends before its next request, but sends at least one. A
    /// request that waits for its webhook's rate limit counts as begun: otherwise its part of the
    /// rate would be lost.
    yield_requested: AtomicBool,
}

impl BurstFlags {
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(super) fn request_yield(&self) {
        self.yield_requested.store(true, Ordering::Relaxed);
    }
}

/// What all bursts share.
pub(super) struct Sender {
    pub(super) client: Client,
    pub(super) liveness: Arc<Liveness>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) metrics: Metrics,
    pub(super) traces: Traces,
}

/// Sends the messages of a burst. Reports each request, and then the end.
pub(super) async fn send_burst(
    sender: Arc<Sender>,
    burst: Burst,
    endpoint: Arc<LiveEndpoint>,
    flags: Arc<BurstFlags>,
) {
    let Burst { key, mut messages, mut batching, failures, probe_until } = burst;
    let members: Vec<Member> = messages.iter().map(Member::from).collect();
    let (mut sent, mut requests) = (0, 0);
    let mut why = BurstEnd::Over;
    while sent < messages.len() {
        if flags.stop.load(Ordering::Relaxed)
            || endpoint.is_stopped()
            || (sent > 0 && flags.yield_requested.load(Ordering::Relaxed))
        {
            break;
        }
        // The engine gives it up.
        if messages[sent].is_expired(endpoint.max_age, Instant::now()) {
            break;
        }
        match endpoint.reserve_start(Instant::now()) {
            Ok(wait) if wait.is_zero() => {}
            Ok(wait) => tokio::time::sleep(wait).await,
            Err(wait) => {
                why = BurstEnd::RateLimited(wait);
                break;
            }
        }
        let end = sent + batching.next(&members[sent..]);
        // Only the first request repeats a failed one.
        batching.failed = None;
        let attempt = if sent == 0 { failures + 1 } else { 1 };
        let attempted_at = Timestamp::now();
        let sending = send(&sender, &endpoint, &flags, &messages[sent..end], attempt, probe_until);
        let Some(result) = sending.await else {
            if !flags.stop.load(Ordering::Relaxed) && !endpoint.is_stopped() {
                why = BurstEnd::MayNotSend;
            }
            break;
        };
        let accepted = result.outcome == Outcome::Accepted;
        let created_at: Vec<Timestamp> = if accepted {
            messages[sent..end].iter().map(|message| message.created_at).collect()
        } else {
            Vec::new()
        };
        sender.metrics.request_ended(&endpoint.series, &result, attempted_at, &created_at);
        let ended = AttemptEnded {
            key,
            message_ids: members[sent..end].iter().map(|member| member.id).collect(),
            replay: members[sent].replay,
            probe: probe_until.is_some(),
            attempt,
            result,
            attempted_at,
            created_at,
        };
        sent = end;
        requests += 1;
        // This fails only if the driver has ended. Then this task is about to be aborted.
        let _ = sender.events.send(Event::Attempt(ended)).await;
        if !accepted || probe_until.is_some() {
            break;
        }
    }
    let unsent = messages.split_off(sent);
    let _ = sender.events.send(Event::BurstEnded(BurstEnded { key, sent, requests, unsent, why })).await;
}

/// Makes one request. `None`: it was not started, since it may not be. That is looked at again when
/// there is a connection: to connect may take seconds. Right before the first byte leaves, the
/// worker's session is checked once more: the process may have stood still.
async fn send(
    sender: &Sender,
    endpoint: &LiveEndpoint,
    flags: &BurstFlags,
    messages: &[Message],
    attempt: u32,
    probe_until: Option<Instant>,
) -> Option<AttemptResult> {
    let begun = Instant::now();
    let may_start = || {
        let now = Instant::now();
        let left = endpoint.timeout.saturating_sub(now.duration_since(begun));
        // The turn of a probe must outlast its request.
        let in_turn = probe_until.is_none_or(|until| now + left <= until);
        let stopped = flags.stop.load(Ordering::Relaxed) || endpoint.is_stopped();
        let may_send = !stopped && in_turn && sender.liveness.may_send(now, left);
        // The lease and the turn are judged to the request's end. It may begin a little later.
        may_send.then(|| sender.liveness.alive_until())
    };
    may_start()?;
    let (topic, webhook) = endpoint.series.names();
    let outgoing = Outgoing { topic, webhook, messages, attempt, server: endpoint.prepared.server() };
    let span = sender.traces.deliver(&outgoing);
    let traceparent = span.as_ref().map(DeliverySpan::traceparent);
    let traceparent = traceparent.as_deref();
    let sending =
        delivery::send(&sender.client, &endpoint.prepared, messages, attempt, traceparent, &may_start);
    // A panic while one message is sent must cost that message's lane alone. Otherwise it would end
    // the process, again and again.
    let result = AssertUnwindSafe(sending).catch_unwind().await.unwrap_or_else(|_| Some(panicked()));
    if let Some(span) = span {
        span.ended(result.as_ref());
    }
    result
}

/// What is reported of a request that ended in a panic, so by a defect of ours.
fn panicked() -> AttemptResult {
    AttemptResult::no_request("a defect in pgtopic ended the request; its log says which".to_owned())
}
