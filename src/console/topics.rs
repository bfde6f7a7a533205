//! The screen Topics.

use askama::Template;
use axum::{extract::Query, http::Method};
use serde::Deserialize;

use super::{
    failure::Failure,
    frame::{Screen, Section},
    text::{self, Badge},
    visitor::Visitor,
};
use crate::{
    broker::{Broker, BrokerError},
    domain::{
        page::PageRequest,
        topic::{Ordering, Topic, TopicPause, TopicRef},
        webhook::{Webhook, WebhookFilter},
    },
};

/// Which page of the list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default)]
    after: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Row {
    name: String,
    badge: Badge,
    ordering: &'static str,
    kept: String,
    created: String,
}

#[derive(Template)]
#[template(path = "topics.html")]
struct View {
    rows: Vec<Row>,
    next: Option<String>,
    is_first: bool,
}

/// A topic that a path names.
pub(super) fn reference(name: &str) -> Result<TopicRef, Failure> {
    TopicRef::parse(name).ok_or_else(|| BrokerError::no_topic(name).into())
}

/// How many webhooks of a topic are shown at most.
pub(super) const WEBHOOKS_SHOWN: i64 = 100;

/// The first webhooks of a topic, and whether there are more.
pub(super) async fn webhooks(broker: &Broker, topic: &TopicRef) -> Result<(Vec<Webhook>, bool), Failure> {
    let filter = WebhookFilter { topic: Some(topic.clone()), state: None };
    let page = PageRequest { limit: Some(WEBHOOKS_SHOWN), after: None };
    let webhooks = broker.list_webhooks(&filter, page).await?;
    Ok((webhooks.items, webhooks.next.is_some()))
}

pub(super) async fn show(visitor: Visitor, Query(asked): Query<Asked>) -> Result<Screen, Failure> {
    let broker = visitor.broker(&[(&Method::GET, "/topics")])?;
    let is_first = asked.after.is_empty();
    let page = PageRequest { limit: Some(100), after: text::given(&asked.after) };
    let topics = broker.list_topics(page).await?;
    let view = View {
        rows: topics.items.iter().map(row).collect(),
        next: topics.next.map(|next| next.to_string()),
        is_first,
    };
    Screen::live("Topics", Section::Topics, &view)
}

fn row(topic: &Topic) -> Row {
    Row {
        name: topic.name.clone(),
        badge: badge(topic.paused),
        ordering: ordering(topic.ordering),
        kept: kept(topic.retention_seconds),
        created: text::time(topic.created_at),
    }
}

/// How a topic's state is told.
pub(super) fn badge(paused: Option<TopicPause>) -> Badge {
    match paused {
        None => Badge::good("open"),
        Some(TopicPause::Refuse) => Badge::bad("refuses messages"),
        Some(TopicPause::Hold) => Badge::warn("held"),
    }
}

pub(super) fn ordering(ordering: Ordering) -> &'static str {
    match ordering {
        Ordering::Partition => "in order by partition key",
        Ordering::None => "in no order",
    }
}

/// How long messages are kept.
pub(super) fn kept(seconds: Option<i64>) -> String {
    match seconds {
        None => "as retention.messages_days says".to_owned(),
        Some(0) => "for ever".to_owned(),
        Some(seconds) if seconds % 86_400 == 0 => format!("{} d", seconds / 86_400),
        Some(seconds) => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_messages_are_kept_is_said_in_days_where_it_can_be() {
        assert_eq!(kept(None), "as retention.messages_days says");
        assert_eq!(kept(Some(0)), "for ever");
        assert_eq!(kept(Some(172_800)), "2 d");
        assert_eq!(kept(Some(90)), "90 s");
    }
}
