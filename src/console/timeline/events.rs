//! The events of a timeline as a table.

use jiff::Timestamp;

use super::{
    super::text,
    facts::{Kind, attempts_of, change_word, result, shown},
};
use crate::domain::{attempt::Outcome, lane_history::LaneHistory};

/// The most events in the table.
const EVENTS_MAX: usize = 200;

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::console) struct EventRow {
    at: Timestamp,
    pub(in crate::console) time: String,
    pub(in crate::console) message_id: Option<i64>,
    /// A shape, a word and a tone.
    pub(in crate::console) shape: &'static str,
    pub(in crate::console) word: String,
    pub(in crate::console) tone: &'static str,
    pub(in crate::console) said: String,
}

/// The events of a lane, newest first.
pub(in crate::console) fn events(history: &LaneHistory) -> Vec<EventRow> {
    let mut rows = Vec::new();
    let mut push = |at: Timestamp, message_id, (shape, word, tone): (_, String, _), said| {
        rows.push(EventRow { at, time: text::time(at), message_id, shape, word, tone, said });
    };
    for message in shown(history) {
        let id = Some(message.message_id);
        if let Some(at) = message.created_at {
            push(at, id, ("│", "published".to_owned(), "calm"), String::new());
        }
        if let Some(at) = message.replayed_at {
            push(at, id, ("│", "owed by a replay".to_owned(), "calm"), String::new());
        }
        if let Some((reason, at)) = message.given_up {
            push(at, id, ("×", reason.as_str().replace('_', " "), "bad"), String::new());
        }
        for attempt in attempts_of(history, message.message_id) {
            let (shape, tone) = match Kind::of(attempt) {
                Kind::Accepted => ("●", "good"),
                Kind::Status => ("■", "bad"),
                Kind::Timeout => ("□", "warn"),
                Kind::Connection => ("▲", "bad"),
                Kind::Unsent => ("◆", "bad"),
            };
            let word = match attempt.outcome {
                Outcome::Accepted => format!("accepted {}", result(attempt)),
                _ => format!("failed: {}", result(attempt)),
            };
            let kind = if attempt.probe { "Probe" } else { "Attempt" };
            let error = attempt.error.as_deref().map(|error| format!(": {}", text::line(error)));
            let said = format!(
                "{kind} {}, {}{}",
                attempt.attempt,
                text::milliseconds(attempt.duration_ms),
                error.unwrap_or_default()
            );
            push(attempt.attempted_at, id, (shape, word, tone), said);
        }
    }
    let first = rows.iter().map(|row| row.at).min();
    for change in history.changes.iter().filter(|change| first.is_none_or(|first| change.at >= first)) {
        let reason = change.reason.as_deref().map(|reason| format!(": {}", text::line(reason)));
        let said = format!("by {}{}", text::line(&change.by), reason.unwrap_or_default());
        rows.push(EventRow {
            at: change.at,
            time: text::time(change.at),
            message_id: None,
            shape: "┆",
            word: change_word(change.kind).to_owned(),
            tone: "calm",
            said,
        });
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.at));
    rows.truncate(EVENTS_MAX);
    rows
}
