//! Which lanes get slots, and for how long.
//!
//! Promises:
//! - No lane's backlog, however deep, keeps other lanes from being sent. This includes lanes that
//!   are not claimed yet.
//! - A worker leaves lanes that it has no slot for to other workers, except those that keep its own
//!   slots busy.
//!
//! Deficit round robin does the same for packets (Shreedhar and Varghese, 1996). Here lanes share
//! the time in a slot, since receivers differ in how long they take.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{
    super::{
        scheduling::{claim_budget, fair_queue::Line},
        tuning::{CHECK_SLICES_EVERY, FIND_SILENT_EVERY, HELD_BACK, LONG_WAIT, SLICE, TURN},
    },
    command::{Burst, Command},
    event::{BurstEnd, BurstEnded},
    lane::{Lane, Phase},
    state::Engine,
};
use crate::{domain::lane::LaneKey, store::LaneState};

impl Engine {
    /// Starts bursts while slots are free, webhook by webhook (round robin).
    pub(super) fn start_bursts(&mut self, now: Instant) {
        self.queue.age_newcomers(now);
        if self.trial.is_due(self.slots.used_doubtful(), self.slots.capacity(), now)
            && !self.start_bursts_of(Line::Newcomers, 1, now)
        {
            self.start_bursts_of(Line::Doubtful, 1, now);
        }
        for line in Line::ALL {
            self.start_bursts_of(line, usize::MAX, now);
        }
    }

    /// Starts at most `at_most` bursts of a line, and asks at most as many webhooks in vain. Says
    /// whether any has started.
    fn start_bursts_of(&mut self, line: Line, at_most: usize, now: Instant) -> bool {
        if self.queue.is_empty() || self.slots.full() || self.pending.full() {
            return false;
        }
        let waiting = self.waiting();
        let (mut refused, mut started) = (0, 0);
        while started < at_most && refused < self.queue.line(line).len().min(at_most) && !self.slots.full() {
            if !self.slots.has_room(line) {
                break;
            }
            let Some(webhook_id) = self.queue.next_webhook(line) else { break };
            if !self.slots.take(webhook_id, line, self.own_limit(webhook_id), waiting, now) {
                self.queue.come_back(webhook_id, line);
                refused += 1;
                continue;
            }
            let key = self.queue.pop(webhook_id);
            // One that was tried is no newcomer any more.
            self.queue.come_back(webhook_id, if line == Line::Newcomers { Line::Doubtful } else { line });
            // No other lane of the webhook waits here, but more are due in the database: claim them.
            if !self.queue.has(webhook_id) && self.claims.more(webhook_id) {
                self.claims.ask(webhook_id);
            }
            if key.is_some_and(|key| self.start_burst(key, now)) {
                self.trial.took_slot(line, now);
                started += 1;
            } else {
                self.slots.give_back(webhook_id);
            }
            // A slot was taken or given back: a webhook that was refused may get one now.
            refused = 0;
        }
        started > 0
    }

    /// Starts a queued lane's burst in a slot that was taken for it. Returns false if the lane does
    /// not need the slot.
    fn start_burst(&mut self, key: LaneKey, now: Instant) -> bool {
        let takes_messages = self.takes_messages(key.webhook_id);
        if !self.lanes.get(&key).is_some_and(Lane::is_queued) {
            return false;
        }
        // Newer messages may have come while it waited.
        self.give_up_unsendable(key, now);
        let Some(lane) = self.lanes.get_mut(&key) else { return false };
        let epoch = self.breakers.epoch(key.webhook_id);
        if !self.breakers.is_open(key.webhook_id) {
            // The turn has ended with the breaker's closing.
            lane.probe = None;
        }
        if lane.probe.as_ref().is_some_and(|probe| now >= probe.until) {
            self.drop_probe(key);
            self.advance(key, now);
            return false;
        }
        let sends = lane.probe.is_some() || self.breakers.may_send(key.webhook_id);
        let endpoint = self.endpoints.get(&key.webhook_id).filter(|_| takes_messages && sends);
        let ready = !lane.is_locked() && lane.backlog.has_messages() && !self.stopping;
        let Some(endpoint) = endpoint.filter(|_| ready) else {
            self.advance(key, now);
            return false;
        };
        let (messages, batching, failures) =
            lane.start_burst(endpoint.batch_size, endpoint.policy.latest_only, now);
        lane.epoch = epoch;
        let probe_until = lane.probe.as_ref().map(|probe| probe.until);
        self.commands.push(Command::StartBurst(Burst { key, messages, batching, failures, probe_until }));
        true
    }

    /// A burst has ended.
    pub(super) fn on_burst_ended(&mut self, burst: BurstEnded, now: Instant) {
        let BurstEnded { key, sent, requests, unsent, why } = burst;
        self.slots.give_back(key.webhook_id);
        let early = !unsent.is_empty();
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        let took = now.duration_since(lane.burst_began);
        self.claims.burst_ended(key.webhook_id, sent, requests, took);
        // It is still there if no request was made.
        let (probe, leaves) = (lane.probe.take(), lane.phase() == Phase::Leaving);
        self.give_turn_back(probe);
        if leaves {
            self.lanes.remove(&key);
            if let Some(successor) = self.successors.remove(&key) {
                self.take_in(successor, now);
            }
            return;
        }
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        lane.end_burst(unsent);
        match why {
            // The lane's next burst would end at once, and so on without end. The worker is about
            // to stop or to start over, or its lease does not cover a timeout that was just raised.
            // Or a probe came too late for its turn. So the lane waits in the database.
            BurstEnd::MayNotSend => self.release(key, LaneState::Waiting(HELD_BACK), now),
            BurstEnd::RateLimited(wait) => self.release(key, LaneState::Waiting(wait), now),
            BurstEnd::Over if self.is_given_back(key, early, now) => {
                self.release(key, LaneState::Ready, now);
            }
            BurstEnd::Over => self.advance(key, now),
        }
    }

    /// Finds webhooks whose requests are not answered, if it is time: they wait in another line.
    pub(super) fn find_silent(&mut self, now: Instant) {
        if self.slots.used() == 0 {
            self.next_silence_check = None;
            return;
        }
        if now < *self.next_silence_check.get_or_insert(now + FIND_SILENT_EVERY) {
            return;
        }
        self.next_silence_check = Some(now + FIND_SILENT_EVERY);
        for webhook_id in self.slots.find_silent(|id| self.claims.request_time(id), now) {
            self.queue.change_line(webhook_id, Line::Doubtful);
        }
    }

    // -- Time slices ------------------------------------------------------------------------------

    /// If lanes wait for slots, plans the next check of the time slices.
    pub(super) fn plan_slice_check(&mut self, now: Instant) {
        if !self.queue.is_empty() {
            self.next_slice_check.get_or_insert(now + CHECK_SLICES_EVERY);
        }
    }

    /// If lanes wait for slots: ends the bursts that have used up their time slice, and gives back
    /// the lanes that are too many. There are too many if bursts take longer than they did when the
    /// lanes were claimed, or if other webhooks have come to share the slots.
    pub(super) fn check_slices(&mut self, now: Instant) {
        if self.next_slice_check.is_none_or(|at| now < at) {
            return;
        }
        self.next_slice_check = None;
        let mut held: HashMap<i64, usize> = HashMap::new();
        // If so, lanes of other webhooks may wait for any slot.
        let full = self.slots.full() && !self.queue.is_empty();
        let mut yields = Vec::new();
        for lane in self.lanes.values().filter(|lane| lane.is_busy()) {
            let queued = self.queue.has(lane.key.webhook_id);
            if queued {
                *held.entry(lane.key.webhook_id).or_default() += 1;
            }
            let sends = matches!(lane.phase(), Phase::Sending { .. });
            if (queued || full) && sends && now.duration_since(lane.burst_began) >= SLICE {
                yields.push(lane.key);
            }
        }
        yields.sort_unstable();
        self.commands.extend(yields.into_iter().map(Command::YieldBurst));
        let waiting = self.waiting();
        let mut held: Vec<(i64, usize)> = held.into_iter().collect();
        held.sort_unstable();
        for (webhook_id, held) in held {
            if self.waited(webhook_id, now) < LONG_WAIT {
                continue;
            }
            let slots = self.fair_slots(webhook_id, waiting);
            let most = slots + self.ahead(webhook_id, slots, now);
            // Not for a few lanes: a lane that is given back waits behind all others.
            if held > most + most / 4 + 1 {
                self.give_back_queued(webhook_id, held - most, now);
            }
        }
    }

    /// Gives back `count` of the webhook's lanes that wait here: those that have waited for the
    /// shortest time.
    fn give_back_queued(&mut self, webhook_id: i64, count: usize, now: Instant) {
        for _ in 0..count {
            let Some(key) = self.queue.pop_last(webhook_id) else { return };
            if self.lanes.get(&key).is_some_and(Lane::is_queued) {
                self.release(key, LaneState::Ready, now);
            }
        }
    }

    /// Whether a lane has had its turn, while other lanes of its webhook wait here and in the
    /// database. Such a lane is not read further, and is given back when its burst has ended.
    pub(super) fn turn_is_over(&self, key: LaneKey, now: Instant) -> bool {
        self.queue.has(key.webhook_id)
            && self.claims.more(key.webhook_id)
            && self.lanes.get(&key).is_some_and(|lane| now.duration_since(lane.claimed_at) >= TURN)
    }

    /// Whether a lane whose burst has ended is given back. It is not if it owes nothing more, or if
    /// the next messages were read already (and the burst did not end `early`).
    fn is_given_back(&self, key: LaneKey, early: bool, now: Instant) -> bool {
        self.turn_is_over(key, now)
            && self
                .lanes
                .get(&key)
                .is_some_and(|lane| early || (!lane.backlog.has_messages() && lane.backlog.more()))
    }

    // -- Parts of the slots -----------------------------------------------------------------------

    /// For how long the first one of a webhook's lanes in line has waited for a slot.
    fn waited(&self, webhook_id: i64, now: Instant) -> Duration {
        let first = self.queue.first(webhook_id).and_then(|key| self.lanes.get(&key));
        match first.map(Lane::phase) {
            Some(Phase::Queued { since }) => now.duration_since(since),
            _ => Duration::ZERO,
        }
    }

    /// How many lanes a webhook may have claimed beside those in its `slots`. Claiming and giving
    /// back follow this one rule. Otherwise the same lanes would be claimed and given back again
    /// and again.
    pub(super) fn ahead(&self, webhook_id: i64, slots: usize, now: Instant) -> usize {
        // A burst that is still under way says nothing about how long bursts take. The lanes that
        // wait for its slot do.
        claim_budget::ahead(slots, self.claims.burst_time(webhook_id).max(self.waited(webhook_id, now)))
    }

    /// How many webhooks have lanes that wait and could use one more slot. A webhook that has all
    /// slots that it may use (it hangs, or is limited) does not count.
    pub(super) fn waiting(&self) -> usize {
        let of = |line| {
            // No more of them than there are slots can get one. So the count may stop there.
            let most = if line == Line::Answering { usize::MAX } else { self.slots.capacity() };
            let webhooks = self.queue.line(line).take(most);
            let could_use = |id: &i64| self.slots.could_use(*id, self.own_limit(*id));
            if self.slots.has_room(line) { webhooks.filter(could_use).count() } else { 0 }
        };
        Line::ALL.into_iter().map(of).sum()
    }

    /// How many slots a webhook may use: at most an equal part. `waiting`: how many webhooks have
    /// lanes that wait. This one is added if it has none.
    pub(super) fn fair_slots(&self, webhook_id: i64, waiting: usize) -> usize {
        let waiting = waiting + usize::from(!self.queue.has(webhook_id));
        self.slots.fair_limit(webhook_id, self.own_limit(webhook_id), waiting)
    }

    /// How many slots the webhook's own limits leave to this worker; `None`: as many as it likes.
    pub(super) fn own_limit(&self, webhook_id: i64) -> Option<usize> {
        let own =
            self.endpoints.get(&webhook_id).and_then(|endpoint| self.shares.slots(webhook_id, endpoint));
        match (own, self.breakers.most_in_flight(webhook_id)) {
            (Some(own), Some(failing)) => Some(own.min(failing)),
            (own, failing) => own.or(failing),
        }
    }
}
