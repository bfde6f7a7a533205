//! The circuit breaker of a webhook, as one worker sees it: when it is to open, and what may be sent
//! meanwhile.
//!
//! The row in `breakers` decides for all workers. This worker counts for itself, and asks:
//! - It asks to open after [`BREAKER_EXHAUSTED`] deliveries in a row have used up their attempts, or
//!   after [`BREAKER_FAILED`] failed attempts in a row over at least [`BREAKER_LANES`] lanes. From
//!   then on it starts nothing for this webhook.
//! - A success resets both counts.
//! - Only requests that began in the present epoch count. The epoch rises each time the breaker opens
//!   or closes.
//! - If another worker's requests are accepted, this worker stands back for [`STAND_BACK`]. After that
//!   a single failure makes it ask again.

use std::{
    collections::{BTreeSet, HashSet},
    time::{Duration, Instant},
};

use super::super::tuning::{
    BREAKER_EXHAUSTED, BREAKER_FAILED, BREAKER_IN_FLIGHT, BREAKER_LANES, BREAKER_OBJECTION, BROKEN_FAILURES,
    BROKEN_FOR, BROKEN_WEBHOOKS, NOTE_SUCCESS_EVERY, PROBE_SELDOM, PROBE_SELDOM_AFTER, PROBE_WAIT,
    STAND_BACK, SUCCESS_COUNTS, SUSPECTED,
};
use crate::domain::breaker::Opening;

/// A breaker as this worker knows it.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    epoch: i64,
    state: State,
    /// Deliveries in a row that have used up their attempts.
    exhausted: u32,
    /// Failed attempts in a row, and their lanes: at most [`BREAKER_LANES`] of them.
    failed: u32,
    lanes: BTreeSet<i64>,
    /// When a request was accepted last, if none has failed since.
    accepted_at: Option<Instant>,
    /// Until when others want to know whether requests are accepted.
    suspected_until: Option<Instant>,
    noted_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    /// It is to open. The next call asks for it, not before this instant.
    Asking(Instant),
    /// Others deliver well: it is left to them until then.
    StandsBack(Instant),
    Open,
}

/// What has changed for the lanes of the webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Switch {
    /// Nothing.
    None,
    /// Nothing more may be started.
    Stop,
    /// All may be sent again.
    Go,
}

impl Breaker {
    /// The present epoch, as far as it is known.
    pub(crate) fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Whether requests may be started that are no probes.
    pub(crate) fn may_send(&self) -> bool {
        self.state == State::Closed
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether the failure of a request that began in `epoch` uses up an attempt.
    pub(crate) fn counts(&self, epoch: i64) -> bool {
        self.may_send() && epoch == self.epoch
    }

    /// How many requests may be in flight; `None`: this is no limit.
    pub(crate) fn most_in_flight(&self) -> Option<usize> {
        let left = BREAKER_FAILED.saturating_sub(self.failed) as usize;
        (self.failed > 0).then(|| left.max(BREAKER_IN_FLIGHT))
    }

    /// A request that counts has failed. `used_up`: it was the last attempt of a delivery. Says whether
    /// the breaker is to open now. It is asked for when [`Breaker::is_to_ask`] says so.
    pub(crate) fn failed(&mut self, lane: i64, used_up: bool, now: Instant) -> bool {
        self.accepted_at = None;
        self.exhausted = self.exhausted.saturating_add(u32::from(used_up));
        self.failed = self.failed.saturating_add(1);
        if self.lanes.len() < BREAKER_LANES {
            self.lanes.insert(lane);
        }
        let down = self.exhausted >= BREAKER_EXHAUSTED
            || (self.failed >= BREAKER_FAILED && self.lanes.len() >= BREAKER_LANES);
        if down && self.may_send() {
            self.state = State::Asking(now);
            return true;
        }
        false
    }

    /// A request that began in `epoch` was accepted.
    pub(crate) fn accepted(&mut self, epoch: i64, now: Instant) -> Switch {
        if epoch != self.epoch {
            return Switch::None;
        }
        self.accepted_at = Some(now);
        self.forget();
        self.resume()
    }

    fn forget(&mut self) {
        (self.exhausted, self.failed) = (0, 0);
        self.lanes.clear();
    }

    /// Ends what this worker has decided for itself.
    fn resume(&mut self) -> Switch {
        match self.state {
            State::Asking(_) | State::StandsBack(_) => {
                self.state = State::Closed;
                Switch::Go
            }
            State::Closed | State::Open => Switch::None,
        }
    }

    // -- Asking -----------------------------------------------------------------------------------

    /// Whether to ask now that it be opened.
    pub(crate) fn is_to_ask(&self, now: Instant) -> bool {
        matches!(self.state, State::Asking(at) if now >= at)
    }

    /// When something changes by itself.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self.state {
            State::Asking(at) | State::StandsBack(at) => Some(at),
            State::Closed | State::Open => None,
        }
    }

    /// The question is on its way; it is asked again if no answer comes.
    pub(crate) fn asked(&mut self, now: Instant) {
        self.state = State::Asking(now + BREAKER_OBJECTION);
    }

    /// The question was answered, at `now`.
    pub(crate) fn answered(&mut self, opening: Opening, now: Instant) -> Switch {
        match (opening, self.state) {
            (Opening::Opened(epoch), _) => self.listed(epoch, true),
            // A later list says whether it is open.
            (Opening::Outdated(epoch), State::Asking(_)) if epoch == self.epoch => Switch::None,
            (Opening::Outdated(_) | Opening::Asked, State::Asking(_)) => {
                self.state = State::Asking(now + BREAKER_OBJECTION);
                Switch::None
            }
            (Opening::Refused, State::Asking(_)) => {
                self.state = State::StandsBack(now + STAND_BACK);
                Switch::None
            }
            (Opening::Off, State::Asking(_)) => {
                self.forget();
                self.resume()
            }
            _ => Switch::None,
        }
    }

    /// The time has come to try again, if this worker stood back until now.
    pub(crate) fn stood_back(&mut self, now: Instant) -> Switch {
        match self.state {
            State::StandsBack(until) if now >= until => self.come_back(),
            _ => Switch::None,
        }
    }

    /// Another worker has left. It may be the one that the webhook was left to.
    pub(crate) fn other_left(&mut self) -> Switch {
        match self.state {
            State::StandsBack(_) => self.come_back(),
            _ => Switch::None,
        }
    }

    fn come_back(&mut self) -> Switch {
        self.forget();
        // One failure more is enough.
        self.exhausted = BREAKER_EXHAUSTED - 1;
        self.resume()
    }

    // -- What the row says ------------------------------------------------------------------------

    /// The row says so. An older epoch than the known one is old news.
    pub(crate) fn listed(&mut self, epoch: i64, open: bool) -> Switch {
        if epoch < self.epoch || (epoch == self.epoch && open == self.is_open()) {
            return Switch::None;
        }
        let sent = self.may_send();
        self.epoch = epoch;
        self.forget();
        self.accepted_at = None;
        self.state = if open { State::Open } else { State::Closed };
        match (open, sent) {
            (true, _) => Switch::Stop,
            (false, false) => Switch::Go,
            // It has opened and closed, and this worker has not heard of it.
            (false, true) => Switch::None,
        }
    }

    /// Another worker suspects the webhook.
    pub(crate) fn suspected(&mut self, now: Instant) {
        self.suspected_until = Some(now + SUSPECTED);
    }

    /// Whether to say now that requests are accepted: another worker wants to know, and it was not
    /// said lately.
    pub(crate) fn is_to_note(&mut self, now: Instant) -> bool {
        if self.suspected_until.is_none_or(|until| now >= until) {
            self.suspected_until = None;
            return false;
        }
        let accepted = self.accepted_at.is_some_and(|at| now.duration_since(at) < SUCCESS_COUNTS);
        let noted = self.noted_at.is_some_and(|at| now.duration_since(at) < NOTE_SUCCESS_EVERY);
        if accepted && !noted {
            self.noted_at = Some(now);
        }
        accepted && !noted
    }
}

/// How long after a failed probe the next one is due. `failed`: how many have failed before it;
/// `open_for`: for how long the breaker has been open.
pub(crate) fn probe_wait(failed: u32, open_for: Duration) -> Duration {
    if open_for >= PROBE_SELDOM_AFTER {
        return PROBE_SELDOM;
    }
    let [first, longest] = PROBE_WAIT;
    first.saturating_mul(1 << (failed + 1).min(16)).min(longest)
}

/// Whether this worker itself is cut off: whatever it tries, it cannot connect.
///
/// The rule: requests to at least [`BROKEN_WEBHOOKS`] webhooks have failed by DNS or connect,
/// [`BROKEN_FAILURES`] of them in a row, and since the first of these no request to any webhook has got
/// further. Then it claims nothing for [`BROKEN_FOR`].
#[derive(Debug, Default)]
pub(crate) struct Reach {
    failed: u32,
    webhooks: HashSet<i64>,
    broken_until: Option<Instant>,
}

impl Reach {
    /// A request has ended. `connected`: it got as far as a connection. Says whether this shows that
    /// the worker is cut off.
    pub(crate) fn ended(&mut self, webhook_id: i64, connected: bool, now: Instant) -> bool {
        if connected {
            *self = Self::default();
            return false;
        }
        self.failed = self.failed.saturating_add(1);
        if self.webhooks.len() < BROKEN_WEBHOOKS {
            self.webhooks.insert(webhook_id);
        }
        let cut_off = self.failed >= BROKEN_FAILURES && self.webhooks.len() >= BROKEN_WEBHOOKS;
        if !cut_off || self.is_broken(now) {
            return false;
        }
        self.failed = 0;
        self.broken_until = Some(now + BROKEN_FOR);
        true
    }

    /// Whether nothing is to be claimed.
    pub(crate) fn is_broken(&self, now: Instant) -> bool {
        self.broken_until.is_some_and(|until| now < until)
    }

    /// When it ends; `None` if it is over.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        self.broken_until.filter(|until| now < *until)
    }

    /// Whether the last time that it was tried, the worker was cut off.
    pub(crate) fn was_broken(&self) -> bool {
        self.broken_until.is_some()
    }
}

#[cfg(test)]
mod tests;
