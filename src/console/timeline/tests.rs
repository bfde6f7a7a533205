//! The timeline of a lane with all that can happen to it.

use jiff::Timestamp;
use uuid::Uuid;

use super::{facts::shown, *};
use crate::domain::{
    attempt::{ErrorClass, Outcome},
    change::ChangeKind,
    dead_letter::Reason,
    delivery::AttemptRecord,
    lane::{Lane, LaneHead, LaneKey, LaneState},
    lane_history::{LaneChange, LaneHistory, LaneMessage},
    webhook_ref::WebhookNames,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn message(message_id: i64, owed: bool) -> LaneMessage {
    LaneMessage { message_id, created_at: Some(at(message_id)), owed, replayed_at: None, given_up: None }
}

fn attempt(second: i64, class: Option<ErrorClass>) -> AttemptRecord {
    AttemptRecord {
        attempt: 1,
        batch: None,
        outcome: if class.is_some() { Outcome::Failed } else { Outcome::Accepted },
        status_code: (class.is_none() || class == Some(ErrorClass::Status)).then_some(if class.is_some() {
            503
        } else {
            204
        }),
        error_class: class,
        error: class.map(|_| "<script> & \"\u{202e}".to_owned()),
        duration_ms: 20.0,
        retry_after_seconds: None,
        response_excerpt: None,
        worker_id: Uuid::nil(),
        attempted_at: at(second),
        probe: false,
        replay: false,
    }
}

fn history(messages: Vec<LaneMessage>) -> LaneHistory {
    let head = messages.iter().find(|message| message.owed);
    let head = head.map(|head| LaneHead {
        message_id: head.message_id,
        message_type: None,
        created_at: head.created_at,
    });
    LaneHistory {
        webhook: WebhookNames { id: 7, name: "hook".to_owned(), topic_id: 1, topic: "orders".to_owned() },
        lane: head.map(|head| Lane {
            key: LaneKey { webhook_id: 7, lane: 1 },
            webhook: "hook".to_owned(),
            topic: "orders".to_owned(),
            partition_key: "k".to_owned(),
            message_id: None,
            state: LaneState::Waiting,
            head: Some(head),
            owed: 3,
            owed_capped: false,
            failures: 4,
            last_status_code: None,
            last_error_class: None,
            last_error: None,
            due_at: Some(at(1000)),
            worker: None,
        }),
        messages,
        attempts: Vec::new(),
        changes: Vec::new(),
    }
}

fn change(second: i64, kind: ChangeKind) -> LaneChange {
    LaneChange { kind, reason: None, by: "<b>".to_owned(), at: at(second) }
}

#[test]
fn each_event_has_a_shape_and_a_row_of_the_table() {
    let given_up = LaneMessage { given_up: Some((Reason::Skipped, at(30))), ..message(1, false) };
    let mut history =
        history(vec![given_up, message(2, false), message(3, true), message(4, true), message(5, true)]);
    history.attempts = vec![
        (2, attempt(40, None)),
        (3, attempt(50, Some(ErrorClass::Status))),
        (3, attempt(60, Some(ErrorClass::Timeout))),
        (3, attempt(80, Some(ErrorClass::Connect))),
        (3, attempt(120, Some(ErrorClass::Request))),
    ];
    history.changes = vec![
        change(-100, ChangeKind::WebhookOpen),
        change(55, ChangeKind::WebhookClosed),
        change(70, ChangeKind::WebhookPaused),
    ];
    let svg = draw(&history, at(200)).unwrap();
    for (drawn, times) in [
        ("class=\"tick\"", 5),
        ("class=\"accepted\"", 1),
        ("class=\"status\"", 1),
        ("class=\"timeout\"", 1),
        ("class=\"unmet\"", 2),
        ("class=\"gone\"", 1),
        ("class=\"backoff\"", 4),
        ("class=\"next\"", 1),
        ("class=\"shade\"", 2),
        ("class=\"change\"", 2),
        ("○ behind", 2),
        ("▲ waiting", 1),
        ("● accepted", 1),
        ("× dead letter", 1),
        (">503</text>", 1),
    ] {
        assert_eq!(svg.matches(drawn).count(), times, "{drawn}: {svg}");
    }
    assert!(
        !svg.contains("<script") && !svg.contains("<b>") && !svg.contains('\u{202e}') && !svg.contains("NaN")
    );
    let table = events(&history);
    let words: Vec<&str> = table.iter().map(|row| row.word.as_str()).collect();
    let expected = [
        "failed: request",
        "failed: connect",
        "webhook paused",
        "failed: timeout",
        "breaker closes",
        "failed: 503",
        "accepted 204",
        "skipped",
        "published",
        "published",
        "published",
        "published",
        "published",
    ];
    assert_eq!(words, expected);
    assert!(table.iter().any(|row| row.said.starts_with("Attempt 1, 20 ms: <script>")));
}

#[test]
fn rows_are_limited_and_the_head_is_among_them() {
    let many = |others: i64, owed: i64| {
        let mut history = history((1..=others + owed).map(|id| message(id, id > others)).collect());
        history.attempts = (1..=others).map(|id| (id, attempt(id, None))).collect();
        history
    };
    for (others, owed, rows) in [
        (0, 1, 1),
        (3, 2, 5),
        (100, 100, ROWS_MAX),
        (100, 0, ROWS_MAX),
        (0, 100, ROWS_MAX),
        (2, 100, ROWS_MAX),
    ] {
        let history = many(others, owed);
        let shown = shown(&history);
        assert_eq!(shown.len(), rows, "{others} and {owed}");
        if owed > 0 {
            assert!(shown.iter().any(|message| message.message_id == others + 1), "{others} and {owed}");
        }
        let svg = draw(&history, at(500)).unwrap();
        assert_eq!(svg.matches("class=\"rule\"").count(), rows);
        // What is said to be shown is drawn.
        let drawn = svg.matches("○ behind").count() + svg.matches("▲ waiting").count();
        assert_eq!(usize::try_from(owed_shown(&history)).unwrap(), drawn, "{others} and {owed}");
    }
    assert!(draw(&many(0, 1), at(500)).unwrap().contains("Timeline of 1 message."));
    // Of a message that was never owed, nothing is known.
    assert_eq!(draw(&history(vec![message(1, false)]), at(0)), None);
    assert_eq!(draw(&many(0, 0), at(0)), None);
    assert_eq!(events(&many(0, 0)), Vec::new());
    // One instant alone, and a clock that was set back.
    assert!(!draw(&many(1, 0), at(-100)).unwrap().contains("NaN"));
}
