//! The screen Lanes: what a webhook owes by lane, and how each lane is. Without a webhook: which
//! webhooks have lanes.

use std::fmt::Display;

use askama::Template;
use axum::{extract::Query, http::Method, response::Redirect};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::{
    actions::{Action, Actions, Lines},
    failure::Failure,
    frame::{Screen, Section},
    text::{self, Badge},
    visitor::{ApiAddress, Visitor},
};
use crate::{
    broker::{BrokerError, RetriedLanes},
    domain::{
        health::{HealthState, LaneCounts},
        lane::{Lane, LaneFilter, LaneName, LaneRetry, LaneState},
        page::PageRequest,
        webhook::{Webhook, WebhookFilter},
        webhook_ref::WebhookRef,
        why::Reason,
    },
};

/// How many lanes, and how many webhooks, one page shows.
const SHOWN: i64 = 100;
/// How many webhooks are looked at for those with lanes in a state. All that are found are shown.
const WEBHOOKS_LOOKED_AT: i64 = 1000;

/// The filter, as the address has it. An empty field excludes nothing.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Asked {
    webhook: String,
    state: String,
    partition_key: String,
    after: String,
}

/// A lane in a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LaneRow {
    pub(super) href: String,
    pub(super) key: String,
    pub(super) badge: Badge,
    pub(super) webhook_id: i64,
    pub(super) head: Option<i64>,
    pub(super) owed: String,
    pub(super) oldest: String,
    pub(super) failures: i32,
    pub(super) due: String,
    pub(super) error: String,
}

/// The lanes of a webhook, by state.
#[derive(Debug, PartialEq, Eq)]
struct Hook {
    id: i64,
    name: String,
    badge: Badge,
    /// The word of a state, and how many lanes are in it, if they were counted.
    lanes: [(&'static str, Option<i64>); 4],
}

#[derive(Template)]
#[template(path = "lanes.html")]
struct View<'a> {
    asked: &'a Asked,
    states: [LaneState; LaneState::ALL.len()],
    /// The webhook that is asked for: its id and its name.
    webhook: Option<(i64, String)>,
    lanes: Vec<LaneRow>,
    hooks: Vec<Hook>,
    next: Option<String>,
    filtered: bool,
    /// How many webhooks were looked at.
    looked_at: String,
}

pub(super) async fn show(visitor: Visitor, Query(asked): Query<Asked>) -> Result<Screen, Failure> {
    let state = state(&asked.state)?;
    let limit = if asked.webhook.is_empty() && state.is_some() { WEBHOOKS_LOOKED_AT } else { SHOWN };
    let page = PageRequest { limit: Some(limit), after: text::given(&asked.after) };
    let now = Timestamp::now();
    let mut view = View {
        states: LaneState::ALL,
        webhook: None,
        lanes: Vec::new(),
        hooks: Vec::new(),
        next: None,
        filtered: state.is_some() || (!asked.webhook.is_empty() && !asked.partition_key.is_empty()),
        looked_at: text::count(limit, false),
        asked: &asked,
    };
    let mut still = Actions { actions: Vec::new() };
    if asked.webhook.is_empty() {
        let broker = visitor.broker(&[(&Method::GET, "/webhooks")])?;
        let webhooks = broker.list_webhooks(&WebhookFilter::default(), page).await?;
        view.hooks = webhooks.items.iter().filter_map(|webhook| hook(webhook, state)).collect();
        view.next = webhooks.next.map(|next| next.to_string());
    } else {
        let reads = [(&Method::GET, "/webhooks/{webhook}"), (&Method::GET, "/webhooks/{webhook}/lanes")];
        let broker = visitor.broker(&reads)?;
        let reference = reference(&asked.webhook)?;
        let webhook = broker.get_webhook(&reference).await?;
        let partition_key = text::given(&asked.partition_key);
        let lanes = broker.list_lanes(&reference, &LaneFilter { state, partition_key }, page).await?;
        view.webhook = Some((webhook.id, format!("{}:{}", webhook.topic, webhook.name)));
        view.lanes = lanes.items.iter().map(|lane| row(lane, now)).collect();
        view.next = lanes.next.map(|next| next.to_string());
        let counted = webhook.health.backlog.map(|backlog| backlog.lanes).unwrap_or_default();
        if visitor.may(&Method::POST, "/webhooks/{webhook}/lanes/retry") && asked.partition_key.is_empty() {
            still.actions = retries(webhook.id, webhook.health.state, counted, state, &visitor.api);
        }
    }
    let title =
        view.webhook.as_ref().map_or_else(|| "Lanes".to_owned(), |(_, name)| format!("Lanes of {name}"));
    Screen::live(title, Section::Lanes, &view)?.with(&still)
}

/// Tries all lanes of a state now, for each state that holds lanes up and that is shown.
fn retries(
    id: i64,
    health: HealthState,
    counted: LaneCounts,
    shown: Option<LaneState>,
    api: &ApiAddress,
) -> Vec<Action> {
    let when = reason(health).and_then(tried).map(|when| format!(" It is tried {when}.")).unwrap_or_default();
    let action = |(state, label, number, consequence): (LaneState, &'static str, i64, &str)| {
        let word = state.as_str();
        (number > 0 && shown.is_none_or(|shown| shown == state)).then(|| Action {
            label,
            href: format!("lanes/retry?webhook={id}&state={word}"),
            consequence: format!(
                "{} {word} {}. Each head is due at once.{when} {consequence}",
                text::count(number, false),
                text::plural(number, "lane")
            ),
            danger: false,
            lines: retry_lines(api, id, state),
        })
    };
    let halted = "It has all its attempts. If it fails as before, its lane halts again.";
    let waiting = "Failures count as 0 again, so all attempts are left.";
    [
        (LaneState::Halted, "Release all", counted.halted, halted),
        (LaneState::Waiting, "Try all now", counted.waiting, waiting),
    ]
    .into_iter()
    .filter_map(action)
    .collect()
}

/// The lines that try all lanes of a state now.
pub(super) fn retry_lines(api: &ApiAddress, webhook_id: i64, state: LaneState) -> Lines {
    let word = state.as_str();
    Lines::new(
        api,
        &Method::POST,
        &format!("/webhooks/{webhook_id}/lanes/retry"),
        Some(&json!({"state": word})),
        format!("pgtopic lanes retry {webhook_id} --state {word}"),
    )
}

/// Which lanes are to be tried now.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Retried {
    webhook: String,
    state: String,
}

/// Tries all lanes of a state now. If they are many, a job does it.
pub(super) async fn retry(visitor: Visitor, Query(retried): Query<Retried>) -> Result<Redirect, Failure> {
    let state = state(&retried.state)?;
    let broker = visitor.broker(&[(&Method::POST, "/webhooks/{webhook}/lanes/retry")])?;
    let retry = LaneRetry { state, ..LaneRetry::default() };
    match broker.retry_lanes(&reference(&retried.webhook)?, &retry).await? {
        RetriedLanes::Now(0) => {
            let (webhook, word) = (&retried.webhook, &retried.state);
            Err(Failure::conflict(format!("nothing was changed: no lane of webhook {webhook} is {word} now")))
        }
        RetriedLanes::Now(_) => {
            let mut query = form_urlencoded::Serializer::new(String::new());
            Ok(Redirect::to(&format!("../lanes?{}", query.append_pair("webhook", &retried.webhook).finish())))
        }
        RetriedLanes::Job(job) => Ok(Redirect::to(&format!("../jobs/{}", job.id))),
    }
}

/// A state as an address has it. The empty word is none.
fn state(word: &str) -> Result<Option<LaneState>, Failure> {
    if word.is_empty() {
        return Ok(None);
    }
    let state = LaneState::parse(word).ok_or_else(|| Failure::field("state", "is no state of a lane"))?;
    Ok(Some(state))
}

/// A webhook that an address names.
pub(super) fn reference(text: &str) -> Result<WebhookRef, Failure> {
    WebhookRef::parse(text).ok_or_else(|| BrokerError::no_webhook(text).into())
}

/// The address of a lane, as seen from the folder of the console. `path`: `lane` or `lane/retry`.
pub(super) fn href(path: &str, webhook: &impl Display, lane: &LaneName) -> String {
    let mut query = form_urlencoded::Serializer::for_suffix(format!("{path}?"), path.len() + 1);
    query.append_pair("webhook", &webhook.to_string());
    query.extend_pairs(lane.partition_key.iter().map(|key| ("partition_key", key)));
    query.extend_pairs(lane.message_id.iter().map(|id| ("message_id", id.to_string())));
    query.finish()
}

/// When a head is tried that is due now, and waits for this reason; `None`: at once.
pub(super) fn tried(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::NotSending => Some("when sending is switched on"),
        Reason::Disabled => Some("when the webhook is enabled"),
        Reason::Paused => Some("when the webhook is resumed"),
        Reason::Starting => Some("when the backlog of the webhook has been filled"),
        Reason::TopicHeld => Some("when the topic is resumed"),
        Reason::BreakerOpen => Some("when the receiver answers a probe"),
        Reason::HeldByReceiver => Some("after the pause that the receiver asked for"),
        Reason::NoWorker => Some("when a worker lives"),
        _ => None,
    }
}

/// Why all heads of such a webhook wait.
fn reason(state: HealthState) -> Option<Reason> {
    match state {
        HealthState::Disabled => Some(Reason::Disabled),
        HealthState::Paused => Some(Reason::Paused),
        HealthState::Starting => Some(Reason::Starting),
        HealthState::Open => Some(Reason::BreakerOpen),
        HealthState::Holding => Some(Reason::HeldByReceiver),
        HealthState::Failing | HealthState::Active => None,
    }
}

impl Badge {
    /// The badge of a lane.
    pub(super) fn of_lane(state: LaneState) -> Self {
        match state {
            LaneState::Ready => Self::calm("ready"),
            LaneState::Claimed => Self::good("claimed"),
            LaneState::Waiting => Self::warn("waiting"),
            LaneState::Halted => Self::bad("halted"),
        }
    }
}

pub(super) fn row(lane: &Lane, now: Timestamp) -> LaneRow {
    let head = lane.head.as_ref();
    LaneRow {
        href: href("lane", &lane.key.webhook_id, &lane.name()),
        key: text::line(&lane.partition_key),
        badge: Badge::of_lane(lane.state),
        webhook_id: lane.key.webhook_id,
        head: head.map(|head| head.message_id),
        owed: text::count(lane.owed, lane.owed_capped),
        oldest: head.and_then(|head| head.created_at).map_or_else(|| "–".to_owned(), |at| text::age(now, at)),
        failures: lane.failures,
        due: due(lane, now),
        error: lane.last_error.as_deref().map(text::line).unwrap_or_default(),
    }
}

/// When a lane is tried.
pub(super) fn due(lane: &Lane, now: Timestamp) -> String {
    match (lane.state, lane.due_at) {
        (LaneState::Waiting, Some(due)) => format!("in {}", text::until(now, due)),
        (LaneState::Halted, _) => "never".to_owned(),
        _ => "now".to_owned(),
    }
}

/// A webhook with its lanes; `None` if it has none in the state.
fn hook(webhook: &Webhook, state: Option<LaneState>) -> Option<Hook> {
    let counted = webhook.health.backlog.map(|backlog| backlog.lanes);
    let number = |state| {
        counted.map(|lanes| match state {
            LaneState::Ready => lanes.ready,
            LaneState::Claimed => lanes.claimed,
            LaneState::Waiting => lanes.waiting,
            LaneState::Halted => lanes.halted,
        })
    };
    state.is_none_or(|state| number(state) != Some(0)).then(|| Hook {
        id: webhook.id,
        name: format!("{}:{}", webhook.topic, webhook.name),
        badge: Badge::of_webhook(webhook.health.state),
        lanes: LaneState::ALL.map(|state| (state.as_str(), number(state))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_key_fits_into_the_address_of_a_lane() {
        let lane = LaneName::of_message(true, "a&b=\n'\u{202e}", 9);
        assert_eq!(href("lane", &7, &lane), "lane?webhook=7&partition_key=a%26b%3D%0A%27%E2%80%AE");
        assert_eq!(href("lane", &7, &LaneName::of_message(false, "a", 9)), "lane?webhook=7&message_id=9");
    }
}
