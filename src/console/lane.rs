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
    lanes::{due, href, reference},
    text::{self, Badge},
    timeline::{self, EventRow},
    visitor::{ApiAddress, Visitor},
};
use crate::{
    api::schema::Remedy,
    broker::Broker,
    domain::{
        lane::{Lane, LaneName, LaneRetry, LaneState},
        lane_history::LaneHistory,
        shell::quote,
        topic::TopicRef,
        webhook_ref::WebhookRef,
        why::{self, Entry},
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
    more: i64,
    more_capped: bool,
    events: Vec<EventRow>,
    rows_max: usize,
}

/// How a lane is that owes something.
#[derive(Debug, PartialEq, Eq)]
struct Standing {
    badge: Badge,
    head: Option<i64>,
    behind: String,
    oldest: String,
    failures: i32,
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
    /// The messages behind it, and the one that is tried next.
    behind: String,
    plural: &'static str,
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
    let shown = history.messages.iter().filter(|message| message.owed).count();
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
        more: lane.map_or(0, |lane| lane.owed - i64::try_from(shown).unwrap_or_default()).max(0),
        more_capped: lane.is_some_and(|lane| lane.owed_capped),
        events: timeline::events(&history),
        rows_max: timeline::ROWS_MAX,
    };
    let screen = Screen::live(title, Section::Lanes, &view)?;
    let mut still = Still { actions: Vec::new(), skip: None };
    if let Some(lane) = lane {
        if visitor.may(&Method::POST, "/webhooks/{webhook}/lanes/retry") {
            still.actions.extend(retry(lane, &asked, &visitor.api));
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
    let webhooks = match (&asked.partition_key, asked.message_id) {
        (Some(key), _) => {
            let topic = TopicRef::Name(history.webhook.topic.clone());
            broker.explain_partition(&topic, key).await?.webhooks
        }
        (None, id) => match broker.explain_message(id.unwrap_or_default()).await {
            Ok(why) => why.webhooks,
            // A message that was deleted is explained by nothing but its row.
            Err(crate::broker::BrokerError::NotFound(_)) => Vec::new(),
            Err(error) => return Err(error.into()),
        },
    };
    Ok(webhooks.into_iter().find(|entry| entry.webhook_id == history.webhook.id))
}

fn standing(lane: &Lane, now: Timestamp) -> Standing {
    let head = lane.head.as_ref();
    Standing {
        badge: Badge::of_lane(lane.state),
        head: head.map(|head| head.message_id),
        behind: text::count((lane.owed - 1).max(0), lane.owed_capped),
        oldest: head
            .and_then(|head| head.created_at)
            .map_or_else(|| "deleted".to_owned(), |at| text::age(now, at)),
        failures: lane.failures,
        due: due(lane, now),
        worker: lane.worker.map(|worker| worker.to_string()),
    }
}

/// Tries the head now. A halted lane is released. Other lanes are sent already.
fn retry(lane: &Lane, asked: &Asked, api: &ApiAddress) -> Option<Action> {
    let head = lane.head.as_ref()?.message_id;
    let behind = text::count(lane.owed - 1, lane.owed_capped);
    let (label, consequence) = match lane.state {
        LaneState::Waiting => (
            "Try now",
            format!(
                "Message {head} is tried at once. Its failures count as 0 again, so all its attempts are left."
            ),
        ),
        LaneState::Halted => (
            "Release",
            format!(
                "Message {head} is tried at once, with all its attempts, and {behind} behind it follow when it is \
                 accepted. If it fails as before, the lane halts again."
            ),
        ),
        LaneState::Ready | LaneState::Claimed => return None,
    };
    let remedy = why::Remedy::RetryLane { webhook_id: lane.key.webhook_id, lane: asked.name() };
    Action::of(label, query("lane/retry", asked, None), consequence, remedy.into(), api)
}

/// The link that asks whether the head is to be skipped.
fn skip(lane: &Lane, asked: &Asked) -> Option<(String, String)> {
    let head = lane.head.as_ref()?.message_id;
    let behind = text::count(lane.owed - 1, lane.owed_capped);
    (lane.state != LaneState::Claimed).then(|| {
        let said = format!(
            "Message {head} goes to the dead letters, and {behind} behind it no longer wait for it. It can be replayed."
        );
        (query("lane/skip", asked, Some(head)), said)
    })
}

/// An address below that of the console which names a lane.
fn query(path: &str, asked: &Asked, head: Option<i64>) -> String {
    let mut query = form_urlencoded::Serializer::for_suffix(format!("{path}?"), path.len() + 1);
    query.append_pair("webhook", &asked.webhook);
    if let Some(key) = &asked.partition_key {
        query.append_pair("partition_key", key);
    }
    match (head, asked.message_id) {
        (Some(head), _) => query.append_pair("head", &head.to_string()),
        (None, Some(id)) => query.append_pair("message_id", &id.to_string()),
        (None, None) => &mut query,
    };
    query.finish()
}

/// Tries a lane now. The address names it: a browser would change line breaks of a key in a form.
pub(super) async fn retry_now(visitor: Visitor, Query(asked): Query<Asked>) -> Result<Redirect, Failure> {
    let broker = visitor.broker(&[(&Method::POST, "/webhooks/{webhook}/lanes/retry")])?;
    let retry = LaneRetry { lane: asked.name(), state: None, all: false };
    broker.retry_lanes(&reference(&asked.webhook)?, &retry).await?;
    Ok(Redirect::to(&format!("../{}", query("lane", &asked, None))))
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
    let key_flag = skipped.partition_key.as_deref().map(|key| format!(" --partition-key={}", quote(key)));
    let question = Question {
        webhook: format!("{}:{}", history.webhook.topic, history.webhook.name),
        head,
        behind: text::count(lane.owed - 1, lane.owed_capped),
        plural: if lane.owed == 2 { "" } else { "s" },
        halted: lane.state == LaneState::Halted,
        action: query("lane/skip", &asked, Some(head)),
        back: href("lane", id, skipped.partition_key.as_deref().unwrap_or_default(), asked.message_id),
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
    Ok(Redirect::to(&format!("../{}", query("lane", &skipped.lane(), None))))
}

impl Skipped {
    /// The lane: without a partition key the message names it.
    fn lane(&self) -> Asked {
        let message_id = self.partition_key.is_none().then_some(self.head);
        Asked { webhook: self.webhook.clone(), partition_key: self.partition_key.clone(), message_id }
    }
}
