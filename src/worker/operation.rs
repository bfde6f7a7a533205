//! Statements that run beside the engine, and what their answers mean for it.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tracing::{info, warn};

use super::{
    WorkerError,
    engine::Engine,
    lane::{Lane, Phase, Reading},
    settlement::Batch,
};
use crate::{
    domain::{lane::LaneKey, webhook::TargetRow},
    store::{
        ClaimedLane, HeldLane, LaneNews, LaneState, ReadLane, ReadLimits, Retirement, Settlement, StoreError,
        Want,
    },
};

/// How many lanes one read serves at most.
const READ_MAX: usize = 256;

/// How long a read waits for more lanes to read where none of them has run out of messages, at most, for each worker.
const READ_AHEAD: Duration = Duration::from_millis(4);

/// What one read reads at most.
pub(super) const READ_LIMITS: ReadLimits = ReadLimits { messages_per_lane: 50, payload_bytes: 2 << 20 };

/// A statement's answer.
pub(super) enum Done {
    Claimed { wants: Vec<Want>, claimed: Result<Vec<ClaimedLane>, StoreError> },
    Read { asked: Vec<HeldLane>, read: Result<Vec<ReadLane>, StoreError> },
    Settled(Settled),
    Logged { rows: usize, logged: Result<(), StoreError> },
    News { first: bool, news: Result<Vec<LaneNews>, StoreError> },
    Targets(Result<Vec<TargetRow>, StoreError>),
    Disabled(i64, Result<(), StoreError>),
    Asked,
}

/// What became of a settle.
pub(super) struct Settled {
    settlement: Settlement,
    written: Result<(), StoreError>,
    retire: Vec<HeldLane>,
    retired: Result<HashMap<LaneKey, Retirement>, StoreError>,
    took: Duration,
}

impl Engine {
    pub(super) fn on_done(&mut self, done: Done) -> Result<(), WorkerError> {
        match done {
            Done::Claimed { wants, claimed: Ok(claimed) } => {
                self.recovered();
                self.on_claimed(&wants, claimed);
            }
            // The statement may have taken lanes that this worker would never hear of: under a new incarnation they
            // are released with the rest.
            Done::Claimed { claimed: Err(error), .. } if !error.is_refusal() || error.is_not_registered() => {
                return Err(WorkerError::Store(error));
            }
            Done::Claimed { claimed: Err(error), .. } => self.on_claim_failed(&error),
            Done::Read { asked, read } => self.on_read(asked, read),
            Done::News { first, news } => self.on_news(first, news),
            Done::Settled(settled) => self.on_settled(settled),
            Done::Logged { rows, logged } => self.on_logged(rows, logged.err().as_ref()),
            Done::Targets(Ok(targets)) => self.on_targets(Some(targets)),
            Done::Targets(Err(error)) => {
                self.trouble(&error, "reading webhooks");
                self.on_targets(None);
            }
            Done::Disabled(webhook_id, Err(error)) => {
                warn!(webhook_id, %error, "webhook could not be disabled; its next request will say so again");
            }
            // Silence is a matter of speed alone.
            Done::Disabled(_, Ok(())) | Done::Asked => {}
        }
        Ok(())
    }

    fn recovered(&mut self) {
        if self.trouble > 0 {
            info!("statements succeed again");
            self.trouble = 0;
        }
    }

    /// Asks for what a lane owes next.
    pub(super) fn read_on(&mut self, key: LaneKey) {
        self.read_by(key, Instant::now());
    }

    /// The same for a lane that has enough to go on with: so one read serves several.
    pub(super) fn read_ahead(&mut self, key: LaneKey) {
        self.read_by(key, Instant::now() + READ_AHEAD * self.signals.workers());
    }

    fn read_by(&mut self, key: LaneKey, due: Instant) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        match lane.reading {
            Reading::No => {
                lane.reading = Reading::Wanted;
                self.to_read.push(key);
                self.read_due = Some(self.read_due.map_or(due, |known| known.min(due)));
            }
            // The read under way may have begun too early to see what there is to see now.
            Reading::UnderWay => lane.reading = Reading::Again,
            Reading::Wanted => self.read_due = self.read_due.map(|known| known.min(due)),
            Reading::Again => {}
        }
    }

    pub(super) fn start_read(&mut self, now: Instant) {
        if self.under_way.read || self.read_due.is_none_or(|due| now < due) {
            return;
        }
        let asked: Vec<LaneKey> = self.to_read.drain(..self.to_read.len().min(READ_MAX)).collect();
        self.read_due = (!self.to_read.is_empty()).then_some(now);
        let mut held = Vec::with_capacity(asked.len());
        for key in asked {
            // A lane that was given up and claimed anew since may stand here twice; it must not be asked for twice.
            if let Some(lane) = self.lanes.get_mut(&key)
                && lane.reading == Reading::Wanted
            {
                lane.reading = Reading::UnderWay;
                lane.read_at = Some(now);
                held.push(lane.held());
            }
        }
        if held.is_empty() {
            return;
        }
        self.under_way.read = true;
        let messages = held.iter().map(|lane| self.messages_in_slice(lane.key.webhook_id)).max();
        let messages = messages.and_then(|messages| i32::try_from(messages).ok()).unwrap_or(i32::MAX);
        let messages_per_lane = messages.min(READ_LIMITS.messages_per_lane);
        let limits = ReadLimits { messages_per_lane, ..READ_LIMITS };
        let (store, worker) = (self.store.clone(), self.worker);
        self.operations.spawn(async move {
            let read = store.read_lanes(worker, &held, limits).await;
            Done::Read { asked: held, read }
        });
    }

    fn on_read(&mut self, asked: Vec<HeldLane>, read: Result<Vec<ReadLane>, StoreError>) {
        self.under_way.read = false;
        let read = match read {
            Ok(read) => read,
            Err(error) => {
                let wait = self.trouble(&error, "reading lanes");
                self.claims.ask_all();
                for HeldLane { key, token, .. } in asked {
                    let Some(lane) = self.lanes.get_mut(&key).filter(|lane| lane.token == token) else {
                        continue;
                    };
                    lane.reading = Reading::No;
                    lane.more = true;
                    if matches!(lane.phase, Phase::Idle) {
                        // Nothing else would bring it up again.
                        self.dry_until(key, Instant::now() + wait);
                    }
                }
                return;
            }
        };
        let mut read: HashMap<LaneKey, ReadLane> = read.into_iter().map(|lane| (lane.key, lane)).collect();
        for HeldLane { key, token, .. } in asked {
            // Under another token it is another claim, of which this answer says nothing.
            let Some(lane) = self.lanes.get_mut(&key).filter(|lane| lane.token == token) else { continue };
            let Some(read) = read.remove(&key) else {
                // Its webhook was deleted, or an operator has released it: it is not ours to send for any more.
                self.claims.look();
                lane.stop_run();
                if lane.running() {
                    lane.phase = Phase::Released;
                } else {
                    self.lanes.remove(&key);
                }
                continue;
            };
            let again = lane.reading == Reading::Again;
            let new = lane.read(read);
            if again && lane.has_messages() {
                // When it has sent these: a deep backlog must not fill this worker because something is always added to it.
                lane.more = true;
            } else if again {
                self.read_on(key);
            }
            let Some(lane) = self.lanes.get(&key) else { continue };
            match lane.phase {
                Phase::Idle => self.advance(key),
                Phase::Retiring if new => self.gathered.hasten(),
                Phase::Dry { .. } if new || lane.more => self.advance(key),
                // Running: it goes on with what came. Dry or retiring: what is said of that decides.
                _ => {}
            }
        }
    }

    /// Writes what has gathered, if it is time, and the log beside it.
    pub(super) fn start_settle(&mut self, now: Instant) {
        if self.gathered.due().is_none() {
            self.start_log();
        }
        if self.under_way.settle || self.gathered.due().is_none_or(|due| now < due) {
            return;
        }
        self.under_way.settle = true;
        self.start_log();
        let Batch { mut settlement, mut retire } = self.gathered.take();
        retire.sort_unstable();
        let retire: Vec<HeldLane> = retire
            .iter()
            .filter_map(|key| self.lanes.get(key))
            .filter(|lane| matches!(lane.phase, Phase::Retiring))
            .map(Lane::held)
            .collect();
        self.handed_settling =
            settlement.lanes.iter().map(|lane| lane.token).filter(|token| *token < 0).collect();
        let (store, worker) = (self.store.clone(), self.worker);
        self.operations.spawn(async move {
            let begun = Instant::now();
            let written =
                if settlement.is_empty() { Ok(()) } else { store.settle(worker, &mut settlement).await };
            let retired = if written.is_ok() && !retire.is_empty() {
                store.retire_lanes(worker, &retire).await
            } else {
                Ok(HashMap::new())
            };
            Done::Settled(Settled { settlement, written, retire, retired, took: begun.elapsed() })
        });
    }

    fn on_settled(&mut self, settled: Settled) {
        self.under_way.settle = false;
        self.handed_settling.clear();
        self.gathered.settled(settled.took);
        match settled.written {
            Ok(()) => {
                self.recovered();
                let released = settled.settlement.lanes.iter().filter(|lane| lane.state == LaneState::Ready);
                for webhook_id in released.map(|lane| lane.key.webhook_id) {
                    if self.targets.get(&webhook_id).is_some_and(|target| target.deliverable()) {
                        self.claims.released(webhook_id);
                        if !self.queued.contains_key(&webhook_id) {
                            self.claims.ask(webhook_id);
                        }
                    }
                }
                if !settled.settlement.dead.is_empty() {
                    // Their lanes are free to go on.
                    self.claims.look();
                }
            }
            Err(error) => {
                let wait = self.trouble(&error, "settle");
                self.gathered.put_back(settled.settlement, wait);
            }
        }
        let retired = settled.retired.unwrap_or_else(|error| {
            self.trouble(&error, "retiring lanes");
            HashMap::new()
        });
        for HeldLane { key, token, .. } in settled.retire {
            // The answer may come late: under another token the lane was made, claimed and run anew since.
            if self.lanes.get(&key).is_none_or(|lane| lane.token != token) {
                continue;
            }
            match retired.get(&key) {
                Some(Retirement::Retired) => self.on_retired(key),
                Some(Retirement::Rewound) | None => self.on_not_retired(key),
            }
        }
    }
}
