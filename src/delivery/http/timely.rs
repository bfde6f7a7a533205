//! The body of a request that may start only for a while.
//!
//! A connection's task writes a request: its head waits in memory until its body is there. The body
//! is asked for right before the bytes leave. Between the request's making and that moment the
//! process may have stood still. Then the body is an error, so that nothing leaves.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};

/// The request's time was over before it was written. Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("the request was not to be started any more")]
pub(in crate::delivery) struct TooLate;

/// A body that is not given out any more at `until`.
pub(in crate::delivery) struct Timely {
    body: Full<Bytes>,
    until: Option<Instant>,
}

impl Timely {
    pub(in crate::delivery) fn until(until: Instant, body: Full<Bytes>) -> Self {
        Self { body, until: Some(until) }
    }

    /// A body of a request that may start at any time.
    pub(in crate::delivery) fn always(body: Full<Bytes>) -> Self {
        Self { body, until: None }
    }
}

impl Body for Timely {
    type Data = Bytes;
    type Error = TooLate;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TooLate>>> {
        if self.until.is_some_and(|until| Instant::now() >= until) {
            return Poll::Ready(Some(Err(TooLate)));
        }
        Pin::new(&mut self.body).poll_frame(cx).map_err(|never| match never {})
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
