//! The routes of tails: server-sent events.
//!
//! No time limit of a request counts for a stream. It ends after [`LASTS`], or when the process
//! ends; a browser then opens it again. The comments show each side that the other is there.

use std::{convert::Infallible, time::Duration};

use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures_util::{
    StreamExt as _,
    stream::{self, Stream},
};
use tokio::time::Instant;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::Caller,
    error::{ApiError, Problems},
    extract::{TopicPath, WebhookPath},
    schema::{TailAttempt, TailLeftOut, TailMessage},
    state::ApiState,
};
use crate::{broker::Tail, domain::tail::TailItem};

/// How long a stream lasts.
const LASTS: Duration = Duration::from_mins(10);
/// How long nothing may come before a comment does.
const COMMENT: Duration = Duration::from_secs(15);

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(tail_topic)).routes(routes!(tail_webhook))
}

/// Watch what is published to a topic, as server-sent events.
///
/// This is a view: above 100 messages a second it shows a sample, and says so in an event
/// `left_out`. A comment comes every 15 s. A stream ends after 10 minutes. At most 100 are open in
/// one process.
#[utoipa::path(
    get, path = "/topics/{topic}/tail", tag = "topics", params(("topic" = String, Path, description = "Id or name.")),
    responses(
        (status = 200, description = "Events `message`, `left_out` and, at the end, `end`.", body = TailMessage,
         content_type = "text/event-stream"),
        Problems,
    ),
)]
async fn tail_topic(caller: Caller, TopicPath(topic): TopicPath) -> Result<Response, ApiError> {
    Ok(respond(caller.broker.tail_topic(&topic).await?))
}

/// Watch the requests that are made to a webhook, as server-sent events.
///
/// They come from the attempt log, so a little later than they were made. This is a view: above 100
/// requests a second it shows a sample, and says so in an event `left_out`. A comment comes every 15
/// s. A stream ends after 10 minutes. At most 100 are open in one process.
#[utoipa::path(
    get, path = "/webhooks/{webhook}/tail", tag = "webhooks",
    params(("webhook" = String, Path, description = "Id, or `topic:name`.")),
    responses(
        (status = 200, description = "Events `attempt`, `left_out` and, at the end, `end`.", body = TailAttempt,
         content_type = "text/event-stream"),
        Problems,
    ),
)]
async fn tail_webhook(caller: Caller, WebhookPath(webhook): WebhookPath) -> Result<Response, ApiError> {
    Ok(respond(caller.broker.tail_webhook(&webhook).await?))
}

fn respond(tail: Tail) -> Response {
    let items = stream::unfold(tail, async |mut tail| Some((tail.next().await?, tail)));
    let comments = KeepAlive::new().interval(COMMENT).text("still here");
    // Proxies such as nginx pass each event on at once.
    let headers = [("x-accel-buffering", "no")];
    (headers, Sse::new(events(items, LASTS)).keep_alive(comments)).into_response()
}

/// The events of some items: a comment first, so that the client learns that it is connected, and an
/// `end` last.
fn events<T: AsRef<TailItem>>(
    items: impl Stream<Item = T>,
    lasts: Duration,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let first = stream::once(async { Event::default().comment("connected") });
    let over = tokio::time::sleep_until(Instant::now() + lasts);
    let end = stream::once(async { Event::default().event("end").data("{}") });
    first.chain(items.take_until(over).map(|item| event(item.as_ref()))).chain(end).map(Ok)
}

fn event(item: &TailItem) -> Event {
    let written = match item {
        TailItem::Message(message) => {
            let event = Event::default().event("message").id(message.id.to_string());
            event.json_data(TailMessage::from(message))
        }
        TailItem::Attempt(attempt) => Event::default().event("attempt").json_data(TailAttempt::from(attempt)),
        TailItem::LeftOut(left_out) => {
            Event::default().event("left_out").json_data(TailLeftOut::from(left_out))
        }
    };
    // These types always have a JSON form.
    written.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use std::sync::Arc;

    use super::*;
    use crate::domain::tail::LeftOut;

    #[tokio::test]
    async fn a_stream_begins_with_a_comment_and_ends_after_its_time() {
        let item = Arc::new(TailItem::LeftOut(LeftOut { shown: 3, of: 9, at_least: true }));
        let items = stream::once(async move { item }).chain(stream::pending());
        let body = Sse::new(events(items, Duration::from_millis(20))).into_response().into_body();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let left_out = "event: left_out\ndata: {\"shown\":3,\"of\":9,\"at_least\":true}";
        assert_eq!(text, format!(": connected\n\n{left_out}\n\nevent: end\ndata: {{}}\n\n"));
    }
}
