//! Requests of one lane, one after another, as the real driver's `send_burst`; and the receivers.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use pgtopic::{
    domain::{
        attempt::{AttemptResult, ErrorClass, Outcome},
        batch::Member,
        message::Message,
    },
    worker::{
        engine::{
            command::Burst,
            event::{AttemptEnded, BurstEnd, BurstEnded, Event},
        },
        session::liveness::Liveness,
    },
};

use super::{
    Handle, World,
    clock::{duration, micros, timestamp},
    driver::Incoming,
    knowledge::{Basis, Knowledge},
    mailbox::{Mailbox, answer},
    plan::Manner,
    requests::{Ended, Start},
};
use crate::schedule::SECOND;

/// Tells a burst to end.
#[derive(Default)]
pub(super) struct BurstFlags {
    pub(super) stop: Cell<bool>,
    pub(super) yield_requested: Cell<bool>,
}

/// What a burst needs of its webhook.
pub(super) struct LiveEndpoint {
    pub(super) timeout: Duration,
    pub(super) stopped: Rc<Cell<bool>>,
}

/// What a burst works with.
pub(super) struct Sending {
    pub(super) world: Handle,
    pub(super) process: usize,
    pub(super) worker: u32,
    pub(super) basis: Basis,
    pub(super) knowledge: Rc<RefCell<Knowledge>>,
    pub(super) liveness: Rc<Liveness>,
    pub(super) mailbox: Mailbox<Incoming>,
    pub(super) endpoint: Rc<LiveEndpoint>,
    pub(super) flags: Rc<BurstFlags>,
}

impl Sending {
    pub(super) async fn burst(self, burst: Burst) {
        let Burst { key, mut messages, mut batching, failures, probe_until } = burst;
        let members: Vec<Member> = messages.iter().map(Member::from).collect();
        let (mut sent, mut requests, mut why) = (0, 0, BurstEnd::Over);
        while sent < messages.len() {
            if self.flags.stop.get()
                || self.endpoint.stopped.get()
                || sent > 0 && self.flags.yield_requested.get()
            {
                break;
            }
            // As if the webhook had a rate limit that is used up now and then.
            let limited = self.world.plan.pace.limited;
            if limited > 0 && self.world.once_in(limited) {
                why = BurstEnd::RateLimited(Duration::from_millis(1_200));
                break;
            }
            let end = sent + batching.next(&members[sent..]);
            batching.failed = None;
            let attempt = if sent == 0 { failures + 1 } else { 1 };
            let attempted_at = timestamp(self.world.now());
            let lane = (key.webhook_id, key.lane);
            let Some(result) = self.send(lane, &messages[sent..end], attempt, probe_until).await else {
                if !self.flags.stop.get() && !self.endpoint.stopped.get() {
                    why = BurstEnd::MayNotSend;
                }
                break;
            };
            let accepted = result.outcome == Outcome::Accepted;
            let created_at = messages[sent..end].iter().map(|message| message.created_at);
            let ended = AttemptEnded {
                key,
                message_ids: members[sent..end].iter().map(|member| member.id).collect(),
                replay: members[sent].replay,
                probe: probe_until.is_some(),
                attempt,
                result,
                attempted_at,
                created_at: if accepted { created_at.collect() } else { Vec::new() },
            };
            sent = end;
            requests += 1;
            self.mailbox.push(Incoming::Event(Event::Attempt(ended)));
            // The channel gives way.
            self.world.schedule.pass().await;
            if !accepted || probe_until.is_some() {
                break;
            }
        }
        let unsent = messages.split_off(sent);
        let ended = BurstEnded { key, sent, requests, unsent, why };
        self.mailbox.push(Incoming::Event(Event::BurstEnded(ended)));
    }

    async fn send(
        &self,
        lane: (i64, i64),
        messages: &[Message],
        attempt: u32,
        probe_until: Option<Instant>,
    ) -> Option<AttemptResult> {
        let world = &self.world;
        let begun = world.now();
        let timeout = micros(self.endpoint.timeout);
        if !self.may_start(timeout, probe_until) {
            return None;
        }
        // A new connection, now and then.
        if world.once_in(4) {
            world.schedule.sleep(world.part_of(5_000)).await;
        }
        if !self.may_start(timeout - (world.now() - begun), probe_until) {
            return None;
        }
        let ids: Vec<i64> = messages.iter().map(|message| message.id).collect();
        let until = begun + timeout;
        let replay = messages[0].replay;
        if messages.iter().any(|message| message.replay != replay) {
            world.fail(format!("request: replays and live messages in one request: {ids:?}"));
        }
        let (process, worker, basis) = (self.process, self.worker, self.basis);
        let probe = probe_until.is_some();
        let start = Start { process, worker, lane, messages: &ids, replay, probe, attempt, until, basis };
        let request = world.started(&start, &self.knowledge.borrow());
        let (answerer, answer) = answer();
        let (network, arriving) = (world.clone(), ids.clone());
        world.schedule.spawn(async move {
            answerer.give(network.receive(process, lane, arriving).await);
        });
        let answered = answer.until(&world.schedule, until).await;
        let result = result(answered.flatten(), world.now() - begun);
        let ended = match result.outcome {
            Outcome::Accepted => Ended::Accepted,
            Outcome::Failed if result.retry_after.is_some() => Ended::Held,
            Outcome::Failed => Ended::Failed,
            Outcome::Gone => Ended::Gone,
        };
        world.request_ended(request, &start, ended);
        if ended == Ended::Accepted {
            self.knowledge.borrow_mut().accepted(lane, &ids);
        }
        Some(result)
    }

    fn may_start(&self, left: i64, probe_until: Option<Instant>) -> bool {
        probe_until.is_none_or(|until| self.world.clock.now() + duration(left) <= until)
            && !self.flags.stop.get()
            && !self.endpoint.stopped.get()
            && self.liveness.may_send(self.world.clock.now(), duration(left))
    }
}

impl World {
    /// A receiver gets a request of a worker. Its status; nothing if the connection broke.
    async fn receive(self: Handle, process: usize, lane: (i64, i64), messages: Vec<i64>) -> Option<u16> {
        self.schedule.sleep(self.part_of(400)).await;
        let manner =
            self.hooks.borrow().get(&lane.0).map_or(Manner::Accepts, |hook| hook.manner_for(process));
        let half = self.once_in(2);
        match manner {
            Manner::Slow => self.schedule.sleep(self.part_of(2 * SECOND)).await,
            Manner::Hangs => self.schedule.sleep(60 * SECOND).await,
            _ if self.ending.get() => {}
            _ => self.schedule.sleep(self.part_of(self.plan.pace.request)).await,
        }
        let status = match manner {
            Manner::Fails => Some(503),
            Manner::Refuses => Some(REFUSED),
            Manner::Flaky if half => Some(500),
            Manner::Busy if half => Some(429),
            Manner::Gone => Some(410),
            Manner::Cuts if half => None,
            _ => Some(200),
        };
        if matches!(status, Some(200) | None) {
            self.arrived(lane, &messages);
        }
        self.schedule.sleep(self.part_of(400)).await;
        status
    }
}

/// Stands for no connection.
const REFUSED: u16 = 0;

fn result(status: Option<u16>, took: i64) -> AttemptResult {
    let (outcome, class) = match status {
        Some(REFUSED) => (Outcome::Failed, Some(ErrorClass::Connect)),
        Some(200) => (Outcome::Accepted, None),
        Some(410) => (Outcome::Gone, Some(ErrorClass::Status)),
        Some(_) => (Outcome::Failed, Some(ErrorClass::Status)),
        None if took >= SECOND => (Outcome::Failed, Some(ErrorClass::Timeout)),
        None => (Outcome::Failed, Some(ErrorClass::Protocol)),
    };
    AttemptResult {
        outcome,
        status_code: status.filter(|status| *status != REFUSED),
        error_class: class,
        error: class.map(|class| class.as_str().to_owned()),
        duration: duration(took),
        response_excerpt: None,
        retry_after: (status == Some(429)).then_some(Duration::from_secs(2)),
    }
}
