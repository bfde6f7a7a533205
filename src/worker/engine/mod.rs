//! The engine: what each held lane does next. A pure state machine: no I/O, no clock, no channel, no
//! task. `now` comes in with each call, what happened as an [`Event`], and what is to be done goes
//! out as [`Command`]s. A driver runs the commands and brings back their answers.
//!
//! Promises:
//! - A lane's messages are sent one after another, by rising id.
//! - A lane that the worker may have lost starts no further request.
//! - What was accepted is written exactly as it was accepted, or the incarnation ends.
//!
//! Where to read on: `lane` has the phases of a lane, and who decides which one comes next. Mostly
//! that is `advance`.
//!
//! What comes in and what goes out is in `event`, `command` and `failure`. `state` has the engine's
//! fields. Each other file either decides or remembers. A file that decides holds methods of
//! [`Engine`]. A file that remembers holds structs that know nothing of the engine.
//!
//! | decides | remembers | what it is about |
//! |---|---|---|
//! | `advance` | `lane`, `backlog` | one held lane: its phase, what it owes, and what it does next |
//! | `bursts` | | which lanes get slots, for how long |
//! | `attempts` | `attempt_log`, `activity`, `outages` | what a request's end means for its lane, and what people read of it |
//! | `looks` | `claims`, `named` | which lanes to claim, and when |
//! | `reading` | `reads` | what held lanes owe next |
//! | `tailing` | `tail` | tail reads: which held lanes owe something new |
//! | `settling` | `settles`, `pending_writes`, `locked` | what is written, and when |
//! | `sharing` | `shares` | limits that hold for all workers together |
//! | `idling` | `removed_lately` | lanes that owe nothing |
//! | `breaking` | `breakers` | webhooks that are down: when their breakers open and close |
//! | `probing` | `probe` | what is sent to them meanwhile, and when |
//! | `webhooks` | | webhooks that come, change and go |
//! | `waking` | | notifications, and what the session hears |
//! | | `troubles` | statements that fail |

mod activity;
mod advance;
mod attempt_log;
mod attempts;
mod backlog;
mod breakers;
mod breaking;
mod bursts;
mod claims;
pub mod command;
pub mod event;
pub mod failure;
mod idling;
mod lane;
mod locked;
mod looks;
mod named;
mod outages;
mod pending_writes;
mod probe;
mod probing;
mod reading;
mod reads;
mod removed_lately;
mod settles;
mod settling;
mod shares;
mod sharing;
mod state;
mod tail;
mod tailing;
mod troubles;
mod waking;
mod webhooks;

use std::time::{Duration, Instant};

pub use self::state::{Engine, EngineSettings};
pub(super) use self::tail::LIMIT as TAIL_LIMIT;
use self::{command::Command, event::Event, failure::Lost};

/// What a worker says of itself in its row, and what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// How many lanes are in flight.
    pub in_flight: usize,
    /// How many lanes are held.
    pub lanes: usize,
    /// Whether the worker stops.
    pub stopping: bool,
    /// Which statement fails.
    pub trouble: Option<String>,
    /// The longest timeout of a request.
    pub longest_timeout: Duration,
}

impl Engine {
    /// Takes in what has happened.
    ///
    /// # Errors
    /// The engine cannot go on: all that it holds must be released, and a new incarnation begins.
    pub fn handle(&mut self, event: Event, now: Instant) -> Result<(), Lost> {
        match event {
            Event::Webhooks(loaded) => self.on_webhooks(loaded, now),
            Event::DueWebhooks(due) => self.on_due_webhooks(due, now),
            Event::Claimed(answer) => self.on_claimed(answer, now)?,
            Event::MessagesClaimed(looked) => self.on_messages_claimed(looked, now)?,
            Event::Read(read) => self.on_read(read, now),
            Event::TailRead(news) => self.on_tail_read(news, now),
            Event::Settled(answer) => self.on_settled(answer, now)?,
            Event::AttemptsLogged(answer) => self.on_attempts_logged(&answer, now),
            Event::ActivityWritten => self.activity.ended(),
            Event::Shares(shares) => self.on_shares(shares, now),
            Event::NotDisabled { webhook_id, failure } => Self::on_not_disabled(webhook_id, &failure),
            Event::BreakerAsked { webhook_id, answer } => self.on_breaker_asked(webhook_id, answer, now),
            Event::ProbesTaken(answer) => self.on_probes_taken(answer, now)?,
            Event::ProbeTurnEnded { webhook_id, answer } => self.on_probe_turn_ended(webhook_id, answer, now),
            Event::LanesWoken { webhook_id, answer } => self.on_lanes_woken(webhook_id, answer),
            Event::Attempt(attempt) => self.on_attempt(&attempt, now),
            Event::BurstEnded(burst) => self.on_burst_ended(burst, now),
            Event::Notified(notice) => self.on_notified(notice, now),
            Event::Session(session) => self.on_session(session, now),
            Event::Shutdown => self.stop(now),
        }
        Ok(())
    }

    /// Decides what is to be done now. Call it after all events that have arrived were handled, and
    /// at [`Engine::next_wakeup`].
    pub fn decide(&mut self, now: Instant) -> Vec<Command> {
        // First what ends or begins by itself, with time.
        self.end_holds(now);
        self.tell_outages(now);
        self.remove_idle(now);
        self.ask_to_open(now);
        self.look_for_probes(now);
        self.find_silent(now);
        // Then slots. They come before looks, which ask how much room is left.
        self.check_slices(now);
        self.start_bursts(now);
        self.plan_slice_check(now);
        if !self.stopping {
            self.load_webhooks(now);
            if self.session.sends {
                self.share_limits(now);
            }
            if self.session.sends && !self.breakers.reach.is_broken(now) {
                self.poll(now);
                self.look_at_named(now);
                self.look_for_due_lanes(now);
            }
        }
        // Last what gathers: all of the above may have added to it.
        self.start_read(now);
        self.start_settles(now);
        self.write_activity(now);
        std::mem::take(&mut self.commands)
    }

    /// When to call [`Engine::decide`] next, if nothing happens before. Whatever `decide` does "if
    /// it is time" has its line here.
    pub fn next_wakeup(&self, now: Instant) -> Instant {
        // While a claim is under way, its answer wakes the engine; no look is due before. A worker
        // that stops, or may not send, does not look.
        let claims = self.session.sends && !self.stopping && !self.breakers.reach.is_broken(now);
        let looks = claims && !self.claims.is_under_way() && self.listing_due.is_none();
        let after_failure = |at: Instant| at.max(self.claims.not_before());
        [
            Some(now + Duration::from_secs(1)),
            looks.then(|| after_failure(self.wakeup.next_look(now))),
            self.named.due(now).map(after_failure).filter(|_| claims),
            self.claims.next_room().filter(|_| looks),
            self.shares.due().filter(|_| claims),
            self.next_settle(),
            self.reads.due(),
            self.next_removal,
            self.next_slice_check,
            self.next_silence_check,
            self.holds.next_end(),
            self.breakers.due(self.settles.ended()),
            self.probes_due(now),
            self.breakers.reach.due(now),
            self.outages.due(),
            self.activity.due(),
            Some(self.webhooks_due).filter(|_| !self.stopping && !self.loading_webhooks),
        ]
        .into_iter()
        .flatten()
        .min()
        .map_or(now, |at| at.max(now))
    }

    /// What the worker says of itself.
    pub fn status(&self) -> Status {
        Status {
            in_flight: self.slots.used(),
            lanes: self.lanes.len(),
            stopping: self.stopping,
            trouble: self.trouble(),
            longest_timeout: self.longest_timeout,
        }
    }

    fn trouble(&self) -> Option<String> {
        let cut_off = self.breakers.reach.was_broken().then_some("it reaches no webhook at all");
        self.troubles.text().or(cut_off).map(str::to_owned)
    }

    /// Whether a worker that stops has nothing left to do.
    pub fn is_done(&self) -> bool {
        self.stopping
            && self.lanes.is_empty()
            && self.pending.due().is_none()
            && self.locked.is_empty()
            && self.settles.is_idle()
            && self.attempt_log.is_idle()
            && self.activity.is_idle()
            && !self.claims.is_under_way()
            && !self.named.under_way()
            && !self.is_taking_probes()
    }

    /// How many requests are in flight.
    pub fn in_flight(&self) -> usize {
        self.slots.used()
    }
}

#[cfg(test)]
mod tests;
