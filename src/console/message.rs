//! The screen of a message: its bytes, and why it is where it is.

use askama::Template;
use axum::{
    extract::{Path, Query},
    http::{HeaderName, HeaderValue, Method, header},
    response::{IntoResponse as _, Redirect, Response},
};
use jiff::Timestamp;
use serde::Deserialize;

use super::{
    actions::{Advice, curl},
    failure::Failure,
    frame::{Screen, Section},
    text::{self, Badge},
    visitor::{ApiAddress, Visitor},
};
use crate::{
    api::{ApiError, schema::Remedy},
    domain::why::{Entry, State, WEBHOOKS_MAX},
};

/// How much of a payload is shown, in bytes.
pub(super) const SHOWN: usize = 64 * 1024;

/// How many webhooks are shown.
const WEBHOOKS_SHOWN: usize = 100;

/// The form that finds a message.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    id: String,
}

/// The answer for one webhook.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    webhook_id: i64,
    webhook: String,
    /// Whether there is a delivery to look at.
    has_delivery: bool,
    badge: Badge,
    text: String,
    blocked_by: Option<i64>,
    next: Option<String>,
    /// How many there were: `1 attempt`.
    attempts: Option<String>,
    error: Option<String>,
    advice: Option<Advice>,
}

#[derive(Template)]
#[template(path = "message.html")]
struct View {
    id: i64,
    topic: String,
    /// The partition key as it is shown, and as it is.
    key: String,
    raw_key: String,
    published: String,
    age: String,
    rows: Vec<Row>,
    /// Of how many webhooks these are, if more were looked at.
    looked_at: Option<String>,
}

#[derive(Template)]
#[template(path = "payload.html")]
struct Payload<'a> {
    id: i64,
    kind: Option<String>,
    idempotency_key: Option<String>,
    /// `None` if the visitor is not shown payloads.
    text: Option<&'a str>,
    headers: Option<&'a str>,
    bytes: String,
    cut: bool,
    curl: String,
}

pub(super) async fn find(Query(wanted): Query<Wanted>) -> Result<Redirect, Failure> {
    let id: i64 =
        wanted.id.trim().parse().map_err(|_| Failure::field("id", "must be the id of a message"))?;
    Ok(Redirect::to(&format!("messages/{id}")))
}

pub(super) async fn show(visitor: Visitor, Path(id): Path<i64>) -> Result<Screen, Failure> {
    let broker = visitor.broker(&[(&Method::GET, "/messages/{id}"), (&Method::GET, "/messages/{id}/why")])?;
    let mut why = broker.explain_message(id, None).await?;
    let now = Timestamp::now();
    let looked_at = i64::try_from(why.webhooks.len()).unwrap_or(i64::MAX);
    why.webhooks.sort_by_key(|entry| place(entry.verdict.state()));
    why.webhooks.truncate(WEBHOOKS_SHOWN);
    let is_part = usize::try_from(looked_at).is_ok_and(|number| number > WEBHOOKS_SHOWN);
    let view = View {
        id,
        topic: why.topic,
        key: text::line(&why.partition_key),
        raw_key: why.partition_key,
        published: text::time(why.created_at),
        age: text::age(now, why.created_at),
        rows: why.webhooks.into_iter().map(|entry| row(entry, now, &visitor.api)).collect(),
        looked_at: is_part.then(|| text::count(looked_at, looked_at >= WEBHOOKS_MAX)),
    };
    let screen = Screen::live(format!("Message {id}"), Section::Topics, &view)?;
    // What follows never changes, and a payload may be large.
    if visitor.wants_live {
        return Ok(screen);
    }
    let message = broker.get_message(id).await?;
    let payload = message.payload.get();
    let sees = visitor.sees_payloads();
    let path = format!("/messages/{id}");
    let shown = Payload {
        id,
        kind: message.r#type.as_deref().map(text::line),
        idempotency_key: message.idempotency_key.as_deref().map(text::line),
        text: sees.then(|| start(payload, SHOWN)),
        headers: message.headers.as_deref().filter(|_| sees).map(serde_json::value::RawValue::get),
        bytes: text::count(i64::try_from(payload.len()).unwrap_or(i64::MAX), false),
        cut: payload.len() > SHOWN,
        curl: curl(&visitor.api, &Method::GET, &path, None),
    };
    screen.with(&shown)
}

/// The payload as it is stored, as a file.
pub(super) async fn download(visitor: Visitor, Path(id): Path<i64>) -> Result<Response, Failure> {
    let broker = visitor.broker(&[(&Method::GET, "/messages/{id}")])?;
    if !visitor.sees_payloads() {
        return Err(ApiError::Forbidden("a token of this role may not see payloads".to_owned()).into());
    }
    let message = broker.get_message(id).await?;
    let file = format!("attachment; filename=\"message-{id}.json\"");
    let about: [(HeaderName, HeaderValue); 2] = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_str(&file).expect("the name is ASCII")),
    ];
    Ok((about, message.payload.get().to_owned()).into_response())
}

/// The first bytes of a text, ending between two characters.
pub(super) fn start(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// Where an entry stands among others: first what is owed, then dead letters, then all others.
fn place(state: State) -> u8 {
    match state {
        State::Waiting | State::InFlight => 0,
        State::Dead => 1,
        State::Delivered | State::NotOwed | State::Canceled | State::Superseded | State::Unknown => 2,
    }
}

fn row(entry: Entry, now: Timestamp, api: &ApiAddress) -> Row {
    let badge = match entry.verdict.state() {
        State::Delivered => Badge::good("delivered"),
        State::InFlight => Badge::good("in flight"),
        State::Waiting => Badge::warn("waiting"),
        State::Dead => Badge::bad("dead"),
        State::NotOwed => Badge::calm("not owed"),
        State::Canceled => Badge::calm("canceled"),
        State::Superseded => Badge::calm("superseded"),
        State::Unknown => Badge::calm("unknown"),
    };
    Row {
        webhook_id: entry.webhook_id,
        webhook: entry.webhook,
        has_delivery: !matches!(entry.verdict.state(), State::NotOwed | State::Unknown),
        badge,
        text: entry.text,
        blocked_by: entry.blocked_by,
        next: entry.next_attempt_at.map(|at| format!("in {}", text::until(now, at))),
        attempts: (entry.attempts > 0)
            .then(|| format!("{} {}", entry.attempts, text::plural(entry.attempts, "attempt"))),
        error: entry.last_error.as_deref().map(text::line),
        advice: entry.remedy.map(|remedy| Advice::of(Remedy::from(remedy), api)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_cut_between_two_characters() {
        assert_eq!(start("aé", 2), "a");
        assert_eq!(start("aé", 3), "aé");
        assert_eq!(start("aé", 30), "aé");
    }
}
