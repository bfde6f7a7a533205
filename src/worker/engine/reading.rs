//! Reading what held lanes owe next.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tracing::warn;

use super::{
    super::{
        scheduling::{claim_budget::messages_in_slice, memory_budget::MemoryBudget, read_share::ReadShare},
        tuning::{READ_AHEAD, READ_LANES, READ_MESSAGES, SHARED_BY_MAX, UNREADABLE_WAIT},
    },
    command::Command,
    event::ReadAnswer,
    failure::Failure,
    lane::{Phase, Reading},
    state::Engine,
    troubles::Kind,
};
use crate::{
    domain::lane::LaneKey,
    store::{HeldLane, LaneState, LastError, ReadLane, ReadLimits},
};

/// When to look again whether there is room for what is to be read.
const NO_ROOM_WAIT: Duration = Duration::from_millis(5);

impl Engine {
    /// Makes the next read include this lane, and begin as soon as possible.
    pub(super) fn read_now(&mut self, key: LaneKey, now: Instant) {
        self.read_by(key, now);
    }

    /// The same for a lane that still has messages to send: it can wait, so that one read serves
    /// several lanes.
    pub(super) fn read_ahead(&mut self, key: LaneKey, now: Instant) {
        self.read_by(key, now + READ_AHEAD * self.workers());
    }

    /// How many workers share the database, this one included; at most [`SHARED_BY_MAX`].
    pub(super) fn workers(&self) -> u32 {
        u32::try_from(self.session.others.len()).unwrap_or(u32::MAX).saturating_add(1).min(SHARED_BY_MAX)
    }

    fn read_by(&mut self, key: LaneKey, due: Instant) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        match lane.reading {
            Reading::No => {
                lane.reading = Reading::Wanted;
                self.reads.want(key, due);
            }
            // The read under way may have begun too early to see the newest messages.
            Reading::UnderWay => lane.reading = Reading::Again,
            Reading::Wanted => self.reads.hurry(due),
            Reading::Again => {}
        }
    }

    /// Makes the next read include each idle lane: it may owe something new.
    pub(super) fn read_idle(&mut self, now: Instant) {
        let keys: Vec<LaneKey> = self.idle.iter().copied().collect();
        for key in keys {
            self.read_now(key, now);
        }
    }

    /// The bytes that the held lanes hold.
    pub(super) fn memory(&self) -> MemoryBudget {
        MemoryBudget::of(self.lanes.values().map(|lane| (lane.key.webhook_id, lane.backlog.bytes())))
    }

    /// Reads the lanes that are to be read, if it is time, and there is room for what they owe.
    pub(super) fn start_read(&mut self, now: Instant) {
        if self.reads.due().is_none_or(|due| now < due) {
            return;
        }
        if self.pending.full() {
            // What is read may have to be given up, and adds to what is to be written.
            self.reads.go_on(now + NO_ROOM_WAIT);
            return;
        }
        let memory = self.memory();
        let mut share = ReadShare::new(memory.answer());
        let mut held = Vec::new();
        let mut left = Vec::new();
        let mut full = false;
        for key in std::mem::take(&mut self.reads.wanted) {
            // A lane that was given up and claimed again may stand here twice. It must be read only
            // once.
            if self.lanes.get(&key).is_none_or(|lane| lane.reading != Reading::Wanted) {
                continue;
            }
            if !memory.allows(key.webhook_id) {
                left.push(key);
                continue;
            }
            let message = self.claims.message_bytes(key.webhook_id);
            let batch = self.batch_size(key.webhook_id).min(READ_MESSAGES);
            if held.len() == READ_LANES || !share.takes(message, batch) {
                left.push(key);
                full = true;
                continue;
            }
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.begin_read(now);
                held.push(lane.held());
            }
        }
        self.reads.wanted = left;
        self.reads.go_on(if full { now } else { now + NO_ROOM_WAIT });
        if held.is_empty() {
            return;
        }
        let slice = held.iter().map(|lane| self.messages_in_slice(lane.key.webhook_id)).max();
        let messages = slice.unwrap_or(READ_MESSAGES).min(share.messages_per_lane()).min(READ_MESSAGES);
        let limits = read_limits(messages, memory.answer());
        self.reads.begin(held.clone());
        self.commands.push(Command::Read { lanes: held, limits });
    }

    /// How many messages to read of each lane of this webhook.
    fn messages_in_slice(&self, webhook_id: i64) -> usize {
        messages_in_slice(self.claims.message_time(webhook_id), self.batch_size(webhook_id))
    }

    /// How many messages a request of this webhook carries at most.
    fn batch_size(&self, webhook_id: i64) -> usize {
        self.endpoints.get(&webhook_id).map_or(1, |endpoint| endpoint.batch_size)
    }

    /// A read was answered.
    pub(super) fn on_read(&mut self, answer: Result<ReadAnswer, Failure>, now: Instant) {
        let asked = self.reads.end();
        let ReadAnswer { lanes, unreadable } = match answer {
            Ok(answer) => answer,
            Err(failure) => return self.on_read_failed(asked, &failure, now),
        };
        self.troubles.succeeded(Kind::Read);
        let mut read: HashMap<LaneKey, ReadLane> = lanes.into_iter().map(|lane| (lane.key, lane)).collect();
        let failed: Vec<LaneKey> = unreadable.iter().map(|(lane, _)| lane.key).collect();
        for (lane, failure) in unreadable {
            self.on_unreadable(lane, &failure, now);
        }
        for HeldLane { key, token, .. } in asked {
            // The answer may come late: if the lane was claimed again, it says nothing about it.
            if failed.contains(&key) || self.held(key, token).is_none() {
                continue;
            }
            match read.remove(&key) {
                Some(read) => self.on_lane_read(key, read, now),
                // Its webhook was deleted, or the lane was released or taken over: this worker may
                // not send for it any more.
                None => self.forget_lane(key),
            }
        }
    }

    fn on_lane_read(&mut self, key: LaneKey, read: ReadLane, now: Instant) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        self.claims.read(key.webhook_id, &read.owed);
        let again = lane.reading == Reading::Again;
        let new = lane.read(read);
        if new {
            self.wakeup.worked(now);
        }
        if again && lane.backlog.has_messages() {
            // Read again only when these are sent. Otherwise a lane with a deep backlog, to which
            // messages are added all the time, would fill this worker.
            lane.backlog.expect_more();
        } else if again {
            self.read_now(key, now);
        }
        let Some(lane) = self.lanes.get(&key) else { return };
        match lane.phase() {
            Phase::Waiting => self.advance(key, now),
            Phase::Removing if new => self.pending.hurry(),
            Phase::Idle { .. } if new || lane.backlog.more() => self.advance(key, now),
            // Sending: it goes on with what came. Idle without anything new, or being removed: the
            // end of its time, or the removal's answer, decides.
            _ => {}
        }
    }

    fn on_read_failed(&mut self, asked: Vec<HeldLane>, failure: &Failure, now: Instant) {
        let wait = self.troubles.failed(Kind::Read, failure, now);
        self.claims.ask_all();
        for HeldLane { key, token, .. } in asked {
            let Some(lane) = self.held(key, token) else { continue };
            lane.reading = Reading::No;
            lane.backlog.expect_more();
            if lane.is_waiting() && !lane.waits_for_settle() {
                // Nothing else would look at this lane again. Its removal is tried after the wait,
                // and finds what it owes.
                self.keep_idle(key, now + wait, now);
            }
        }
    }

    /// What a lane owes cannot be read: the lane waits, and its row says why. The log names only
    /// some of these lanes. Other lanes go on.
    fn on_unreadable(&mut self, HeldLane { key, token, .. }: HeldLane, failure: &Failure, now: Instant) {
        let said = self.unreadable_said.say(now);
        let Some(lane) = self.held(key, token) else { return };
        if let Some(left_out) = said {
            warn!(
                webhook_id = key.webhook_id,
                lane = key.lane,
                error = failure.text,
                left_out,
                "what a lane owes cannot be read; it is tried again in a minute"
            );
        }
        lane.reading = Reading::No;
        lane.backlog.expect_more();
        if lane.is_waiting() || lane.is_idle() {
            lane.unreadable();
            let error = LastError { text: failure.text.clone(), class: None, status_code: None };
            self.release_for(key, LaneState::Waiting(UNREADABLE_WAIT), Some(error), now);
        }
    }
}

/// So many messages of each lane, and so many bytes in all.
pub(super) fn read_limits(messages_per_lane: usize, bytes: usize) -> ReadLimits {
    ReadLimits {
        messages_per_lane: i32::try_from(messages_per_lane).unwrap_or(i32::MAX),
        payload_bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
    }
}
