//! What of a lane's history is shown, and in which words.

use jiff::Timestamp;

use crate::domain::{
    attempt::{ErrorClass, Outcome},
    change::ChangeKind,
    delivery::AttemptRecord,
    lane::LaneState,
    lane_history::{LaneHistory, LaneMessage},
};

/// The most messages in a timeline. At least a third of them are owed, if so many are.
pub(in crate::console) const ROWS_MAX: usize = 18;

/// The messages of a history that are shown, by rising id. A message of which nothing is known but
/// that it was published says nothing of the webhook: most likely it was not owed.
pub(super) fn shown(history: &LaneHistory) -> Vec<&LaneMessage> {
    let has_attempts = |message: &LaneMessage| attempts_of(history, message.message_id).next().is_some();
    let is_known =
        |message: &&LaneMessage| message.owed || message.given_up.is_some() || has_attempts(message);
    let known: Vec<&LaneMessage> = history.messages.iter().filter(is_known).collect();
    let owed = known.iter().filter(|message| message.owed).count();
    let others = known.len() - owed;
    let owed_shown = owed.min(ROWS_MAX - others.min(ROWS_MAX / 3));
    let others_shown = others.min(ROWS_MAX - owed_shown);
    let first_other = others - others_shown;
    let (mut owed_seen, mut others_seen) = (0, 0);
    let is_shown = |message: &&LaneMessage| {
        let seen = if message.owed { &mut owed_seen } else { &mut others_seen };
        *seen += 1;
        if message.owed { *seen <= owed_shown } else { *seen > first_other }
    };
    known.into_iter().filter(is_shown).collect()
}

/// How many messages are shown that the lane owes.
pub(in crate::console) fn owed_shown(history: &LaneHistory) -> i64 {
    shown(history).iter().map(|message| i64::from(message.owed)).sum()
}

/// The attempts of a message, oldest first.
pub(super) fn attempts_of(history: &LaneHistory, message_id: i64) -> impl Iterator<Item = &AttemptRecord> {
    history.attempts.iter().filter(move |(id, _)| *id == message_id).map(|(_, attempt)| attempt)
}

/// How an attempt ended, as far as it is drawn in a way of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Accepted,
    Status,
    Timeout,
    Connection,
    Unsent,
}

impl Kind {
    pub(super) fn of(attempt: &AttemptRecord) -> Self {
        match (attempt.outcome, attempt.error_class) {
            (Outcome::Accepted, _) => Self::Accepted,
            (_, Some(ErrorClass::Status | ErrorClass::Redirect) | None) => Self::Status,
            (_, Some(ErrorClass::Timeout)) => Self::Timeout,
            (_, Some(ErrorClass::Request)) => Self::Unsent,
            (_, Some(_)) => Self::Connection,
        }
    }
}

/// How an attempt ended, in a word or a number.
pub(super) fn result(attempt: &AttemptRecord) -> String {
    match (attempt.status_code, attempt.error_class) {
        (Some(code), None | Some(ErrorClass::Status | ErrorClass::Redirect)) => code.to_string(),
        (_, Some(class)) => class.as_str().to_owned(),
        (None, None) => attempt.outcome.as_str().to_owned(),
    }
}

pub(super) fn ended(attempt: &AttemptRecord) -> Timestamp {
    // An attempt lasts minutes at most.
    #[expect(clippy::cast_possible_truncation, reason = "a duration is far below the largest number")]
    let microseconds = (attempt.duration_ms * 1000.0) as i64;
    let took = jiff::SignedDuration::from_micros(microseconds);
    attempt.attempted_at.checked_add(took).unwrap_or(attempt.attempted_at)
}

/// Where a message stands: a shape, a word and a tone.
pub(super) fn standing(history: &LaneHistory, message: &LaneMessage) -> (&'static str, String, &'static str) {
    let lane = history.lane.as_ref();
    let is_head =
        lane.and_then(|lane| lane.head.as_ref()).is_some_and(|h| h.message_id == message.message_id);
    if message.owed {
        let Some(lane) = lane.filter(|_| is_head) else { return ("○", "behind".to_owned(), "calm") };
        return match lane.state {
            LaneState::Ready => ("○", "ready".to_owned(), "calm"),
            LaneState::Claimed => ("●", "in flight".to_owned(), "good"),
            LaneState::Waiting => ("▲", "waiting".to_owned(), "warn"),
            LaneState::Halted => ("■", "halted".to_owned(), "bad"),
        };
    }
    if let Some((reason, _)) = message.given_up {
        let tone = if reason.is_left_out() { "calm" } else { "bad" };
        let word = if reason.is_left_out() { reason.as_str() } else { "dead letter" };
        return ("×", word.to_owned(), tone);
    }
    let accepted = attempts_of(history, message.message_id).any(|one| one.outcome == Outcome::Accepted);
    if accepted { ("●", "accepted".to_owned(), "good") } else { ("–", "left".to_owned(), "calm") }
}

/// What a change is called.
pub(super) fn change_word(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::WebhookFailing => "webhook fails",
        ChangeKind::WebhookRecovered => "webhook answers",
        ChangeKind::WebhookDisabled => "webhook disabled",
        ChangeKind::WebhookEnabled => "webhook enabled",
        ChangeKind::WebhookPaused => "webhook paused",
        ChangeKind::WebhookResumed => "webhook resumed",
        ChangeKind::WebhookStarted => "webhook started",
        ChangeKind::WebhookOpen => "breaker opens",
        ChangeKind::WebhookClosed => "breaker closes",
        ChangeKind::WebhookOverflowing => "too much owed",
        ChangeKind::WebhookOverflowEnded => "less owed again",
        ChangeKind::TopicPaused => "topic paused",
        ChangeKind::TopicResumed => "topic resumed",
        ChangeKind::LaneHalted => "lane halted",
        ChangeKind::LaneResumed => "lane released",
        ChangeKind::DeliveryExhausted => "given up",
        ChangeKind::WorkerLost => "worker lost",
        ChangeKind::SendingOn => "sending on",
        ChangeKind::SendingOff => "sending off",
    }
}

/// The change that ends what a change begins, if nothing of the lane is sent between them.
pub(super) fn end_of(kind: ChangeKind) -> Option<ChangeKind> {
    match kind {
        ChangeKind::WebhookDisabled => Some(ChangeKind::WebhookEnabled),
        ChangeKind::WebhookPaused => Some(ChangeKind::WebhookResumed),
        ChangeKind::WebhookOpen => Some(ChangeKind::WebhookClosed),
        ChangeKind::TopicPaused => Some(ChangeKind::TopicResumed),
        ChangeKind::LaneHalted => Some(ChangeKind::LaneResumed),
        _ => None,
    }
}
