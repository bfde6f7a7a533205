//! The judgement: which one state and reason the facts give, and what helps.

use jiff::Timestamp;

use super::{Entry, LaneFacts, Reason, Remedy, Situation, State, Subscription, Verdict, text};
use crate::domain::{
    lane::LaneName,
    policy::{MAX_IN_FLIGHT, RATE_LIMIT_PER_SECOND},
    webhook::WebhookState,
};

/// How many slots a webhook may use for each slot of a worker that is free.
const SHARE: i64 = 4;

/// Judges where a message stands with a webhook. Every combination of facts gives one answer.
pub fn judge(situation: &Situation, it: &Subscription) -> Entry {
    let (verdict, of_head) = verdict(situation, it);
    let due_in = it.lane.as_ref().filter(|_| of_head.is_some_and(has_date)).and_then(|lane| {
        let due_at = lane.due_at.max(it.webhook.hold_until)?;
        Some((due_at, seconds_until(situation.senders.now, due_at)))
    });
    let is_behind = verdict == Verdict::For(Reason::Behind);
    let failed = it.lane.as_ref().filter(|lane| it.owed && lane.failed(it.message.id));
    let dead = it.dead_letter.as_ref().filter(|_| !it.owed);
    let attempts = match (dead, failed) {
        (Some(dead), _) => i64::from(dead.attempts),
        (None, Some(lane)) => i64::from(lane.failures).max(it.log.attempts),
        (None, None) => it.log.attempts,
    };
    Entry {
        webhook_id: it.webhook.id,
        webhook: it.webhook.name.clone(),
        text: text::describe(situation, it, verdict, of_head),
        blocked_by: it.lane.as_ref().filter(|_| is_behind).and_then(|lane| lane.head),
        since: since(situation, it, verdict),
        next_attempt_at: due_in.filter(|_| !is_behind).map(|(due_at, _)| due_at),
        estimate_seconds: due_in.map(|(_, seconds)| seconds),
        worker: it.lane.as_ref().filter(|_| it.owed).and_then(|lane| lane.claimed_by),
        attempts,
        last_status_code: it
            .log
            .last_status_code
            .or(failed.and_then(|lane| lane.last_status_code))
            .or(dead.and_then(|dead| dead.status_code)),
        last_error: it
            .log
            .last_error
            .clone()
            .or_else(|| failed.and_then(|lane| lane.last_error.clone()))
            .or_else(|| dead.and_then(|dead| dead.last_error.clone())),
        remedy: remedy(situation, it, verdict, of_head),
        verdict,
    }
}

/// The verdict. For a message that waits in a lane, also the reason of the lane's head.
fn verdict(situation: &Situation, it: &Subscription) -> (Verdict, Option<Reason>) {
    if it.owed {
        let (reason, of_head) = owed(situation, it);
        return (Verdict::For(reason), of_head);
    }
    let accepted = it.log.accepted;
    let verdict = match &it.dead_letter {
        Some(dead) if accepted.is_some_and(|(_, ended)| ended > dead.at) => {
            Verdict::For(Reason::AcceptedLate)
        }
        Some(dead) => dead.reason.into(),
        None if accepted.is_some() => Verdict::For(Reason::Accepted),
        None => Verdict::For(never_seen(it)),
    };
    (verdict, None)
}

/// Why a message is not owed of which no delivery is known.
fn never_seen(it: &Subscription) -> Reason {
    let webhook = &it.webhook;
    let passes = webhook.types_match && webhook.filter_matches;
    if it.message.created_at.is_some_and(|published| published < webhook.created_at) {
        let is_filled = webhook.state == WebhookState::Starting && webhook.backfill.is_some();
        return if is_filled && passes { Reason::Starting } else { Reason::YoungerWebhook };
    }
    match (webhook.types_match, webhook.filter_matches) {
        (false, _) => Reason::Types,
        (true, false) => Reason::Filter,
        (true, true) => Reason::LogExpired,
    }
}

/// Why a message that is owed is not accepted yet, and the reason of its lane's head.
fn owed(situation: &Situation, it: &Subscription) -> (Reason, Option<Reason>) {
    let lane = it.lane.as_ref();
    let holder = lane.and_then(|lane| lane.claimed_by);
    let is_held = holder.is_some_and(|id| situation.live_workers().any(|worker| worker.id == id));
    let is_first = lane.is_some_and(|lane| lane.head == Some(it.message.id) || lane.failed(it.message.id));
    if is_held {
        // A replay sends it once more: only what was accepted since then counts.
        let accepted = it.log.accepted.filter(|(began, _)| it.replayed_at.is_none_or(|at| *began > at));
        if accepted.is_some() {
            return (Reason::OutcomeUnclear, None);
        }
        if is_first {
            return (Reason::Request, None);
        }
    }
    if let Some(reason) = stopped(situation, it) {
        return (reason, None);
    }
    let Some(lane) = lane else { return (Reason::NoLane, None) };
    let of_head = of_head(situation, it, lane, is_held);
    match of_head {
        // What concerns the lane as a whole is no matter of its head.
        Reason::NoWorker | Reason::Takeover => (of_head, None),
        _ if is_first => (of_head, Some(of_head)),
        _ => (Reason::Behind, Some(of_head)),
    }
}

/// What stops all lanes of a webhook.
fn stopped(situation: &Situation, it: &Subscription) -> Option<Reason> {
    let webhook = &it.webhook;
    if situation.senders.not_sending.is_some() {
        Some(Reason::NotSending)
    } else if webhook.disabled_reason.is_some() {
        Some(Reason::Disabled)
    } else if webhook.paused {
        Some(Reason::Paused)
    } else if webhook.state == WebhookState::Starting {
        Some(Reason::Starting)
    } else if situation.topic.held {
        Some(Reason::TopicHeld)
    } else if webhook.open.is_some() {
        Some(Reason::BreakerOpen)
    } else {
        None
    }
}

/// Why the head of a lane is not accepted yet. `is_held`: a live worker holds the lane.
fn of_head(situation: &Situation, it: &Subscription, lane: &LaneFacts, is_held: bool) -> Reason {
    let Some(due_at) = lane.due_at.filter(|_| !lane.halted) else { return Reason::Halted };
    if is_held {
        return Reason::Request;
    }
    let (mut live, mut free) = (0, 0);
    for worker in situation.live_workers() {
        live += 1;
        free += i64::from(worker.capacity) - i64::from(worker.in_flight).min(worker.capacity.into());
    }
    let webhook = &it.webhook;
    if live == 0 {
        Reason::NoWorker
    } else if lane.claimed_by.is_some() {
        Reason::Takeover
    } else if it.webhook.hold_until.is_some_and(|until| until > situation.senders.now) {
        Reason::HeldByReceiver
    } else if due_at > situation.senders.now {
        // A lane that has not failed waits for the webhook's rate. Other waits end by themselves.
        let waits_for_rate = webhook.rate_limit_per_second.is_some() && lane.head_failures() == 0;
        if waits_for_rate { Reason::RateLimit } else { Reason::Backoff }
    } else if webhook.max_in_flight.is_some_and(|most| webhook.in_flight >= i64::from(most)) {
        Reason::MaxInFlight
    } else if free <= 0 || webhook.in_flight >= free * SHARE {
        Reason::SlotsBusy
    } else {
        Reason::Ready
    }
}

/// Whether the head of such a lane is tried at a time that is known.
fn has_date(reason: Reason) -> bool {
    matches!(reason, Reason::Backoff | Reason::HeldByReceiver | Reason::RateLimit)
}

fn seconds_until(now: Timestamp, then: Timestamp) -> i64 {
    let milliseconds = then.duration_since(now).as_millis();
    i64::try_from(milliseconds.max(0).saturating_add(999) / 1000).unwrap_or(i64::MAX)
}

fn since(situation: &Situation, it: &Subscription, verdict: Verdict) -> Option<Timestamp> {
    let lane = it.lane.as_ref();
    match verdict.reason() {
        Some(Reason::Disabled | Reason::Paused) => it.webhook.changed.as_ref().map(|change| change.at),
        Some(Reason::TopicHeld) => situation.topic.held_by.as_ref().map(|change| change.at),
        Some(Reason::BreakerOpen) => it.webhook.open.map(|(opened_at, _)| opened_at),
        Some(Reason::Starting) => Some(it.webhook.created_at),
        Some(Reason::Halted) => lane.and_then(|lane| lane.halted_at).or(it.log.last_at),
        Some(Reason::Backoff | Reason::HeldByReceiver) => it.log.last_at,
        Some(Reason::Ready | Reason::MaxInFlight | Reason::SlotsBusy) => lane.and_then(|lane| lane.due_at),
        Some(Reason::Request) => lane.and_then(|lane| lane.claimed_at),
        Some(Reason::Takeover) => {
            let holder = lane.and_then(|lane| lane.claimed_by);
            let holder = situation.senders.workers.iter().find(|worker| Some(worker.id) == holder);
            holder.map(|worker| worker.heartbeat_at)
        }
        Some(Reason::Accepted | Reason::AcceptedLate | Reason::OutcomeUnclear) => {
            it.log.accepted.map(|(_, ended)| ended)
        }
        _ if matches!(verdict.state(), State::Dead | State::Canceled | State::Superseded) => {
            it.dead_letter.as_ref().map(|dead| dead.at)
        }
        _ => None,
    }
}

fn remedy(
    situation: &Situation,
    it: &Subscription,
    verdict: Verdict,
    of_head: Option<Reason>,
) -> Option<Remedy> {
    let webhook_id = it.webhook.id;
    let replay = || it.dead_letter.as_ref().map(|dead| Remedy::ReplayDeadLetter(dead.id));
    let Some(reason) = verdict.reason() else { return replay() };
    match if reason == Reason::Behind { of_head? } else { reason } {
        Reason::NotSending => Some(Remedy::SwitchSendingOn),
        Reason::Disabled | Reason::BreakerOpen => Some(Remedy::EnableWebhook(webhook_id)),
        Reason::Paused => Some(Remedy::ResumeWebhook(webhook_id)),
        Reason::TopicHeld => Some(Remedy::ResumeTopic(situation.topic.name.clone())),
        Reason::NoWorker | Reason::SlotsBusy => Some(Remedy::StartWorker),
        Reason::Halted | Reason::Backoff => {
            Some(Remedy::RetryLane { webhook_id, lane: lane_name(situation, it) })
        }
        Reason::RateLimit => {
            let limit = it.webhook.rate_limit_per_second?;
            let per_second = (limit * 2.0).min(*RATE_LIMIT_PER_SECOND.end());
            (per_second > limit).then_some(Remedy::RaiseRateLimit { webhook_id, per_second })
        }
        Reason::MaxInFlight => {
            let limit = it.webhook.max_in_flight?;
            let lanes = limit.saturating_mul(2).min(*MAX_IN_FLIGHT.end());
            (lanes > limit).then_some(Remedy::RaiseMaxInFlight { webhook_id, lanes })
        }
        Reason::NoLane => Some(Remedy::CancelDelivery { webhook_id, message_id: it.message.id }),
        Reason::YoungerWebhook if it.webhook.types_match && it.webhook.filter_matches => {
            Some(Remedy::ReplayMessage { webhook_id, message_id: it.message.id })
        }
        // There is nothing left to send.
        Reason::MessageMissing => None,
        reason if reason.state() == State::Dead => replay(),
        _ => None,
    }
}

fn lane_name(situation: &Situation, it: &Subscription) -> LaneName {
    LaneName::of_message(situation.topic.ordered, &it.message.partition_key, it.message.id)
}

impl LaneFacts {
    /// Whether the message, or the batch at the head that it is in, has failed.
    fn failed(&self, message_id: i64) -> bool {
        let first = self.head_message_id.filter(|_| self.head_failures() > 0);
        first.is_some_and(|first| (first..=self.batch_last.unwrap_or(first)).contains(&message_id))
    }

    /// How often the head has failed. The number in the row may belong to another message.
    fn head_failures(&self) -> i32 {
        if self.head.is_some() && self.head == self.head_message_id { self.failures } else { 0 }
    }
}
