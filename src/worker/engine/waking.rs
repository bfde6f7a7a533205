//! Notifications, polls, and what the session hears.

use std::time::Instant;

use super::{
    super::{tuning::SUPPRESS_FOR, wakeup::mode::Suppress},
    command::Command,
    event::SessionState,
    named,
    state::Engine,
    tail::Look,
};
use crate::store::Notice;

impl Engine {
    /// A poll begins, if it is time.
    pub(super) fn poll(&mut self, now: Instant) {
        if now < self.wakeup.next_look(now) {
            return;
        }
        self.wakeup.look(now);
        if self.tail_suffices(now) {
            self.read_tail(Look::Alone, now);
        } else {
            self.claims.look();
        }
    }

    /// A notification has arrived.
    pub(super) fn on_notified(&mut self, notice: Notice, now: Instant) {
        match notice {
            Notice::Published(told) => {
                let first = named::is_first(told, self.settings.worker, &self.session.others);
                if !self.named.add(told.message_id, first, now) {
                    self.claims.look();
                }
                self.count_notifications(1, now);
            }
            Notice::Wake => self.woken(1, now),
            Notice::Webhooks => self.webhooks_changed(now),
            Notice::Quiet => self.wakeup.suppressed_for(SUPPRESS_FOR, now),
        }
    }

    /// What the session knows has changed.
    pub(super) fn on_session(&mut self, session: SessionState, now: Instant) {
        let before = std::mem::replace(&mut self.session, session);
        let session = &self.session;
        self.wakeup.set_notifies(session.notifies);
        if session.suppressed_until != before.suppressed_until
            && let Some(until) = session.suppressed_until
        {
            self.wakeup.suppressed_for(until.saturating_duration_since(now), now);
        }
        let wakes = session.wakes.wrapping_sub(before.wakes);
        if session.webhook_changes != before.webhook_changes {
            self.webhooks_changed(now);
        }
        if before.sends && !self.session.sends {
            self.give_back_all(now);
        } else if self.session.sends && !before.sends {
            self.claims.look();
        }
        if before.others.iter().any(|other| !self.session.others.contains(other)) {
            self.other_left(now);
        }
        if wakes > 0 {
            self.woken(u32::try_from(wakes).unwrap_or(u32::MAX), now);
        }
    }

    /// Something may be due.
    fn woken(&mut self, wakes: u32, now: Instant) {
        self.claims.look();
        // It may be for a lane that is being removed: that lane goes on after the next settle.
        self.pending.hurry();
        self.count_notifications(wakes, now);
    }

    fn count_notifications(&mut self, count: u32, now: Instant) {
        let suppress = self.wakeup.noticed(count, self.session.publishing, now);
        self.suppress(suppress);
    }

    /// A look was answered. It was sent at `asked`.
    pub(super) fn look_answered(&mut self, asked: Instant, now: Instant) {
        let suppress = self.wakeup.looked(asked, self.session.publishing, now);
        self.suppress(suppress);
    }

    /// Suppresses publishers' notifications, if that was decided.
    fn suppress(&mut self, suppress: Suppress) {
        let announce = match suppress {
            Suppress::Keep => return,
            Suppress::Begin => true,
            Suppress::Extend => false,
        };
        self.commands.push(Command::SuppressNotifications { announce });
    }
}
