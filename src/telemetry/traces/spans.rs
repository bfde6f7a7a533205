//! The three kinds of spans.

use std::{borrow::Cow, collections::HashMap};

use opentelemetry::{
    Context, KeyValue,
    trace::{Link, Span as _, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _},
};
use opentelemetry_sdk::trace::Span;

use super::{Traces, context, traceparent, within};
use crate::domain::{
    attempt::{AttemptResult, ErrorClass, Outcome},
    headers::Headers,
    message::Message,
};

/// A request that publishes.
pub(crate) struct PublishSpan(Option<Span>);

/// What is sent with one request, and where.
pub(crate) struct Outgoing<'a> {
    pub(crate) topic: &'a str,
    pub(crate) webhook: &'a str,
    pub(crate) messages: &'a [Message],
    /// The number of the attempt; 1 is the first.
    pub(crate) attempt: u32,
    /// Scheme, host and port.
    pub(crate) server: (&'a str, &'a str, u16),
}

/// A request to a webhook.
pub(crate) struct DeliverySpan {
    process: Span,
    post: Span,
}

impl Traces {
    /// A request begins that publishes. `traceparent` and `tracestate` are its headers.
    pub(crate) fn publish(&self, traceparent: Option<&str>, tracestate: Option<&str>) -> PublishSpan {
        if self.0.is_none() {
            return PublishSpan(None);
        }
        let named = [("traceparent", traceparent), ("tracestate", tracestate)];
        let headers: HashMap<_, _> = named
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        PublishSpan(self.start("send", SpanKind::Producer, &context(&headers), messaging("send")))
    }

    /// A request to a webhook begins.
    pub(crate) fn deliver(&self, outgoing: &Outgoing<'_>) -> Option<DeliverySpan> {
        let tracer = &self.0.as_ref()?.tracer;
        let Outgoing { topic, webhook, messages, attempt, server: (scheme, host, port) } = *outgoing;
        let mut attributes = messaging("process");
        attributes.extend([
            KeyValue::new("messaging.destination.name", topic.to_owned()),
            KeyValue::new("messaging.destination.subscription.name", webhook.to_owned()),
        ]);
        // One message has one parent. A batch has a link to each.
        let (mut parent, mut links) = (Context::new(), Vec::new());
        if let [message] = messages {
            parent = context(&trace_headers(message));
            attributes.push(KeyValue::new("messaging.message.id", format!("msg_{}", message.id)));
        } else {
            links = messages.iter().filter_map(link).collect();
            attributes.extend(batch_count(Some(messages.len())));
        }
        let builder = tracer.span_builder(format!("process {topic}"));
        let builder = builder.with_kind(SpanKind::Consumer).with_attributes(attributes).with_links(links);
        let consumer = tracer.build_with_context(builder, &parent);
        let mut attributes = vec![
            KeyValue::new("http.request.method", "POST"),
            KeyValue::new("url.scheme", scheme.to_owned()),
            KeyValue::new("server.address", host.to_owned()),
            KeyValue::new("server.port", i64::from(port)),
        ];
        if attempt > 1 {
            attributes.push(KeyValue::new("http.request.resend_count", i64::from(attempt - 1)));
        }
        let client = self.start("POST", SpanKind::Client, &within(consumer.span_context()), attributes)?;
        Some(DeliverySpan { process: consumer, post: client })
    }
}

impl PublishSpan {
    /// Gives a message the context of this span, unless it brings one of its own, or has no room for
    /// it.
    pub(crate) fn mark(&self, headers: &mut Option<Headers>) {
        let Some(span) = &self.0 else { return };
        let mut marked = headers.clone().unwrap_or_default();
        if marked.keys().any(|name| name.eq_ignore_ascii_case("traceparent")) {
            return;
        }
        marked.insert("traceparent".to_owned(), traceparent(span.span_context()));
        if fits(&marked) {
            *headers = Some(marked);
        }
    }

    /// It has published to this topic: one message with this id, or a batch of so many.
    pub(crate) fn published(self, topic: &str, id: Option<i64>, count: Option<usize>) {
        let Some(mut span) = self.0 else { return };
        span.update_name(format!("send {topic}"));
        span.set_attribute(KeyValue::new("messaging.destination.name", topic.to_owned()));
        if let Some(id) = id {
            span.set_attribute(KeyValue::new("messaging.message.id", format!("msg_{id}")));
        }
        if let Some(count) = batch_count(count) {
            span.set_attribute(count);
        }
        span.end();
    }

    /// It was not published; `status` is that of the answer.
    pub(crate) fn failed(self, status: u16) {
        let Some(mut span) = self.0 else { return };
        fail(&mut span, status.to_string().into());
        span.end();
    }
}

impl DeliverySpan {
    /// What the receiver gets as `traceparent`.
    pub(crate) fn traceparent(&self) -> String {
        traceparent(self.post.span_context())
    }

    /// The request has ended; `None`: it was not started.
    pub(crate) fn ended(self, result: Option<&AttemptResult>) {
        let Self { mut process, mut post } = self;
        if let Some(status) = result.and_then(|result| result.status_code) {
            post.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        }
        if result.is_none_or(|result| result.outcome != Outcome::Accepted) {
            // A status says more than its class.
            let error: Cow<'static, str> = match result {
                Some(AttemptResult {
                    status_code: Some(code),
                    error_class: Some(ErrorClass::Status),
                    ..
                }) => code.to_string().into(),
                Some(result) => result.error_class.map_or("other", ErrorClass::as_str).into(),
                None => "not_started".into(),
            };
            fail(&mut post, error.clone());
            fail(&mut process, error);
        }
        post.end();
        process.end();
    }
}

fn messaging(operation: &'static str) -> Vec<KeyValue> {
    vec![
        KeyValue::new("messaging.system", "pgtopic"),
        KeyValue::new("messaging.operation.name", operation),
        KeyValue::new("messaging.operation.type", operation),
    ]
}

fn batch_count(count: Option<usize>) -> Option<KeyValue> {
    let count = i64::try_from(count?).unwrap_or(i64::MAX);
    Some(KeyValue::new("messaging.batch.message_count", count))
}

fn fail(span: &mut Span, error: Cow<'static, str>) {
    span.set_status(Status::error(error.clone()));
    span.set_attribute(KeyValue::new("error.type", error));
}

/// Whether a message may bring these headers.
fn fits(headers: &Headers) -> bool {
    use crate::domain::headers::{HEADERS_BYTES_MAX, HEADERS_MAX, headers_json};
    headers.len() <= HEADERS_MAX && headers_json(headers).len() <= HEADERS_BYTES_MAX
}

/// The headers of a message that say which trace it belongs to.
fn trace_headers(message: &Message) -> HashMap<String, String> {
    let headers = message.headers.as_deref().unwrap_or("{}");
    let headers: HashMap<String, String> = serde_json::from_str(headers).unwrap_or_default();
    let of_trace = |name: &str| ["traceparent", "tracestate"].contains(&name);
    headers
        .into_iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .filter(|(name, _)| of_trace(name))
        .collect()
}

fn link(message: &Message) -> Option<Link> {
    let parent: SpanContext = context(&trace_headers(message)).span().span_context().clone();
    parent.is_valid().then(|| Link::new(parent, vec![], 0))
}
