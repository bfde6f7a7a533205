//! The screen of a lane: how it is and why, its timeline, and what can be done.

use askama::Template;
use axum::{extract::Query, http::Method, response::Redirect};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::{
    actions::{Action, Advice, Lines},
    failure::Failure,
    frame::{Screen, Section},
    lanes::{due, href, reference, tried},
    text::{self, Badge},
    timeline::{self, EventRow},
    visitor::{ApiAddress, Visitor},
};
use crate::{
    api::schema::Remedy,
    broker::{Broker, BrokerError, RetriedLanes},
    domain::{
        lane::{Lane, LaneName, LaneRetry, LaneState},
        lane_history::LaneHistory,
        shell::flag,
        topic::TopicRef,
        webhook_ref::WebhookRef,
        why::{self, Entry, Reason},
    },
};

/// Which lane, as the address has it: a partition key names it, or on an unordered topic a message.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    webhook: String,
    partition_key: Option<String>,
    message_id: Option<i64>,
}

/// The same, and the message that is to be skipped.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Skipped {
    webhook: String,
    partition_key: Option<String>,
    head: i64,
}

#[derive(Template)]
#[template(path = "lane.html")]
struct View {
    webhook_id: i64,
    webhook: String,
    topic: String,
    key: Option<String>,
    raw_key: String,
    message_id: Option<i64>,
    now: Option<Standing>,
    why: Option<Why>,
    drawing: Option<String>,
    /// How many messages wait that are not shown, and `wait` or `waits`.
    more: Option<(String, &'static str)>,
    events: Vec<EventRow>,
    rows_max: usize,
}

/// How a lane is that owes something.
#[derive(Debug, PartialEq, Eq)]
struct Standing {
    badge: Badge,
    head: Option<i64>,
    behind: String,
    /// When the head was published, or that it was deleted.
    published: String,
    failures: i32,
    /// `attempt` or `attempts`.
    attempts: String,
    due: String,
    worker: Option<String>,
}

/// Why its head is where it is.
#[derive(Debug, PartialEq, Eq)]
struct Why {
    text: String,
    advice: Option<Advice>,
}

#[derive(Template)]
#[template(path = "lane_still.html")]
struct Still {
    actions: Vec<Action>,
    /// The link that skips the head, and what follows.
    skip: Option<(String, String)>,
}

#[derive(Template)]
#[template(path = "lane_skip.html")]
struct Question {
    webhook: String,
    head: i64,
    /// The messages behind it, if there are some: `1 follower` and `waits`.
    behind: Option<(String, &'static str)>,
    halted: bool,
    action: String,
    back: String,
    lines: Lines,
}

impl Asked {
    fn name(&self) -> LaneName {
        LaneName { partition_key: self.partition_key.clone(), message_id: self.message_id }
    }
}

/// The reads of the API that this screen shows.
const READS: [(&Method, &str); 2] = [
    (&Method::GET, "/webhooks/{webhook}/lanes"),
    (&Method::GET, "/webhooks/{webhook}/deliveries/{message_id}/attempts"),
];

pub(super) async fn show(visitor: Visitor, Query(asked): Query<Asked>) -> Result<Screen, Failure> {
    let broker = visitor.broker(&READS)?;
    let history = broker.get_lane_history(&reference(&asked.webhook)?, &asked.name()).await?;
    let why = why(broker, &history, &asked).await?;
    let now = Timestamp::now();
    let lane = history.lane.as_ref().filter(|lane| lane.head.is_some());
    let reason = why.as_ref().and_then(|entry| entry.verdict.reason());
    let more = lane.map(|lane| (lane.owed - timeline::owed_shown(&history), lane.owed_capped));
    let title = match &asked.partition_key {
        Some(key) => format!("Lane {}", text::line(key)),
        None => format!("Lane of message {}", asked.message_id.unwrap_or_default()),
    };
    let view = View {
        webhook_id: history.webhook.id,
        webhook: history.webhook.name.clone(),
        topic: history.webhook.topic.clone(),
        key: asked.partition_key.as_deref().map(text::line),
        raw_key: asked.partition_key.clone().unwrap_or_default(),
        message_id: asked.message_id,
        now: lane.map(|lane| standing(lane, now)),
        why: why.map(|entry| Why {
            text: entry.text,
            advice: entry.remedy.map(|remedy| Advice::of(Remedy::from(remedy), &visitor.api)),
        }),
        drawing: timeline::draw(&history, now),
        more: more.and_then(|(more, capped)| waiting(more, capped)),
        events: timeline::events(&history),
        rows_max: timeline::ROWS_MAX,
    };
    let screen = Screen::live(title, Section::Lanes, &view)?;
    let mut still = Still { actions: Vec::new(), skip: None };
    if let Some(lane) = lane {
        if visitor.may(&Method::POST, "/webhooks/{webhook}/lanes/retry") {
            still.actions.extend(retry(lane, &asked, reason, &visitor.api));
        }
        if visitor.may(&Method::POST, "/webhooks/{webhook}/lanes/skip") {
            still.skip = skip(lane, &asked);
        }
    }
    screen.with(&still)
}

/// Why the head of the lane is where it is.
async fn why(broker: &Broker, history: &LaneHistory, asked: &Asked) -> Result<Option<Entry>, Failure> {
    if history.lane.as_ref().is_none_or(|lane| lane.head.is_none()) {
        return Ok(None);
    }
    let webhook = Some(history.webhook.id);
    let webhooks = match (&asked.partition_key, asked.message_id) {
        (Some(key), _) => {
            let topic = TopicRef::Name(history.webhook.topic.clone());
            broker.explain_partition(&topic, key, webhook).await?.webhooks
        }
        (None, id) => match broker.explain_message(id.unwrap_or_default(), webhook).await {
            Ok(why) => why.webhooks,
            // A message that was deleted is explained by nothing but its row.
            Err(BrokerError::NotFound(_)) => Vec::new(),
            Err(error) => return Err(error.into()),
        },
    };
    Ok(webhooks.into_iter().next())
}

/// So many messages, and `wait` or `waits`; `None` if there are none.
fn waiting(number: i64, capped: bool) -> Option<(String, &'static str)> {
    let wait = if number == 1 && !capped { "waits" } else { "wait" };
    (number > 0 || capped).then(|| (text::count(number.max(0), capped), wait))
}

fn standing(lane: &Lane, now: Timestamp) -> Standing {
    let head = lane.head.as_ref();
    Standing {
        badge: Badge::of_lane(lane.state),
        head: head.map(|head| head.message_id),
        behind: text::count((lane.owed - 1).max(0), lane.owed_capped),
        published: head
            .and_then(|head| head.created_at)
            .map_or_else(|| "deleted".to_owned(), |at| format!("published {} ago", text::age(now, at))),
        failures: lane.failures,
        attempts: text::plural(lane.failures.into(), "attempt"),
        due: due(lane, now),
        worker: lane.worker.map(text::worker),
    }
}

/// Tries the head now. A halted lane is released. Other lanes are sent already. `reason`: why the
/// head waits.
fn retry(lane: &Lane, asked: &Asked, reason: Option<Reason>, api: &ApiAddress) -> Option<Action> {
    let head = lane.head.as_ref()?.message_id;
    let when = reason.and_then(tried).unwrap_or("at once");
    let (label, consequence) = match lane.state {
        LaneState::Waiting => (
            "Try now",
            format!(
                "Message {head} is tried {when}. Its failures count as 0 again, so all its attempts are left."
            ),
        ),
        LaneState::Halted => {
            let behind = waiting(lane.owed - 1, lane.owed_capped);
            let behind =
                behind.map(|(behind, wait)| format!(" {behind} behind it {wait} until it is accepted."));
            (
                "Release",
                format!(
                    "Message {head} is tried {when}, with all its attempts.{} If it fails as before, the lane halts again.",
                    behind.unwrap_or_default()
                ),
            )
        }
        LaneState::Ready | LaneState::Claimed => return None,
    };
    let remedy = why::Remedy::RetryLane { webhook_id: lane.key.webhook_id, lane: asked.name() };
    let href = href("lane/retry", &asked.webhook, &asked.name());
    Action::of(label, href, consequence, remedy.into(), api)
}

/// The link that asks whether the head is to be skipped.
fn skip(lane: &Lane, asked: &Asked) -> Option<(String, String)> {
    let head = lane.head.as_ref()?.message_id;
    let behind = waiting(lane.owed - 1, lane.owed_capped);
    let behind = behind.map(|(behind, wait)| format!(", and {behind} behind it no longer {wait} for it"));
    (lane.state != LaneState::Claimed).then(|| {
        let behind = behind.unwrap_or_default();
        let said = format!("Message {head} goes to the dead letters{behind}. It can be replayed.");
        (skip_href(asked, head), said)
    })
}

/// The address that skips the head of a lane.
fn skip_href(asked: &Asked, head: i64) -> String {
    // Without a partition key the message names the lane.
    let lane = LaneName { message_id: None, ..asked.name() };
    format!("{}&head={head}", href("lane/skip", &asked.webhook, &lane))
}

/// Tries a lane now. The address names it: a browser would change line breaks of a key in a form.
pub(super) async fn retry_now(visitor: Visitor, Query(asked): Query<Asked>) -> Result<Redirect, Failure> {
    let broker = visitor.broker(&[(&Method::POST, "/webhooks/{webhook}/lanes/retry")])?;
    let retry = LaneRetry { lane: asked.name(), state: None, all: false };
    match broker.retry_lanes(&reference(&asked.webhook)?, &retry).await? {
        RetriedLanes::Now(0) => Err(Failure::conflict(
            "nothing was changed: a worker holds the lane, so its head is tried now".to_owned(),
        )),
        _ => Ok(Redirect::to(&format!("../{}", href("lane", &asked.webhook, &asked.name())))),
    }
}

/// Says what follows, before the head is skipped.
pub(super) async fn ask(visitor: Visitor, Query(skipped): Query<Skipped>) -> Result<Screen, Failure> {
    let broker =
        visitor.broker(&[(&Method::POST, "/webhooks/{webhook}/lanes/skip"), (&Method::GET, READS[0].1)])?;
    let asked = skipped.lane();
    let history = broker.get_lane_history(&reference(&skipped.webhook)?, &asked.name()).await?;
    let (id, head) = (history.webhook.id, skipped.head);
    let lane = history.lane.filter(|lane| lane.head.as_ref().is_some_and(|first| first.message_id == head));
    let lane =
        lane.ok_or_else(|| Failure::not_found(&format!("message {head} is not the head of this lane")))?;
    let key_flag = skipped.partition_key.as_deref().map(|key| format!(" {}", flag("partition-key", key)));
    let behind = waiting(lane.owed - 1, lane.owed_capped);
    let followers = text::plural(lane.owed - 1, "follower");
    let question = Question {
        webhook: format!("{}:{}", history.webhook.topic, history.webhook.name),
        head,
        behind: behind.map(|(behind, wait)| (format!("{behind} {followers}"), wait)),
        halted: lane.state == LaneState::Halted,
        action: skip_href(&asked, head),
        back: href("lane", &id, &asked.name()),
        lines: Lines::new(
            &visitor.api,
            &Method::POST,
            &format!("/webhooks/{id}/lanes/skip"),
            Some(&match &skipped.partition_key {
                Some(key) => json!({"partition_key": key, "message_id": head}),
                None => json!({"message_id": head}),
            }),
            format!("pgtopic lanes skip {id} {head}{}", key_flag.unwrap_or_default()),
        ),
    };
    Screen::still(format!("Skip message {head}"), Section::Lanes, &question)
}

pub(super) async fn skip_head(visitor: Visitor, Query(skipped): Query<Skipped>) -> Result<Redirect, Failure> {
    let broker = visitor.broker(&[(&Method::POST, "/webhooks/{webhook}/lanes/skip")])?;
    let reference: WebhookRef = reference(&skipped.webhook)?;
    broker.skip_lane(&reference, skipped.partition_key.clone(), skipped.head).await?;
    Ok(Redirect::to(&format!("../{}", href("lane", &skipped.webhook, &skipped.lane().name()))))
}

impl Skipped {
    /// The lane: without a partition key the message names it.
    fn lane(&self) -> Asked {
        let message_id = self.partition_key.is_none().then_some(self.head);
        Asked { webhook: self.webhook.clone(), partition_key: self.partition_key.clone(), message_id }
    }
}
