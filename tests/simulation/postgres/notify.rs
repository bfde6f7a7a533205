//! NOTIFY and LISTEN.

use std::{future::poll_fn, task::Poll};

use super::{
    error::{Error, Result},
    session::Session,
};

/// A notification of the schema's channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Notification {
    /// A message, and its stripe if it has one.
    Message(i64, Option<i32>),
    /// More messages than a transaction names.
    More,
    /// A webhook or a topic has changed.
    Webhooks,
}

impl Notification {
    /// The payload.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Message(id, Some(stripe)) => format!("{id} {stripe}"),
            Self::Message(id, None) => id.to_string(),
            Self::More => "more".to_owned(),
            Self::Webhooks => "webhooks".to_owned(),
        }
    }
}

impl Session {
    /// LISTEN.
    pub(crate) fn listen(&self) {
        self.with(|session| session.listens = true);
    }

    /// NOTIFY: sent at commit, equal ones once.
    pub(crate) fn notify(&self, notification: Notification) -> Result<()> {
        self.with_transaction(|transaction| {
            if !transaction.notifications.contains(&notification) {
                transaction.notifications.push(notification);
            }
        })
    }

    /// How many notifications `notify_workers` has counted, and one more from now on.
    pub(crate) fn count_notification(&self) -> Result<usize> {
        self.with_transaction(|transaction| {
            transaction.marks += 1;
            transaction.marks - 1
        })
    }

    /// How many notifications `notify_workers` has counted.
    pub(crate) fn notified(&self) -> Result<usize> {
        self.with_transaction(|transaction| transaction.marks)
    }

    /// Waits for notifications. An error: the connection is lost.
    pub(crate) async fn wait_for_notifications(&self) -> Result<Vec<Notification>> {
        poll_fn(|context| {
            self.with(|session| {
                if session.lost {
                    return Poll::Ready(Err(Error::ConnectionLost));
                }
                if session.inbox.is_empty() {
                    session.listener = Some(context.waker().clone());
                    return Poll::Pending;
                }
                Poll::Ready(Ok(session.inbox.drain(..).collect()))
            })
        })
        .await
    }

    /// What arrived since the last call.
    pub(crate) fn notifications(&self) -> Vec<Notification> {
        self.with(|session| session.inbox.drain(..).collect())
    }
}
