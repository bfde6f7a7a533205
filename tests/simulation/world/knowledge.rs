//! What an incarnation has been told: no request may start against it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use pgtopic::{
    domain::lane::LaneKey,
    store::{ClaimedLane, HeldLane, SettleOutcome},
    worker::engine::event::{Event, ReadAnswer, Written},
};

use super::history::LaneId;
use crate::schedule::Micros;

/// What the driver has told the engine of one incarnation.
#[derive(Default)]
pub(super) struct Knowledge {
    lanes: HashMap<LaneId, Claimed>,
    /// The lanes of the read under way, and their claims.
    reading: Vec<(LaneId, i64)>,
    /// Messages that were accepted. No others may be settled as done.
    accepted: BTreeSet<(LaneId, i64)>,
    /// Since when nothing is to be sent at all.
    pub(super) sends_off: Option<Micros>,
    /// Since when some webhooks are not to be sent to.
    pub(super) hooks_off: BTreeMap<i64, Micros>,
    pub(super) stopping: bool,
}

/// A lane, as it was claimed last.
#[derive(Clone, Copy, Default)]
struct Claimed {
    token: i64,
    /// When it heard of the claim.
    since: Micros,
    /// The newest generation that a claim or a settle has told.
    heard: i32,
    /// The newest generation that anything has told.
    newest: i32,
    /// How often a settle has told of a newer generation than anything before.
    renewals: u32,
    locked: bool,
    /// When outcomes that could not be written were written at last.
    unlocked: Micros,
    /// A read or a settle has told that the claim has ended.
    lost: bool,
}

/// What a burst was started with.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Basis {
    pub(super) token: i64,
    pub(super) heard: i32,
    renewals: u32,
}

impl Knowledge {
    /// An event goes to the engine.
    pub(super) fn hear(&mut self, event: &Event, now: Micros) {
        match event {
            Event::Claimed(Ok(answer)) => {
                answer.lanes.iter().for_each(|lane| self.claimed(lane, now));
            }
            Event::MessagesClaimed(Ok(looked)) => {
                looked.claimed.iter().for_each(|lane| self.claimed(lane, now));
            }
            Event::ProbesTaken(Ok(taken)) => {
                taken.iter().for_each(|probe| self.claimed(&probe.lane, now));
            }
            Event::Read(answer) => {
                let asked = std::mem::take(&mut self.reading);
                if let Ok(answer) = answer {
                    self.read(&asked, answer);
                }
            }
            Event::Settled(answer) => {
                if let Ok(written) = &answer.written {
                    self.settled(written, now);
                }
            }
            Event::Session(session) if session.sends => self.sends_off = None,
            Event::Session(_) => {
                self.sends_off.get_or_insert(now);
            }
            Event::Shutdown => self.stopping = true,
            _ => {}
        }
    }

    fn claimed(&mut self, lane: &ClaimedLane, now: Micros) {
        let ClaimedLane { key, token, generation, .. } = *lane;
        let claimed =
            Claimed { token, since: now, heard: generation, newest: generation, ..Claimed::default() };
        self.lanes.insert(id(key), claimed);
    }

    /// The engine has these lanes read.
    pub(super) fn asked_to_read(&mut self, lanes: &[HeldLane]) {
        self.reading = lanes.iter().map(|lane| (id(lane.key), lane.token)).collect();
    }

    fn read(&mut self, asked: &[(LaneId, i64)], answer: &ReadAnswer) {
        for lane in &answer.lanes {
            if let Some(known) = self.lanes.get_mut(&id(lane.key)) {
                known.newest = known.newest.max(lane.generation);
            }
        }
        let read = answer.lanes.iter().map(|lane| id(lane.key));
        let answered: BTreeSet<LaneId> =
            read.chain(answer.unreadable.iter().map(|(lane, _)| id(lane.key))).collect();
        for (lane, token) in asked.iter().filter(|(lane, _)| !answered.contains(lane)) {
            self.lost(*lane, *token);
        }
    }

    fn lost(&mut self, lane: LaneId, token: i64) {
        if let Some(known) = self.lanes.get_mut(&lane).filter(|known| known.token == token) {
            known.lost = true;
        }
    }

    fn settled(&mut self, written: &Written, now: Micros) {
        for ((key, token), outcome) in &written.outcomes {
            let Some(lane) = self.lanes.get_mut(&id(*key)).filter(|lane| lane.token == *token) else {
                continue;
            };
            let was_locked = std::mem::replace(&mut lane.locked, *outcome == SettleOutcome::Locked);
            if was_locked && !lane.locked {
                lane.unlocked = now;
            }
            lane.lost |= *outcome == SettleOutcome::Lost;
            if let SettleOutcome::Renewed(generation) = outcome {
                lane.renewals += u32::from(*generation > lane.newest);
                lane.heard = lane.heard.max(*generation);
                lane.newest = lane.newest.max(*generation);
            }
        }
        for ((key, token), _) in &written.refused {
            if let Some(lane) = self.lanes.get_mut(&id(*key)).filter(|lane| lane.token == *token) {
                lane.locked = true;
            }
        }
    }

    /// A burst starts.
    pub(super) fn basis(&self, key: LaneKey) -> Basis {
        let lane = self.lanes.get(&id(key)).copied().unwrap_or_default();
        Basis { token: lane.token, heard: lane.heard, renewals: lane.renewals }
    }

    /// Since when it knows that it holds a lane by this claim.
    pub(super) fn holds_since(&self, lane: LaneId, token: Option<i64>) -> Option<Micros> {
        self.lanes.get(&lane).filter(|known| Some(known.token) == token).map(|known| known.since)
    }

    /// Until when outcomes of a lane could not be written: `now` if they still cannot.
    pub(super) fn locked_until(&self, lane: LaneId, now: Micros) -> Micros {
        self.lanes.get(&lane).map_or(0, |known| if known.locked { now } else { known.unlocked })
    }

    pub(super) fn accepted(&mut self, lane: LaneId, messages: &[i64]) {
        self.accepted.extend(messages.iter().map(|message| (lane, *message)));
    }

    pub(super) fn has_accepted(&self, lane: LaneId, message: i64) -> bool {
        self.accepted.contains(&(lane, message))
    }

    /// Why no request of a burst may start, if so.
    pub(super) fn forbids(&self, lane: LaneId, basis: &Basis) -> Option<&'static str> {
        let known = self.lanes.get(&lane).copied().unwrap_or_default();
        if self.stopping {
            Some("the worker stops")
        } else if self.sends_off.is_some() {
            Some("nothing is to be sent")
        } else if known.token != basis.token {
            Some("the lane was claimed again")
        } else if known.lost {
            Some("it has heard that the lane is not its any more")
        } else if known.locked {
            Some("its outcomes could not be written")
        } else if known.renewals != basis.renewals {
            Some("it has heard that what the lane owes has changed")
        } else {
            None
        }
    }
}

fn id(key: LaneKey) -> LaneId {
    (key.webhook_id, key.lane)
}
