//! The screen of a topic: its webhooks, its newest messages, and a form that publishes.

use askama::Template;
use axum::{
    Form,
    extract::{Path, Query},
    http::Method,
    response::Redirect,
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    actions::Lines,
    failure::Failure,
    frame::{Screen, Section},
    text::{self, Badge},
    topics::{badge, kept, ordering},
    visitor::Visitor,
};
use crate::{
    broker::Broker,
    domain::{
        message::{MessageFilter, MessageSummary, NewMessage},
        page::PageRequest,
        shell::quote,
        topic::TopicRef,
        webhook::{Webhook, WebhookFilter},
    },
};

/// The filter of the messages.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default)]
    partition_key: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    after: String,
}

/// The form that publishes.
#[derive(Debug, Deserialize)]
pub(super) struct Given {
    payload: String,
    #[serde(default)]
    partition_key: String,
    #[serde(default)]
    r#type: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Message {
    id: i64,
    key: String,
    kind: String,
    time: String,
    age: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Hook {
    id: i64,
    name: String,
    badge: Badge,
    /// Which messages it gets.
    gets: String,
    url: String,
}

#[derive(Template)]
#[template(path = "topic.html")]
struct View<'a> {
    name: &'a str,
    badge: Badge,
    ordering: &'static str,
    kept: String,
    backlog: String,
    hooks: Vec<Hook>,
    messages: Vec<Message>,
    asked: &'a Asked,
    next: Option<String>,
    schema: &'a str,
}

#[derive(Template)]
#[template(path = "publish.html")]
struct PublishForm<'a> {
    name: &'a str,
    hooks: Vec<Hook>,
    lines: Lines,
}

/// A topic that a path names.
fn reference(name: &str) -> Result<TopicRef, Failure> {
    TopicRef::parse(name).ok_or_else(|| crate::broker::BrokerError::no_topic(name).into())
}

pub(super) async fn show(
    visitor: Visitor,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Screen, Failure> {
    let reads = [
        (&Method::GET, "/topics/{topic}"),
        (&Method::GET, "/topics/{topic}/webhooks"),
        (&Method::GET, "/topics/{topic}/messages"),
    ];
    let broker = visitor.broker(&reads)?;
    let reference = reference(&name)?;
    let status = broker.get_topic(&reference).await?;
    let webhooks = webhooks(broker, &reference).await?;
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let filter = MessageFilter {
        partition_key: given(&asked.partition_key),
        message_type: given(&asked.kind),
        ..MessageFilter::default()
    };
    let page = PageRequest { limit: Some(50), after: given(&asked.after) };
    let messages = broker.list_messages(&reference, &filter, page).await?;
    let now = Timestamp::now();
    let topic = &status.topic;
    let view = View {
        name: &topic.name,
        badge: badge(topic.paused),
        ordering: ordering(topic.ordering),
        kept: kept(topic.retention_seconds),
        backlog: text::count(status.backlog, status.backlog_capped),
        hooks: webhooks.iter().map(hook).collect(),
        messages: messages.items.iter().map(|message| summary(message, now)).collect(),
        asked: &asked,
        next: messages.next.map(|next| next.to_string()),
        schema: broker.schema_name(),
    };
    let screen = Screen::live(format!("Topic {}", topic.name), Section::Topics, &view)?;
    if !visitor.may(&Method::POST, "/topics/{topic}/messages") {
        return Ok(screen);
    }
    let body = serde_json::json!({"partition_key": "user-42", "payload": {"event": "order.paid"}});
    let path = format!("/topics/{}/messages", topic.name);
    let payload = quote(r#"{"event": "order.paid"}"#);
    let cli = format!("pgtopic publish {} {payload} --partition-key user-42", quote(&topic.name));
    screen.with(&PublishForm {
        name: &topic.name,
        hooks: webhooks.iter().map(hook).collect(),
        lines: Lines::new(&visitor.api, &Method::POST, &path, Some(&body), cli),
    })
}

async fn webhooks(broker: &Broker, topic: &TopicRef) -> Result<Vec<Webhook>, Failure> {
    let filter = WebhookFilter { topic: Some(topic.clone()), state: None };
    let page = PageRequest { limit: Some(100), after: None };
    Ok(broker.list_webhooks(&filter, page).await?.items)
}

pub(super) async fn publish(
    visitor: Visitor,
    Path(name): Path<String>,
    Form(given): Form<Given>,
) -> Result<Redirect, Failure> {
    let broker = visitor.broker(&[(&Method::POST, "/topics/{topic}/messages")])?;
    let payload: Box<RawValue> = serde_json::from_str(&given.payload)
        .map_err(|error| Failure::field("payload", &format!("must be JSON: {error}")))?;
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    let message = NewMessage {
        payload,
        partition_key: text(given.partition_key),
        r#type: text(given.r#type),
        headers: None,
        idempotency_key: None,
    };
    let published = broker.publish_message(&reference(&name)?, &message).await?;
    Ok(Redirect::to(&format!("../../messages/{}", published.id)))
}

fn hook(webhook: &Webhook) -> Hook {
    let types = webhook.types.as_ref().map(|types| format!("types {}", types.join(", ")));
    let filter = webhook.filter.as_ref().map(|filter| format!("filter {}", text::line(filter)));
    let rules: Vec<String> = [types, filter].into_iter().flatten().collect();
    Hook {
        id: webhook.id,
        name: webhook.name.clone(),
        badge: Badge::of_webhook(webhook.health.state),
        gets: if rules.is_empty() { "every message".to_owned() } else { rules.join("; ") },
        url: text::line(&webhook.url),
    }
}

fn summary(message: &MessageSummary, now: Timestamp) -> Message {
    Message {
        id: message.id,
        key: text::line(&message.partition_key),
        kind: message.r#type.as_deref().map(text::line).unwrap_or_default(),
        time: text::time(message.created_at),
        age: text::age(now, message.created_at),
    }
}
