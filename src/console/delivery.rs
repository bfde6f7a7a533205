//! The screen of a delivery: where it stands and why, its attempts, and the request as it would be
//! sent now.

use askama::Template;
use axum::{
    extract::{Path, Query},
    http::Method,
    response::Redirect,
};
use jiff::Timestamp;
use serde::Deserialize;

use super::{
    actions::{Action, Advice, Lines},
    as_curl::as_curl,
    failure::Failure,
    frame::{Screen, Section},
    lanes::{href, reference, tried},
    message::{SHOWN, start},
    text::{self, Badge},
    visitor::{ApiAddress, Visitor},
};
use crate::{
    api::schema::Remedy,
    domain::{
        attempt::Outcome,
        delivery::{AttemptRecord, Delivery, DeliveryStatus},
        lane::LaneName,
        page::PageRequest,
        planned_request::PlannedRequest,
        why::{self, Entry, Reason, State},
    },
};

/// The header that receivers check.
const SIGNATURE: &str = "webhook-signature";
/// How many attempts one page shows.
const ATTEMPTS_SHOWN: i64 = 100;

/// The page of the attempts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default)]
    after: String,
}

#[derive(Template)]
#[template(path = "delivery.html")]
struct View {
    badge: Badge,
    text: String,
    advice: Option<Advice>,
    webhook_id: i64,
    message_id: i64,
    webhook: String,
    key: String,
    lane: String,
    published: String,
    age: String,
    blocked_by: Option<i64>,
    next_attempt: Option<String>,
    settled: Option<String>,
    replayed: Option<String>,
    attempts: Vec<Attempt>,
    next: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Attempt {
    number: i32,
    time: String,
    badge: Badge,
    result: String,
    took: String,
    notes: Vec<String>,
    error: String,
    answer: Option<String>,
    worker: String,
}

#[derive(Template)]
#[template(path = "delivery_still.html")]
struct Still {
    actions: Vec<Action>,
    request: Planned,
}

/// The request, or why it is not shown.
enum Planned {
    Hidden,
    Impossible(String),
    Shown(Box<Request>),
}

struct Request {
    method: String,
    url: String,
    headers: Vec<(String, Option<String>)>,
    body: String,
    bytes: String,
    cut: bool,
    /// What is to be known of it.
    said: String,
    curl: Option<String>,
}

pub(super) async fn show(
    visitor: Visitor,
    Path((named, id)): Path<(String, i64)>,
    Query(asked): Query<Asked>,
) -> Result<Screen, Failure> {
    let reads = [
        (&Method::GET, "/webhooks/{webhook}/deliveries/{message_id}"),
        (&Method::GET, "/webhooks/{webhook}/deliveries/{message_id}/attempts"),
        (&Method::GET, "/messages/{id}/why"),
    ];
    let broker = visitor.broker(&reads)?;
    let reference = reference(&named)?;
    let delivery = broker.get_delivery(&reference, id).await?;
    let page = PageRequest { limit: Some(ATTEMPTS_SHOWN), after: text::given(&asked.after) };
    let attempts = broker.list_attempts(&reference, id, page).await?;
    let why = broker.explain_message(id, Some(delivery.webhook_id)).await?;
    let lane = LaneName::of_message(why.ordered, &delivery.partition_key, id);
    let why = why.webhooks.into_iter().next();
    let reason = why.as_ref().and_then(|entry| entry.verdict.reason());
    let sees = visitor.sees_payloads();
    let now = Timestamp::now();
    let mut view = view(&delivery, why, &lane, now, &visitor.api);
    view.attempts = attempts.items.iter().map(|record| attempt(record, sees)).collect();
    view.next = attempts.next.map(|next| next.to_string());
    let title = format!("Message {id} to {}", view.webhook);
    let screen = Screen::live(title, Section::Webhooks, &view)?;
    if visitor.wants_live {
        return Ok(screen);
    }
    let may = |route| visitor.may(&Method::POST, route);
    let may_send = may("/webhooks/{webhook}/deliveries/{message_id}/replay");
    let request = if sees {
        match broker.preview_delivery(&reference, id).await? {
            Ok(planned) => Planned::Shown(Box::new(request(planned, &delivery, may_send))),
            Err(why_not) => Planned::Impossible(text::line(&why_not)),
        }
    } else {
        Planned::Hidden
    };
    let mut actions = Vec::new();
    if may("/webhooks/{webhook}/lanes/retry") {
        actions.extend(retry(&delivery, lane, reason, &visitor.api));
    }
    if may_send {
        actions.extend(settle(&delivery, &visitor.api));
    }
    screen.with(&Still { actions, request })
}

pub(super) async fn act(
    visitor: Visitor,
    Path((named, id, action)): Path<(String, i64, String)>,
) -> Result<Redirect, Failure> {
    let reference = reference(&named)?;
    match action.as_str() {
        "replay" => {
            let route = (&Method::POST, "/webhooks/{webhook}/deliveries/{message_id}/replay");
            visitor.broker(&[route])?.replay_delivery(&reference, id).await?;
        }
        "cancel" => {
            let route = (&Method::POST, "/webhooks/{webhook}/deliveries/{message_id}/cancel");
            visitor.broker(&[route])?.cancel_delivery(&reference, id).await?;
        }
        _ => return Err(Failure::not_found("there is no such action")),
    }
    Ok(Redirect::to(&format!("../{id}")))
}

/// The page without its attempts.
fn view(delivery: &Delivery, why: Option<Entry>, lane: &LaneName, now: Timestamp, api: &ApiAddress) -> View {
    let (state, text, blocked_by, advice) = match why {
        Some(entry) => (Some(entry.verdict.state()), entry.text, entry.blocked_by, entry.remedy),
        None => (None, String::new(), None, None),
    };
    let owed = delivery.status.is_owed();
    let ago = |at| format!("{} UTC, {} ago", text::time(at), text::age(now, at));
    View {
        // A worker may have settled it between two looks. Then what is written says more.
        badge: if state == Some(State::InFlight) && owed {
            Badge::good("in flight")
        } else {
            badge(delivery.status)
        },
        text,
        advice: advice.map(|remedy| Advice::of(Remedy::from(remedy), api)),
        webhook_id: delivery.webhook_id,
        message_id: delivery.message_id,
        webhook: format!("{}:{}", delivery.topic, delivery.webhook),
        key: text::line(&delivery.partition_key),
        lane: href("lane", &delivery.webhook_id, lane),
        published: text::time(delivery.created_at),
        age: text::age(now, delivery.created_at),
        blocked_by: blocked_by.filter(|_| owed),
        next_attempt: delivery.next_attempt_at.filter(|_| owed).map(|at| text::until(now, at)),
        settled: delivery.settled_at.map(ago),
        replayed: delivery.replayed_at.map(ago),
        attempts: Vec::new(),
        next: None,
    }
}

fn badge(status: DeliveryStatus) -> Badge {
    match status {
        DeliveryStatus::Pending => Badge::calm("pending"),
        DeliveryStatus::InFlight => Badge::good("in flight"),
        DeliveryStatus::Retrying => Badge::warn("retrying"),
        DeliveryStatus::Halted => Badge::bad("halted"),
        DeliveryStatus::Delivered => Badge::good("delivered"),
        DeliveryStatus::Dead => Badge::bad("dead letter"),
        DeliveryStatus::Canceled => Badge::calm("canceled"),
        DeliveryStatus::Superseded => Badge::calm("superseded"),
    }
}

fn attempt(record: &AttemptRecord, sees: bool) -> Attempt {
    let mut notes = Vec::new();
    if record.probe {
        notes.push("probe".to_owned());
    }
    if record.replay {
        notes.push("replay".to_owned());
    }
    if let Some((first, last)) = record.batch {
        notes.push(format!("messages {first} to {last}"));
    }
    if let Some(seconds) = record.retry_after_seconds {
        notes.push(format!("asked to wait {seconds} s"));
    }
    let status = record.status_code.map(|code| code.to_string());
    let class = record.error_class.map(|class| class.as_str().to_owned());
    Attempt {
        number: record.attempt,
        time: text::time(record.attempted_at),
        badge: match record.outcome {
            Outcome::Accepted => Badge::good("accepted"),
            Outcome::Failed => Badge::bad("failed"),
            Outcome::Gone => Badge::bad("gone"),
        },
        result: [status, class].into_iter().flatten().collect::<Vec<_>>().join(" "),
        took: text::milliseconds(record.duration_ms),
        notes,
        error: record.error.as_deref().map(text::line).unwrap_or_default(),
        // It may repeat a part of the payload.
        answer: record.response_excerpt.as_deref().filter(|_| sees).map(text::block),
        worker: text::worker(record.worker_id),
    }
}

/// `may_send`: whether the visitor may replay. Whoever has a signed request can send it.
fn request(mut planned: PlannedRequest, delivery: &Delivery, may_send: bool) -> Request {
    if !may_send {
        let signatures = planned.headers.iter_mut().filter(|(name, _)| name == SIGNATURE);
        signatures.for_each(|(_, value)| *value = None);
    }
    let said = [
        (!delivery.status.is_owed(), "It is not owed: this is what a replay would send."),
        (planned.batch, "The webhook takes batches, so other messages may come with it."),
        (may_send, "Signed now; receivers refuse the signature after five minutes."),
    ];
    let said = said.into_iter().filter(|(holds, _)| *holds).map(|(_, text)| text);
    let body = String::from_utf8_lossy(&planned.body);
    let shown = start(&body, SHOWN);
    let headers = planned.headers.iter();
    Request {
        method: planned.method.clone(),
        url: text::block(&planned.url),
        headers: headers.map(|(name, value)| (name.clone(), value.as_deref().map(text::block))).collect(),
        body: text::block(shown),
        bytes: text::count(i64::try_from(body.len()).unwrap_or(i64::MAX), false),
        cut: shown.len() < body.len(),
        said: said.collect::<Vec<_>>().join(" "),
        curl: as_curl(&planned),
    }
}

/// Tries the lane now whose head this is. `reason`: why it waits.
fn retry(delivery: &Delivery, lane: LaneName, reason: Option<Reason>, api: &ApiAddress) -> Option<Action> {
    let (webhook_id, message_id) = (delivery.webhook_id, delivery.message_id);
    let when = reason.and_then(tried).unwrap_or("at once");
    let (label, then) = match delivery.status {
        DeliveryStatus::Retrying => ("Try now", ""),
        DeliveryStatus::Halted => ("Release", " If it fails as before, the lane halts again."),
        _ => return None,
    };
    let href = href("lane/retry", &webhook_id, &lane);
    let consequence = format!("Message {message_id} is tried {when}, with all its attempts.{then}");
    Action::of(label, href, consequence, why::Remedy::RetryLane { webhook_id, lane }.into(), api)
}

/// Cancels it, or replays it.
fn settle(delivery: &Delivery, api: &ApiAddress) -> Option<Action> {
    let (webhook, id) = (delivery.webhook_id, delivery.message_id);
    let action = |label, verb: &str, consequence: String| Action {
        label,
        href: format!("deliveries/{webhook}/{id}/{verb}"),
        consequence,
        danger: verb == "cancel",
        lines: Lines::new(
            api,
            &Method::POST,
            &format!("/webhooks/{webhook}/deliveries/{id}/{verb}"),
            None,
            format!("pgtopic deliveries {verb} {webhook} {id}"),
        ),
    };
    let place =
        "Its place is among the messages of its lane that are still owed. It carries webhook-replay: true.";
    let text = match delivery.status {
        // It may be on its way.
        DeliveryStatus::InFlight => return None,
        DeliveryStatus::Pending | DeliveryStatus::Retrying | DeliveryStatus::Halted => {
            let said = format!(
                "Message {id} is not sent to this webhook any more, and nothing waits for it. It is kept as a dead letter \
                 of the reason canceled, so it can be replayed."
            );
            return Some(action("Cancel this one", "cancel", said));
        }
        DeliveryStatus::Delivered => {
            format!("It was accepted already: its receiver gets it a second time. {place}")
        }
        DeliveryStatus::Dead => format!("It is delivered once more, and its dead letter goes. {place}"),
        DeliveryStatus::Canceled | DeliveryStatus::Superseded => format!("It is owed again. {place}"),
    };
    Some(action("Replay this one", "replay", text))
}
