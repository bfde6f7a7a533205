//! The screen Webhooks.

use askama::Template;
use axum::{extract::Query, http::Method};
use jiff::Timestamp;
use serde::Deserialize;

use super::{
    failure::Failure,
    frame::{Screen, Section},
    text::{self, Badge},
    visitor::Visitor,
};
use crate::domain::{
    health::HealthState,
    page::PageRequest,
    topic::TopicRef,
    webhook::{Webhook, WebhookFilter},
};

/// The filter of the list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default)]
    topic: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    after: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Row {
    id: i64,
    topic: String,
    name: String,
    badge: Badge,
    since: String,
    owed: String,
    oldest: String,
    dead: String,
    url: String,
}

#[derive(Template)]
#[template(path = "webhooks.html")]
struct View<'a> {
    rows: Vec<Row>,
    asked: &'a Asked,
    states: [HealthState; HealthState::ALL.len()],
    next: Option<String>,
    filtered: bool,
    counted: (String, bool),
}

pub(super) async fn show(visitor: Visitor, Query(asked): Query<Asked>) -> Result<Screen, Failure> {
    let broker = visitor.broker(&[(&Method::GET, "/webhooks")])?;
    let state = match asked.state.as_str() {
        "" => None,
        word => Some(
            HealthState::parse(word).ok_or_else(|| Failure::field("state", "is no state of a webhook"))?,
        ),
    };
    let topic = match asked.topic.as_str() {
        "" => None,
        name => Some(TopicRef::parse(name).ok_or_else(|| crate::broker::BrokerError::no_topic(name))?),
    };
    let filtered = state.is_some() || topic.is_some();
    let page = PageRequest { limit: Some(100), after: text::given(&asked.after) };
    let webhooks = broker.list_webhooks(&WebhookFilter { topic, state }, page).await?;
    let now = Timestamp::now();
    let view = View {
        rows: webhooks.items.iter().map(|webhook| row(webhook, now)).collect(),
        asked: &asked,
        states: HealthState::ALL,
        next: webhooks.next.map(|next| next.to_string()),
        filtered,
        counted: text::counted(now, webhooks.items.first().and_then(|webhook| webhook.health.sampled_at)),
    };
    Screen::live("Webhooks", Section::Webhooks, &view)
}

fn row(webhook: &Webhook, now: Timestamp) -> Row {
    let backlog = webhook.health.backlog;
    let age = |at| text::age(now, at);
    let none = || "–".to_owned();
    Row {
        id: webhook.id,
        topic: webhook.topic.clone(),
        name: webhook.name.clone(),
        badge: Badge::of_webhook(webhook.health.state),
        since: webhook.health.since.map(age).unwrap_or_default(),
        owed: backlog.map_or_else(none, |it| text::count(it.owed, it.owed_capped)),
        oldest: backlog.and_then(|it| it.oldest_owed_at).map_or_else(none, age),
        dead: backlog.map_or_else(none, |it| text::count(it.dead_letters, it.dead_letters_capped)),
        url: text::line(&webhook.url),
    }
}
