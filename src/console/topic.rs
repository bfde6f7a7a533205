//! The screen of a topic: its webhooks, its newest messages as they come, and what can be done.

use askama::Template;
use axum::{
    extract::{Path, Query},
    http::Method,
    response::Redirect,
};
use jiff::Timestamp;
use serde::Deserialize;

use super::{
    actions::{Action, Actions, Lines},
    failure::Failure,
    frame::{Screen, Section},
    publish,
    text::{self, Badge},
    topics::{badge, kept, ordering, reference, webhooks},
    visitor::{ApiAddress, Visitor},
};
use crate::domain::{
    message::{LOOKED_AT_MAX, MessageFilter, MessageSummary},
    page::PageRequest,
    shell::quote,
    topic::{Topic, TopicPause, is_reserved},
    webhook::Webhook,
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
    more_hooks: bool,
    messages: Vec<Message>,
    asked: &'a Asked,
    next: Option<String>,
    /// How many messages a page looks at.
    looked_at: String,
    /// A message of the topic as SQL; `None` if nobody may publish to it.
    insert: Option<String>,
    paused: Option<TopicPause>,
    may_publish: bool,
    may_pause: bool,
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
    let (webhooks, more_hooks) = webhooks(broker, &reference).await?;
    let filter = MessageFilter {
        partition_key: text::given(&asked.partition_key),
        message_type: text::given(&asked.kind),
        ..MessageFilter::default()
    };
    let page = PageRequest { limit: Some(50), after: text::given(&asked.after) };
    let messages = broker.list_messages(&reference, &filter, page).await?;
    let now = Timestamp::now();
    let topic = &status.topic;
    let takes_messages = !is_reserved(&topic.name);
    let view = View {
        name: &topic.name,
        badge: badge(topic.paused),
        ordering: ordering(topic.ordering),
        kept: kept(topic.retention_seconds),
        backlog: text::count(status.backlog, status.backlog_capped),
        hooks: webhooks.iter().map(hook).collect(),
        more_hooks,
        messages: messages.items.iter().map(|message| summary(message, now)).collect(),
        asked: &asked,
        next: messages.next.map(|next| next.to_string()),
        looked_at: text::count(LOOKED_AT_MAX, false),
        insert: takes_messages.then(|| insert(broker.schema_in_sql(), &topic.name)),
        paused: topic.paused,
        may_publish: takes_messages && visitor.may(&Method::POST, "/topics/{topic}/messages"),
        may_pause: visitor.may(&Method::POST, "/topics/{topic}/pause"),
    };
    let screen = Screen::live(format!("Topic {}", topic.name), Section::Topics, &view)?;
    let mut still = String::new();
    if view.may_publish {
        still.push_str(&publish::example(&visitor.api, topic)?.render()?);
    }
    if view.may_pause {
        still.push_str(&Actions { actions: actions(topic, &view.backlog, &visitor.api) }.render()?);
    }
    Ok(screen.followed_by(still))
}

/// A message as SQL. The name of a topic needs no escape.
pub(super) fn insert(schema: &str, topic: &str) -> String {
    format!(
        "INSERT INTO {schema}.messages (topic_id, partition_key, payload)\n\
         SELECT id, 'user-42', '{{\"event\": \"order.paid\"}}' FROM {schema}.topics WHERE name = '{topic}';"
    )
}

/// What can be done, and what follows.
fn actions(topic: &Topic, owed: &str, api: &ApiAddress) -> Vec<Action> {
    let name = &topic.name;
    let pause = |label, mode: TopicPause, consequence: String| Action {
        label,
        href: format!("topics/{name}/{}", mode.as_str()),
        consequence,
        danger: true,
        lines: Lines::new(
            api,
            &Method::POST,
            &format!("/topics/{name}/pause"),
            Some(&serde_json::json!({"mode": mode.as_str()})),
            format!("pgtopic topics pause {} --mode {}", quote(name), mode.as_str()),
        ),
    };
    let resume = || {
        let consequence = match topic.paused {
            Some(TopicPause::Refuse) => "The topic takes messages again.".to_owned(),
            _ => format!("Sending goes on: {owed} owed, and what comes."),
        };
        Action {
            label: "Resume",
            href: format!("topics/{name}/resume"),
            consequence,
            danger: false,
            lines: Lines::new(
                api,
                &Method::POST,
                &format!("/topics/{name}/resume"),
                None,
                format!("pgtopic topics resume {}", quote(name)),
            ),
        }
    };
    let hold = || {
        let said = format!(
            "Messages are accepted and owed, and nothing of the topic is sent: the backlog grows from {owed}. Nothing is \
             lost."
        );
        pause("Hold", TopicPause::Hold, said)
    };
    let refuse = || {
        let said = "Publishers get an error: their transactions fail. What is owed is still sent.";
        pause("Refuse messages", TopicPause::Refuse, said.to_owned())
    };
    match topic.paused {
        None => vec![hold(), refuse()],
        Some(TopicPause::Hold) => vec![resume(), refuse()],
        Some(TopicPause::Refuse) => vec![resume(), hold()],
    }
}

pub(super) async fn act(
    visitor: Visitor,
    Path((name, action)): Path<(String, String)>,
) -> Result<Redirect, Failure> {
    let reference = reference(&name)?;
    if action == "resume" {
        visitor.broker(&[(&Method::POST, "/topics/{topic}/resume")])?.resume_topic(&reference).await?;
    } else {
        let mode = TopicPause::parse(&action).ok_or_else(|| Failure::not_found("there is no such action"))?;
        visitor.broker(&[(&Method::POST, "/topics/{topic}/pause")])?.pause_topic(&reference, mode).await?;
    }
    Ok(Redirect::to(&format!("../{name}")))
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
