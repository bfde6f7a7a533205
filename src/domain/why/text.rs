//! The verdict as a sentence for people: what is in the way, and what follows.

use super::{Change, LaneFacts, Reason, Senders, Situation, Subscription, Verdict, WorkerFacts};
use crate::domain::sending::NotSending;

/// Describes a verdict. `of_head`: why the head of the message's lane waits.
pub(super) fn describe(
    situation: &Situation,
    it: &Subscription,
    verdict: Verdict,
    of_head: Option<Reason>,
) -> String {
    let id = it.message.id;
    let when = it.dead_letter.as_ref().map(|dead| format!(" at {}", dead.at)).unwrap_or_default();
    match verdict {
        Verdict::Canceled => {
            format!("Message {id} was canceled{when}. It is kept as a dead letter, and can be replayed.")
        }
        Verdict::Superseded => {
            format!(
                "A later message of the lane took the place of message {id}{when}. It is kept as a dead letter."
            )
        }
        Verdict::For(Reason::Behind) => behind(situation, it, of_head),
        Verdict::For(reason) => format!("Message {id} {}", predicate(situation, it, reason)),
    }
}

/// A message that waits for another one, and what that one waits for.
fn behind(situation: &Situation, it: &Subscription, of_head: Option<Reason>) -> String {
    let head = it.lane.as_ref().and_then(|lane| lane.head);
    let head = head.map_or_else(|| "another message".to_owned(), |head| format!("message {head}"));
    let of_head = of_head
        .map_or_else(|| "has not left the lane.".to_owned(), |reason| predicate(situation, it, reason));
    format!("Message {} waits behind {head} of the same partition. That one {of_head}", it.message.id)
}

/// What is said of a message, or of the head that it waits for.
fn predicate(situation: &Situation, it: &Subscription, reason: Reason) -> String {
    let webhook = format!("webhook {}:{}", situation.topic.name, it.webhook.name);
    let created_at = it.webhook.created_at;
    let dead = it.dead_letter.as_ref();
    let attempts = dead.map_or(0, |dead| dead.attempts);
    let lane = it.lane.as_ref();
    match reason {
        Reason::Filter => format!("is not owed: the filter of {webhook}, as it is now, does not let it through."),
        Reason::Types => format!("is not owed: the types of {webhook}, as they are now, do not name its type."),
        Reason::YoungerWebhook => format!("is not owed: {webhook} was created later, at {created_at}."),
        Reason::Behind => "waits behind another message of the same partition.".to_owned(),
        Reason::Backoff => backoff(lane),
        Reason::Halted => {
            let error = lane.and_then(|lane| lane.last_error.as_deref());
            let error = error.map(|error| format!(" The last attempt ended with: {error}.")).unwrap_or_default();
            format!("has halted its lane: it used up its attempts, or its failure was final.{error} The lane moves when an operator retries or skips it.")
        }
        Reason::HeldByReceiver => {
            let until = lane.and_then(|lane| lane.due_at).max(it.webhook.hold_until);
            let until = until.map(|until| format!(" until {until}")).unwrap_or_default();
            format!("waits: the receiver of {webhook} has asked for nothing to be sent{until}.")
        }
        Reason::RateLimit => {
            let due_at = due_at(lane);
            format!("waits for the rate limit of {webhook}{}{due_at}.", number(it.webhook.rate_limit_per_second, " a second"))
        }
        Reason::MaxInFlight => format!(
            "waits: {webhook} has {} lanes in flight, and its max_in_flight permits{}.",
            it.webhook.in_flight,
            number(it.webhook.max_in_flight, "")
        ),
        Reason::SlotsBusy => {
            let (used, slots) = situation.live_workers().fold((0, 0), |(used, slots), worker| {
                (used + i64::from(worker.in_flight), slots + i64::from(worker.capacity))
            });
            format!("waits for a slot: {used} of {slots} slots of all workers are in use, and {webhook} has its share.")
        }
        Reason::Paused => format!("waits: {webhook} is paused{}.", by(it.webhook.changed.as_ref())),
        Reason::TopicHeld => {
            format!("waits: the topic {} is held{}.", situation.topic.name, by(situation.topic.held_by.as_ref()))
        }
        Reason::Disabled => {
            let reason = it.webhook.disabled_reason.as_deref().unwrap_or_default();
            format!("waits: {webhook} is disabled{}: {reason}.", by(it.webhook.changed.as_ref()))
        }
        Reason::Starting => starting(it, &webhook),
        Reason::NotSending => not_sending(&situation.senders),
        Reason::NoWorker if situation.senders.live_workers().next().is_some() => {
            "waits: no worker lives that sends this topic (worker.topics).".to_owned()
        }
        Reason::NoWorker => "waits: no worker lives.".to_owned(),
        Reason::Takeover => takeover(situation, lane),
        Reason::NoLane => "is owed, but its lane has no row, so no worker finds it. Somebody has deleted rows, or copied them in part.".to_owned(),
        Reason::Ready => "is ready: a worker takes it at its next look, within half a second.".to_owned(),
        Reason::Request => match holder(situation, lane) {
            Some(worker) => format!("is with worker {} ({}), which sends it now or next.", worker.name, worker.id),
            None => "is with a worker, which sends it now or next.".to_owned(),
        },
        Reason::OutcomeUnclear => {
            "was accepted, as the attempt log says, and that is not written yet. If its worker dies now, it is sent again."
                .to_owned()
        }
        Reason::Accepted => format!("was accepted{}.", accepted_at(it)),
        Reason::AcceptedLate => {
            format!("had left its lane, and was accepted all the same{}: its request was under way.", accepted_at(it))
        }
        Reason::AttemptsExhausted => format!("is a dead letter: it used up its attempts, {attempts} of them."),
        Reason::Permanent => "is a dead letter: the last failure was final.".to_owned(),
        Reason::Expired => format!("is a dead letter: it was older than {webhook} allows."),
        Reason::Overflow => format!("is a dead letter: {webhook} was owed more than it allows."),
        Reason::Skipped => "is a dead letter: an operator skipped it.".to_owned(),
        Reason::MessageMissing => "is a dead letter: it was deleted before it was delivered.".to_owned(),
        Reason::LogExpired => format!(
            "is not owed to {webhook}, and nothing more is known. Most likely it was accepted, and the attempt log does not \
             know it any more: the log is kept for a limited time, and rows may be left out."
        ),
    }
}

fn backoff(lane: Option<&LaneFacts>) -> String {
    let failures = lane.map_or(0, |lane| lane.failures);
    let error = lane.and_then(|lane| lane.last_error.as_deref());
    let error = error.map(|error| format!(": {error}")).unwrap_or_default();
    if failures == 0 {
        return format!("waits for a moment. It is tried{}.", due_at(lane));
    }
    let tries = if failures == 1 { "once".to_owned() } else { format!("{failures} times") };
    format!("has failed {tries}{error}. It is tried again{}.", due_at(lane))
}

fn starting(it: &Subscription, webhook: &str) -> String {
    match &it.webhook.backfill {
        Some((job, waits_for)) => {
            let waits =
                waits_for.as_ref().map(|what| format!(", which waits for {what}")).unwrap_or_default();
            let owed = if it.owed { "waits" } else { "may still be added" };
            format!("{owed}: {webhook} is starting, and is filled by job {job}{waits}.")
        }
        None => format!("waits: {webhook} is starting."),
    }
}

fn takeover(situation: &Situation, lane: Option<&LaneFacts>) -> String {
    let Some(worker) = holder(situation, lane) else {
        let id = lane.and_then(|lane| lane.claimed_by).unwrap_or_default();
        return format!(
            "is held by worker {id}, which is not registered any more. Another worker takes it within a second."
        );
    };
    let (name, id) = (&worker.name, worker.id);
    if worker.gone {
        return format!(
            "was held by worker {name} ({id}), which is gone. Another worker takes it within a second."
        );
    }
    if !worker.has_session {
        return format!(
            "is held by worker {name} ({id}), whose session is gone. Another worker takes it over within two seconds."
        );
    }
    format!(
        "is held by worker {name} ({id}), whose heartbeat stands still since {}. Another worker takes it over after {} s.",
        worker.heartbeat_at,
        worker.lease.as_secs()
    )
}

fn holder<'a>(situation: &'a Situation, lane: Option<&LaneFacts>) -> Option<&'a WorkerFacts> {
    let id = lane?.claimed_by?;
    situation.senders.workers.iter().find(|worker| worker.id == id)
}

fn due_at(lane: Option<&LaneFacts>) -> String {
    lane.and_then(|lane| lane.due_at).map(|due_at| format!(" at {due_at}")).unwrap_or_default()
}

fn by(change: Option<&Change>) -> String {
    change.map(|change| format!(" since {} by {}", change.at, change.by)).unwrap_or_default()
}

fn accepted_at(it: &Subscription) -> String {
    it.log.accepted.map(|(_, ended)| format!(" at {ended}")).unwrap_or_default()
}

fn number(value: Option<impl std::fmt::Display>, unit: &str) -> String {
    value.map(|value| format!(" {value}{unit}")).unwrap_or_default()
}

fn not_sending(senders: &Senders) -> String {
    match senders.not_sending {
        Some(NotSending::Copy) => {
            "waits: nothing is sent, since this database is a copy: the installation was to send from another server or \
             database."
                .to_owned()
        }
        Some(NotSending::StartPaused) => {
            "waits: nothing is sent, since worker.start_paused is set, and nobody has switched sending on.".to_owned()
        }
        Some(NotSending::SwitchedOff) | None => {
            let by = senders.switched.changed_by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
            let why = senders.switched.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            format!("waits: sending was switched off{by}{why}.")
        }
    }
}
