//! What comes next for a lane that is not in a burst.
//!
//! | what is true of it, the first that fits | what it does |
//! |---|---|
//! | the worker stops or may not send, the webhook takes nothing, or its breaker forbids it (`may_start`) | it is released |
//! | its head's message was deleted, is too old, or a newer one takes its place | the head becomes a dead letter; then on with this table |
//! | some of its outcomes could not be written | it waits until they are |
//! | it has something to send, and the whole batch that failed | it waits for a slot |
//! | the database may hold more, and many of its outcomes are not written | it waits until they are |
//! | the database may hold more | it waits for a read |
//! | it owes nothing that is known | it is kept as an idle lane, or its row is removed |
//!
//! `Engine::advance` is called when something has ended that the lane waited for: its claim, a
//! read, a settle, its burst, or a removal that failed. It is also called when a lane may have to
//! be released. Others decide alone: a request that failed (`attempts`), the end of a burst
//! (`bursts`), the end of an idle lane's time (`idling`), a read that failed (`reading`). `lane`
//! has the whole table.

use std::time::Instant;

use tracing::info;

use super::{command::Command, lane::Lane, state::Engine};
use crate::{
    domain::lane::LaneKey,
    store::{DeadDelivery, LaneState, LastError},
};

impl Engine {
    /// Decides what comes next for a lane. It must not be in a burst: it may be released, and a
    /// request of it would go on.
    pub(super) fn advance(&mut self, key: LaneKey, now: Instant) {
        let Some(lane) = self.lanes.get(&key) else { return };
        debug_assert!(!lane.in_burst(), "the burst must end first");
        let may_send = !self.stopping && self.session.sends && self.may_start(lane);
        if !may_send {
            self.release(key, LaneState::Ready, now);
            return;
        }
        self.give_up_unsendable(key, now);
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        if lane.is_locked() {
            lane.wait();
        } else if lane.backlog.has_messages() && !lane.is_incomplete() {
            lane.queue(now);
            self.shares.want(key.webhook_id, now);
            self.queue.push(key, self.slots.line(key.webhook_id), now);
        } else if lane.backlog.more() && lane.waits_for_settle() {
            lane.wait();
        } else if lane.backlog.more() {
            lane.wait();
            self.read_now(key, now);
        } else {
            self.drop_probe(key);
            self.became_idle(key, now);
        }
    }

    /// Gives up the first messages of a lane that are not to be sent.
    pub(super) fn give_up_unsendable(&mut self, key: LaneKey, now: Instant) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        let policy = self.endpoints.get(&key.webhook_id).map(|endpoint| &endpoint.policy);
        let (max_age, latest_only) =
            policy.map_or((None, false), |policy| (policy.max_age, policy.latest_only));
        while let Some((message_id, attempts, reason)) = lane.pop_unsendable(max_age, latest_only, now) {
            let dead = DeadDelivery { message_id, reason, attempts, last: None };
            self.pending.dead((key, lane.token), dead, now);
            if !reason.is_left_out() {
                self.activity.dead(key.webhook_id);
            }
        }
    }

    /// Takes in a lane that this worker has claimed.
    pub(super) fn take_in(&mut self, mut lane: Lane, now: Instant) {
        let key = lane.key;
        lane.recurring = self.removed_lately.contains(key, now);
        if let Some(known) = self.lanes.get_mut(&key)
            && known.in_burst()
        {
            // A request of an earlier claim is under way, for example after an operator has
            // released the lane. That request must end first.
            known.leave();
            self.commands.push(Command::StopBurst(key));
            self.give_turn_back(lane.probe.take());
            self.successors.insert(key, lane);
            return;
        }
        let known = self.lanes.insert(key, lane);
        self.give_turn_back(known.and_then(|known| known.probe));
        self.advance(key, now);
    }

    /// Releases a lane that has no burst under way: it waits in the database.
    pub(super) fn release(&mut self, key: LaneKey, state: LaneState, now: Instant) {
        self.release_for(key, state, None, now);
    }

    /// The same; `error`: why, for whoever reads its row.
    pub(super) fn release_for(
        &mut self,
        key: LaneKey,
        state: LaneState,
        error: Option<LastError>,
        now: Instant,
    ) {
        if let Some(mut lane) = self.lanes.remove(&key) {
            self.give_turn_back(lane.probe);
            let change = lane.change(state, error);
            self.pending.lane((lane.key, lane.token), change, now);
        }
    }

    /// A lane was deleted, released or taken over: nothing more is sent for it, and it is forgotten.
    pub(super) fn forget_lane(&mut self, key: LaneKey) {
        self.claims.look();
        if self.lanes.get(&key).is_some_and(|lane| !lane.in_burst()) {
            self.drop_probe(key);
        }
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        if lane.leave() {
            self.lanes.remove(&key);
        } else {
            self.commands.push(Command::StopBurst(key));
        }
    }

    /// Gives all lanes back. Requests under way finish first.
    pub(super) fn give_back_all(&mut self, now: Instant) {
        let keys: Vec<LaneKey> = self.lanes.keys().copied().collect();
        for key in keys {
            match self.lanes.get(&key) {
                Some(lane) if lane.in_burst() => self.commands.push(Command::StopBurst(key)),
                Some(lane) if lane.is_removing() => {}
                _ => self.advance(key, now),
            }
        }
    }

    /// The worker is to stop: requests in flight may finish, all else is given back.
    pub(super) fn stop(&mut self, now: Instant) {
        if self.stopping {
            return;
        }
        let (in_flight, held) = (self.slots.used(), self.lanes.len());
        info!(in_flight, held, "stopping: requests in flight may finish");
        self.stopping = true;
        self.give_back_all(now);
    }
}
