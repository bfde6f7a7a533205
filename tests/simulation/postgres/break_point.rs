//! Break points: where a session stops inside a function, until a test lets it go on.

use std::{future::poll_fn, task::Poll};

use super::{error::Result, session::Session};

impl Session {
    /// Where conformity stops the functions. Elsewhere nothing happens here.
    pub(crate) async fn break_point(&self) -> Result<()> {
        if !self.with(|session| session.stops) {
            return Ok(());
        }
        let number = self.with(|session| {
            session.arrived += 1;
            session.arrived
        });
        poll_fn(|context| {
            self.with(|session| {
                if session.lost || session.passes >= number {
                    return Poll::Ready(());
                }
                session.stopped = Some(context.waker().clone());
                Poll::Pending
            })
        })
        .await;
        self.with(|session| session.stopped = None);
        self.check_connection()
    }

    /// The session stops at break points from now on, or no more.
    pub(crate) fn set_stops(&self, stops: bool) {
        self.with(|session| {
            session.stops = stops;
            session.passes = session.arrived;
        });
    }

    /// A session that stands at a break point goes on.
    pub(crate) fn go_on(&self) {
        self.with(|session| {
            session.passes = session.arrived;
            if let Some(waker) = session.stopped.take() {
                waker.wake();
            }
        });
    }

    /// Whether the session stands at a break point.
    pub(crate) fn is_stopped(&self) -> bool {
        self.with(|session| session.stopped.is_some())
    }
}
