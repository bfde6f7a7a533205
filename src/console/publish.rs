//! Publishes a message. Before that, tells which webhooks get it, and why others do not.

use std::collections::BTreeMap;

use askama::Template;
use axum::{Form, extract::Path, http::Method, response::Redirect};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    actions::{Lines, curl},
    as_curl::BODY_MAX,
    failure::Failure,
    frame::{Screen, Section},
    text::{self, Badge},
    topics::{WEBHOOKS_SHOWN, reference, webhooks},
    visitor::{ApiAddress, Visitor},
};
use crate::domain::{
    headers::Headers,
    health::HealthState,
    message::{NewMessage, Preview},
    shell::{flag, quote, quoted, visible_json},
    topic::{Topic, TopicPause},
    webhook::Webhook,
};

/// The form that publishes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Given {
    payload: String,
    partition_key: String,
    r#type: String,
    /// A header a line: `name: value`.
    headers: String,
}

/// What becomes of the message at one webhook.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    id: i64,
    name: String,
    badge: Badge,
    said: String,
}

#[derive(Template)]
#[template(path = "publish.html")]
pub(super) struct PublishForm<'a> {
    name: &'a str,
    given: Given,
    refuses: bool,
    /// `None` before somebody asks.
    rows: Option<Vec<Row>>,
    /// Whether the topic has more webhooks than are shown.
    more: bool,
    /// `None` if the message is too long for a line.
    lines: Option<Lines>,
}

/// A message as the API takes it.
#[derive(Serialize)]
struct Body<'a> {
    payload: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition_key: &'a Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: &'a Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: &'a Option<Headers>,
}

impl Given {
    fn message(&self) -> Result<NewMessage, Failure> {
        // A browser sends CRLF for each line break. Within strings, JSON has none of them.
        let payload: Box<RawValue> = serde_json::from_str(&self.payload.replace("\r\n", "\n"))
            .map_err(|error| Failure::field("payload", &format!("must be JSON: {error}")))?;
        Ok(NewMessage {
            payload,
            partition_key: text::given(&self.partition_key),
            r#type: text::given(&self.r#type),
            headers: headers(&self.headers)?,
            idempotency_key: None,
        })
    }
}

/// Reads a header a line.
fn headers(text: &str) -> Result<Option<Headers>, Failure> {
    let mut headers = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let pair =
            line.split_once(':').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
        let (name, value) =
            pair.ok_or_else(|| Failure::field("headers", "must have one \"name: value\" a line"))?;
        if headers.insert(name, value).is_some() {
            return Err(Failure::field("headers", "must not have the same name twice"));
        }
    }
    Ok(Some(headers).filter(|headers| !headers.is_empty()))
}

/// The form with an example in it.
pub(super) fn example<'a>(api: &ApiAddress, topic: &'a Topic) -> Result<PublishForm<'a>, Failure> {
    let given = Given { payload: r#"{"event": "order.paid"}"#.to_owned(), ..Given::default() };
    let message = NewMessage { partition_key: Some("user-42".to_owned()), ..given.message()? };
    Ok(PublishForm {
        name: &topic.name,
        refuses: topic.paused == Some(TopicPause::Refuse),
        rows: None,
        more: false,
        lines: lines(api, &topic.name, &message),
        given,
    })
}

/// Tells who gets a message. It publishes nothing.
pub(super) async fn preview(
    visitor: Visitor,
    Path(name): Path<String>,
    Form(given): Form<Given>,
) -> Result<Screen, Failure> {
    let needs = [
        (&Method::POST, "/topics/{topic}/messages"),
        (&Method::GET, "/topics/{topic}"),
        (&Method::GET, "/topics/{topic}/webhooks"),
    ];
    let broker = visitor.broker(&needs)?;
    let message = given.message()?;
    let reference = reference(&name)?;
    let previews = broker.preview_message(&reference, &message).await?;
    let topic = broker.get_topic(&reference).await?.topic;
    let (webhooks, more) = webhooks(broker, &reference).await?;
    let rows = rows(&webhooks, &previews, topic.paused, message.r#type.as_deref());
    let form = PublishForm {
        name: &topic.name,
        refuses: topic.paused == Some(TopicPause::Refuse),
        rows: Some(rows),
        more,
        lines: lines(&visitor.api, &topic.name, &message),
        given,
    };
    Screen::still(format!("Publish to {}", topic.name), Section::Topics, &form)
}

pub(super) async fn publish(
    visitor: Visitor,
    Path(name): Path<String>,
    Form(given): Form<Given>,
) -> Result<Redirect, Failure> {
    let broker = visitor.broker(&[(&Method::POST, "/topics/{topic}/messages")])?;
    let published = broker.publish_message(&reference(&name)?, &given.message()?).await?;
    Ok(Redirect::to(&format!("../../messages/{}", published.id)))
}

/// The same message as lines for a shell; `None` if it is too long for one.
fn lines(api: &ApiAddress, topic: &str, message: &NewMessage) -> Option<Lines> {
    let NewMessage { payload, partition_key, r#type, headers, .. } = message;
    let body = Body { payload, partition_key, r#type, headers };
    // Such a body always has a JSON form.
    let body = serde_json::to_string(&body).unwrap_or_default();
    if visible_json(&body).len() > BODY_MAX {
        return None;
    }
    let mut words = vec![format!("pgtopic publish {}", quote(topic))];
    words.extend(partition_key.as_ref().map(|key| flag("partition-key", key)));
    words.extend(r#type.as_ref().map(|kind| flag("type", kind)));
    words.extend(headers.iter().flatten().map(|(name, value)| flag("header", &format!("{name}={value}"))));
    words.push(format!("-- {}", quoted(&visible_json(payload.get()))));
    let cli = words.join(" ");
    let curl = curl(api, &Method::POST, &format!("/topics/{topic}/messages"), Some(&body));
    Some(Lines { curl: Some(curl), cli })
}

fn rows(
    webhooks: &[Webhook],
    previews: &[Preview],
    paused: Option<TopicPause>,
    kind: Option<&str>,
) -> Vec<Row> {
    let row = |webhook: &Webhook| {
        let preview = previews.iter().find(|preview| preview.webhook_id == webhook.id)?;
        let (badge, said) = verdict(webhook, *preview, paused, kind);
        Some(Row { id: webhook.id, name: webhook.name.clone(), badge, said })
    };
    webhooks.iter().filter_map(row).collect()
}

/// What becomes of the message at one webhook.
fn verdict(
    webhook: &Webhook,
    preview: Preview,
    paused: Option<TopicPause>,
    kind: Option<&str>,
) -> (Badge, String) {
    if !preview.types_match {
        let types = webhook.types.as_ref().map(|types| types.join(", ")).unwrap_or_default();
        let has = kind.map_or_else(|| "no type".to_owned(), |kind| format!("the type {}", text::line(kind)));
        return (Badge::calm("not owed"), format!("The webhook gets {types}. The message has {has}."));
    }
    if !preview.filter_matches {
        let filter = webhook.filter.as_deref().map(text::line).unwrap_or_default();
        return (Badge::calm("not owed"), format!("Its filter excludes the message: {filter}"));
    }
    let waits = match webhook.health.state {
        HealthState::Disabled => Some("It is sent when the webhook is enabled."),
        HealthState::Paused => Some("It is sent when the webhook is resumed."),
        HealthState::Starting => Some("It is sent when the webhook's backlog has been filled."),
        HealthState::Open => Some("Its receiver is down: it is sent when the receiver answers."),
        HealthState::Holding => Some("Its receiver asked for a pause: it is sent after that."),
        _ if paused == Some(TopicPause::Hold) => Some("It is sent when the topic is resumed."),
        _ => None,
    };
    let large = if preview.filter_evaluated {
        ""
    } else {
        " The payload is too large for the filter, which lets it through unread."
    };
    match waits {
        Some(why) => (Badge::warn("waits"), format!("{why}{large}")),
        None if webhook.health.state == HealthState::Failing => {
            (Badge::warn("sent"), format!("But every request fails now.{large}"))
        }
        None => (Badge::good("sent"), format!("It is sent in its turn.{large}")),
    }
}
