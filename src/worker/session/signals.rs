//! What the session, the watchers and the driver tell one another.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::{
    super::{
        engine::{Status, event::SessionState},
        wakeup::publish_rate::Publishing,
    },
    liveness::lease,
};
use crate::{domain::sending::NotSending, store::Doing};

/// What the session and the watchers tell the driver, and what it tells them.
pub(crate) struct Signals {
    /// What the session knows; the driver gives it to the engine.
    session: watch::Sender<SessionState>,
    /// What the engine says of itself.
    status: watch::Sender<Status>,
    /// Why nothing is sent.
    not_sending: watch::Sender<Option<NotSending>>,
    /// A webhook was deleted. What it was owed must be deleted too.
    pub(crate) webhook_deleted: Arc<Notify>,
}

impl Signals {
    /// For a worker whose webhooks have this timeout unless they set another one.
    pub(crate) fn new(default_timeout: Duration) -> Self {
        let status = Status {
            in_flight: 0,
            lanes: 0,
            stopping: false,
            trouble: None,
            longest_timeout: default_timeout,
        };
        Self {
            session: watch::Sender::new(SessionState::default()),
            status: watch::Sender::new(status),
            not_sending: watch::Sender::new(None),
            webhook_deleted: Arc::new(Notify::new()),
        }
    }

    // -- From the session and the watchers --------------------------------------------------------

    /// Something may be due.
    pub(crate) fn wake(&self) {
        self.session.send_modify(|session| session.wakes = session.wakes.wrapping_add(1));
    }

    /// Webhooks or topics have changed.
    pub(super) fn webhooks_changed(&self) {
        self.session.send_modify(|session| session.webhook_changes = session.webhook_changes.wrapping_add(1));
    }

    /// Sets the other workers that live. `newcomer`: when one of them was seen for the first time,
    /// if one was.
    pub(super) fn set_others(&self, others: Arc<[Uuid]>, newcomer: Option<Instant>) {
        self.update(|session| {
            if others.is_empty() || newcomer.is_some() {
                session.newcomer = newcomer;
            }
            session.others = others;
        });
    }

    pub(super) fn set_publishing(&self, publishing: Publishing) {
        self.update(|session| session.publishing = publishing);
    }

    /// Sets whether anybody may NOTIFY. Says whether that has changed.
    pub(super) fn set_notifies(&self, notifies: bool) -> bool {
        self.update(|session| session.notifies = notifies)
    }

    /// Notifications are suppressed until then.
    pub(super) fn set_suppressed_until(&self, until: Instant) {
        self.update(|session| session.suppressed_until = Some(until));
    }

    /// Sets why nothing is sent; `None` if messages are sent.
    pub(crate) fn set_not_sending(&self, why_not: Option<NotSending>) {
        self.not_sending.send_replace(why_not);
        self.update(|session| session.sends = why_not.is_none());
    }

    /// Changes what the session knows. Says whether it is something else than before.
    fn update(&self, change: impl FnOnce(&mut SessionState)) -> bool {
        self.session.send_if_modified(|session| {
            let before = session.clone();
            change(session);
            *session != before
        })
    }

    /// What the worker says of itself in its row.
    pub(super) fn doing(&self) -> Doing {
        let not_sending = *self.not_sending.borrow();
        let Status { in_flight, lanes, stopping, trouble, .. } = self.status.borrow().clone();
        let trouble = not_sending.map(|why_not| why_not.text().to_owned()).or(trouble);
        Doing { in_flight, lanes, stopping, trouble }
    }

    /// The lease that the webhooks' timeouts need.
    pub(super) fn lease(&self) -> Duration {
        lease(self.status.borrow().longest_timeout)
    }

    /// Resolves when the webhooks' timeouts need a longer lease than this one.
    pub(super) async fn lease_grew(&self, written: Duration) {
        let mut status = self.status.subscribe();
        // It never ends before `self`, which holds the sender.
        let _ = status.wait_for(|status| lease(status.longest_timeout) > written).await;
    }

    // -- From the driver --------------------------------------------------------------------------

    /// Follows what the session knows.
    pub(crate) fn session(&self) -> watch::Receiver<SessionState> {
        self.session.subscribe()
    }

    /// Sets what the engine says of itself.
    pub(crate) fn set_status(&self, status: Status) {
        self.status.send_if_modified(|known| {
            let changed = *known != status;
            *known = status;
            changed
        });
    }
}
