//! Server-sent events: the changing part of a screen, again and again.
//!
//! A page asks for its own address once more and accepts a stream. Then its handler is called every
//! [`PERIOD`], or less often if it takes long, with the rights that the session has by then. What
//! differs is sent. A stream ends after [`LASTS`], at the shutdown, and when the handler refuses. If
//! as many streams are open as may be, the answer is one event, and the page asks again after
//! [`POLL`], or later if it takes long. So it is for a page that sends [`ONCE`]: a browser has few
//! connections, so few of its tabs hold streams.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{
        IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use tokio::sync::Semaphore;

use crate::broker::Broker;

/// How often a screen is looked at.
const PERIOD: Duration = Duration::from_secs(2);
/// A look takes at most this part of the time between two looks, as long as that time is less than
/// [`PERIOD_MAX`]. So a page that is made within 300 ms costs the database at most one hundredth of a
/// core, with a stream or without.
const PART: u32 = 100;
/// How rarely a screen is looked at, however long that takes.
const PERIOD_MAX: Duration = Duration::from_secs(30);
/// How soon a page without a stream asks again.
const POLL: Duration = Duration::from_secs(5);
/// Asks for one event.
const ONCE: &str = "x-once";
/// How long a stream lasts.
const LASTS: Duration = Duration::from_mins(10);
/// How long nothing may come before a comment does.
const COMMENT: Duration = Duration::from_secs(15);
/// The most streams in one process.
const STREAMS_MAX: usize = 100;

/// The streams of this process.
pub(super) struct Live {
    open: Arc<Semaphore>,
    broker: Broker,
}

impl Live {
    pub(super) fn new(broker: Broker) -> Self {
        Self { open: Arc::new(Semaphore::new(STREAMS_MAX)), broker }
    }
}

/// Marks a request that wants the changing part of a screen alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part;

/// Whether a request accepts a stream.
pub(super) fn wants_stream(request: &Request) -> bool {
    let accepted = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    request.method() == Method::GET && accepted.is_some_and(|accepted| accepted.contains("text/event-stream"))
}

/// Answers a request that accepts a stream with one. Others pass.
pub(super) async fn stream(State(live): State<Arc<Live>>, request: Request, next: Next) -> Response {
    if !wants_stream(&request) {
        return next.run(request).await;
    }
    let (mut parts, _) = request.into_parts();
    parts.extensions.insert(Part);
    let asked = Instant::now();
    let first = match look(&parts, &next).await {
        Ok(html) => html,
        Err(refusal) => return refusal,
    };
    let pause = pause_after(asked.elapsed());
    let once = parts.headers.get(ONCE).is_some_and(|value| !value.is_empty());
    if !once && let Ok(slot) = Arc::clone(&live.open).try_acquire_owned() {
        return respond(live.broker.until_tails_end(), slot, parts, next, (first, pause));
    }
    let event = Event::default().retry(pause.max(POLL)).data(first);
    let only = stream::once(async move { Ok::<_, Infallible>(event) });
    (NO_BUFFER, Sse::new(only)).into_response()
}

/// Proxies such as nginx pass each event on at once.
const NO_BUFFER: [(&str, &str); 1] = [("x-accel-buffering", "no")];

fn respond(
    shutdown: impl Future<Output = ()> + Send + 'static,
    slot: tokio::sync::OwnedSemaphorePermit,
    parts: Parts,
    next: Next,
    (first, pause): (String, Duration),
) -> Response {
    let until = Instant::now() + LASTS;
    let begin = (Some(first), String::new(), pause);
    let events = stream::unfold(
        (begin, parts, next, slot),
        move |((fresh, shown, mut pause), parts, next, slot)| async move {
            if let Some(html) = fresh {
                let event = Event::default().data(&html);
                return Some((Ok::<_, Infallible>(event), ((None, html, pause), parts, next, slot)));
            }
            loop {
                tokio::time::sleep(pause).await;
                let asked = Instant::now();
                if asked >= until {
                    return None;
                }
                // The page asks anew, and then learns why it is refused.
                let html = look(&parts, &next).await.ok()?;
                pause = pause_after(asked.elapsed());
                if html != shown {
                    let event = Event::default().data(&html);
                    return Some((Ok(event), ((None, html, pause), parts, next, slot)));
                }
            }
        },
    );
    let events = events.take_until(Box::pin(shutdown));
    let comments = KeepAlive::new().interval(COMMENT).text("still here");
    (NO_BUFFER, Sse::new(events).keep_alive(comments)).into_response()
}

/// How long to wait after a look that took this long.
fn pause_after(took: Duration) -> Duration {
    took.saturating_mul(PART).clamp(PERIOD, PERIOD_MAX)
}

/// The changing part of a screen as it is now, or why there is none.
async fn look(parts: &Parts, next: &Next) -> Result<String, Response> {
    let request = Request::from_parts(parts.clone(), Body::empty());
    let response = next.clone().run(request).await;
    if response.status() != StatusCode::OK {
        return Err(response);
    }
    let body = response.into_body().collect().await.map(http_body_util::Collected::to_bytes);
    body.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_looked_at_less_often() {
        let pause = |ms| pause_after(Duration::from_millis(ms)).as_secs();
        assert_eq!([pause(0), pause(20), pause(70), pause(5000)], [2, 2, 7, 30]);
    }
}
