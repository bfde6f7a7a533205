//! Statements that run beside the engine, and what their answers mean for it.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::{info, warn};
use uuid::Uuid;

use super::{
    WorkerError,
    engine::Engine,
    halves::{Halved, in_halves},
    lane::{Lane, Phase, Reading},
    log::Logged,
    settlement::Batch,
};
use crate::{
    domain::{lane::LaneKey, target::TargetRow},
    store::{
        Claim, ClaimedLane, HeldLane, LaneNews, LaneOutcomes, LaneState, LastError, Looked, ReadLane,
        ReadLimits, Removal, SettleOutcome, Settlement, Store, StoreError, Want,
    },
};

/// The most lanes in one read.
const READ_MAX: usize = 256;

/// A read waits at most this long, for each worker, so that more lanes can join it. It waits only
/// for lanes that still have messages to send.
const READ_AHEAD: Duration = Duration::from_millis(4);

/// The limits of one read.
pub(super) const READ_LIMITS: ReadLimits = ReadLimits { messages_per_lane: 50, payload_bytes: 2 << 20 };

/// How long a lane waits if its messages cannot be read.
const UNREADABLE_WAIT: Duration = Duration::from_mins(1);

/// A statement's answer.
pub(super) enum Done {
    /// `refused`: if the lanes were claimed one by one, the error that was the reason.
    Claimed {
        wants: Vec<Want>,
        claimed: Result<Vec<ClaimedLane>, StoreError>,
        refused: Option<StoreError>,
    },
    Looked(Result<Looked, StoreError>),
    Read {
        asked: Vec<HeldLane>,
        read: Result<Halved<HeldLane, ReadLane>, StoreError>,
    },
    Settled(Settled),
    Logged(Logged),
    News {
        first: bool,
        news: Result<Vec<LaneNews>, StoreError>,
    },
    Targets(Result<Vec<TargetRow>, StoreError>),
    Disabled(i64, Result<(), StoreError>),
    ActivityWritten,
    Asked,
}

/// What became of a settle.
pub(super) struct Settled {
    settlement: Settlement,
    /// Whether these outcomes could not be written before, and were tried again.
    again: bool,
    written: Result<Halved<Claim, (Claim, SettleOutcome)>, StoreError>,
    retire: Vec<HeldLane>,
    retired: Result<HashMap<LaneKey, Removal>, StoreError>,
    took: Duration,
}

impl Engine {
    pub(super) fn on_done(&mut self, done: Done) -> Result<(), WorkerError> {
        match done {
            Done::Claimed { wants, claimed: Ok(claimed), refused } => {
                self.recovered();
                self.claims.say_refused(refused.as_ref());
                self.on_claimed(&wants, claimed);
            }
            Done::Claimed { claimed: Err(error), .. } => self.on_claim_ended(error)?,
            Done::Looked(looked) => self.on_looked(looked)?,
            Done::Read { asked, read } => self.on_read(asked, read),
            Done::News { first, news } => self.on_news(first, news),
            Done::Settled(settled) => self.on_settled(settled)?,
            Done::Logged(logged) => self.on_logged(&logged),
            Done::Targets(Ok(targets)) => self.on_targets(Some(targets)),
            Done::Targets(Err(error)) => {
                self.trouble(&error, "reading webhooks");
                self.on_targets(None);
            }
            Done::Disabled(webhook_id, Err(error)) => {
                warn!(webhook_id, %error, "webhook could not be disabled; its next request will say so again");
            }
            Done::ActivityWritten => self.on_activity_written(),
            // Suppressed notifications are a matter of speed alone; the audit log is best effort.
            Done::Disabled(_, Ok(())) | Done::Asked => {}
        }
        Ok(())
    }

    pub(super) fn recovered(&mut self) {
        if std::mem::take(&mut self.trouble) > 0 {
            self.signals.set_trouble(None);
        }
        if std::mem::take(&mut self.tell_recovery) {
            info!("statements succeed again");
        }
    }

    /// Has a lane's next messages read as soon as possible.
    pub(super) fn read_on(&mut self, key: LaneKey) {
        self.read_by(key, Instant::now());
    }

    /// The same for a lane that still has messages to send: it can wait, so that one read serves
    /// several lanes.
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
            // The read under way may have begun too early to see the newest messages.
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
            // A lane that was given up and claimed again may stand here twice. It must be read only
            // once.
            if let Some(lane) = self.lanes.get_mut(&key)
                && lane.reading == Reading::Wanted
            {
                lane.begin_read(now);
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
            let read = read_lanes(&store, worker, held.clone(), limits).await;
            Done::Read { asked: held, read }
        });
    }

    fn on_read(&mut self, mut asked: Vec<HeldLane>, read: Result<Halved<HeldLane, ReadLane>, StoreError>) {
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
                        // Nothing else would look at this lane again. Its removal is tried after
                        // the wait, and finds what it owes.
                        self.dry_until(key, Instant::now() + wait);
                    }
                }
                return;
            }
        };
        for (lane, error) in &read.failed {
            asked.retain(|asked| asked.key != lane.key);
            self.on_unreadable(*lane, error);
        }
        let mut read: HashMap<LaneKey, ReadLane> =
            read.answers.into_iter().map(|lane| (lane.key, lane)).collect();
        for HeldLane { key, token, .. } in asked {
            // Another token is another claim. This answer says nothing about it.
            let Some(lane) = self.lanes.get_mut(&key).filter(|lane| lane.token == token) else { continue };
            let Some(read) = read.remove(&key) else {
                // Its webhook was deleted, or the lane was released or taken over: this worker may
                // not send for it any more.
                self.give_up(key);
                continue;
            };
            let again = lane.reading == Reading::Again;
            let new = lane.read(read);
            if new {
                self.pace.worked(Instant::now());
            }
            if again && lane.has_messages() {
                // Read again only when these are sent. Otherwise a lane with a deep backlog, to
                // which messages are added all the time, would fill this worker.
                lane.more = true;
            } else if again {
                self.read_on(key);
            }
            let Some(lane) = self.lanes.get(&key) else { continue };
            match lane.phase {
                Phase::Idle => self.advance(key),
                Phase::Retiring if new => self.gathered.hasten(),
                Phase::Dry { .. } if new || lane.more => self.advance(key),
                // Running: it goes on with what came. Idle without anything new, or being removed:
                // `retire_at` or the removal's answer decides.
                _ => {}
            }
        }
    }

    /// What a lane owes cannot be read: the lane waits, and its row says why. The log names only
    /// some of these lanes. Other lanes go on.
    fn on_unreadable(&mut self, HeldLane { key, token, .. }: HeldLane, error: &StoreError) {
        let Some(lane) = self.lanes.get_mut(&key).filter(|lane| lane.token == token) else { return };
        if let Some(left_out) = self.unreadable_said.say(Instant::now()) {
            warn!(
                webhook_id = key.webhook_id,
                lane = key.lane,
                %error,
                left_out,
                "what a lane owes cannot be read; it is tried again in a minute"
            );
        }
        lane.reading = Reading::No;
        lane.more = true;
        if matches!(lane.phase, Phase::Idle | Phase::Dry { .. }) {
            lane.failures += 1;
            let error = LastError { text: error.to_string(), class: None, status_code: None };
            let change = lane.change(LaneState::Waiting(UNREADABLE_WAIT), Some(error));
            self.gathered.lane((key, token), change);
            self.lanes.remove(&key);
        }
    }

    /// Settles what has gathered, if it is time, and writes the attempt log beside it.
    pub(super) fn start_settle(&mut self, now: Instant) {
        if self.gathered.due().is_none() {
            self.start_log();
        }
        if !self.under_way.settle_again && self.locked.due().is_some_and(|due| now >= due) {
            self.under_way.settle_again = true;
            let settlement = self.locked.take_due(now);
            self.settle(settlement, Vec::new(), true);
        }
        if self.under_way.settle || self.gathered.due().is_none_or(|due| now < due) {
            return;
        }
        self.under_way.settle = true;
        self.start_log();
        let Batch { mut settlement, mut retire } = self.gathered.take();
        self.locked.keep_back(&mut settlement);
        for ((key, token), outcomes) in &mut settlement {
            let held = self.lanes.get(key).filter(|lane| lane.token == *token);
            outcomes.generation = held.map(|lane| lane.generation);
        }
        retire.sort_unstable();
        let retire: Vec<HeldLane> = retire
            .iter()
            .filter_map(|key| self.lanes.get(key))
            .filter(|lane| matches!(lane.phase, Phase::Retiring))
            .map(Lane::held)
            .collect();
        self.settle(settlement, retire, false);
    }

    fn settle(&mut self, settlement: Settlement, retire: Vec<HeldLane>, again: bool) {
        let (store, worker) = (self.store.clone(), self.worker);
        self.operations.spawn(async move {
            let begun = Instant::now();
            let settlement = Arc::new(settlement);
            let claims = settlement.keys().copied().collect();
            let written = in_halves(claims, may_be_of_a_lane, |claims: Vec<Claim>| {
                let (store, settlement) = (store.clone(), Arc::clone(&settlement));
                async move {
                    // Nearly always all of it; after a failure, a half or less.
                    if claims.len() == settlement.len() {
                        return store.settle(worker, &settlement).await;
                    }
                    let part =
                        claims.iter().filter_map(|claim| Some((*claim, settlement.get(claim)?.clone())));
                    store.settle(worker, &part.collect()).await
                }
            })
            .await;
            let settlement = Arc::unwrap_or_clone(settlement);
            let retired =
                if written.is_ok() { remove_idle(&store, worker, &retire).await } else { Ok(HashMap::new()) };
            Done::Settled(Settled { settlement, again, written, retire, retired, took: begun.elapsed() })
        });
    }

    fn on_settled(&mut self, settled: Settled) -> Result<(), WorkerError> {
        if settled.again {
            self.under_way.settle_again = false;
        } else {
            self.under_way.settle = false;
            self.gathered.settled(settled.took);
        }
        match settled.written {
            Ok(written) => {
                self.recovered();
                self.on_written(settled.settlement, written);
            }
            // Whether it was written is not known. A new incarnation reads everything again.
            Err(error) if !error.is_refusal() => return Err(WorkerError::Store(error)),
            Err(error) => {
                let wait = self.trouble(&error, "settle");
                if settled.again {
                    let now = Instant::now();
                    for (claim, outcomes) in settled.settlement {
                        self.locked.keep(claim, outcomes, "PostgreSQL refuses all statements", now);
                    }
                } else {
                    self.gathered.put_back(settled.settlement, wait);
                }
            }
        }
        let retired = match settled.retired {
            Ok(retired) => retired,
            Err(error) if !error.is_refusal() => return Err(WorkerError::Store(error)),
            Err(error) => {
                self.trouble(&error, "removing idle lanes");
                HashMap::new()
            }
        };
        for HeldLane { key, token, .. } in settled.retire {
            // The answer may come late. Another token is another claim: this answer says nothing
            // about it.
            if self.lanes.get(&key).is_none_or(|lane| lane.token != token) {
                continue;
            }
            match retired.get(&key) {
                Some(Removal::Removed) => self.on_retired(key),
                Some(Removal::Rewound) | None => self.on_not_retired(key),
            }
        }
        Ok(())
    }

    /// Takes in what became of each claim of a settlement.
    fn on_written(&mut self, mut settlement: Settlement, written: Halved<Claim, (Claim, SettleOutcome)>) {
        let now = Instant::now();
        for (claim, outcome) in written.answers {
            let outcomes = settlement.remove(&claim).unwrap_or_default();
            match outcome {
                SettleOutcome::Written => self.on_lane_written(claim, &outcomes),
                SettleOutcome::Renewed(generation) => {
                    self.on_lane_written(claim, &outcomes);
                    self.on_lane_renewed(claim, generation);
                }
                SettleOutcome::Lost => self.on_lane_lost(claim),
                SettleOutcome::Locked => {
                    self.on_lane_locked(claim);
                    self.locked.keep(claim, outcomes, "somebody has locked the lane's row", now);
                }
            }
        }
        for (claim, error) in written.failed {
            let outcomes = settlement.remove(&claim).unwrap_or_default();
            self.on_lane_locked(claim);
            self.locked.keep(claim, outcomes, &error.to_string(), now);
        }
    }

    fn on_lane_written(&mut self, claim: Claim, outcomes: &LaneOutcomes) {
        let (key, token) = claim;
        if let Some(lane) = self.lanes.get_mut(&key).filter(|lane| lane.token == token) {
            lane.wrote(outcomes.done.len() + outcomes.dead.len());
        }
        if outcomes.change.as_ref().is_some_and(|change| change.state == LaneState::Ready)
            && self.targets.get(&key.webhook_id).is_some_and(|target| target.deliverable())
        {
            self.claims.released(key.webhook_id);
            if !self.queued.contains_key(&key.webhook_id) {
                self.claims.ask(key.webhook_id);
            }
        }
        if !outcomes.dead.is_empty() {
            // The dead letter is written: its lane may be claimed again and go on.
            self.claims.look();
        }
        if self.locked.is_empty() {
            return;
        }
        let later = self.locked.settled(claim);
        if later.count() > 0 {
            self.gathered.put_back(Settlement::from([(claim, later)]), Duration::ZERO);
        }
        if let Some(lane) = self.lanes.get_mut(&key).filter(|lane| lane.token == token && lane.locked) {
            lane.locked = false;
            if matches!(lane.phase, Phase::Idle) {
                self.advance(key);
            }
        }
    }

    /// What a lane owes has changed: it is read anew.
    fn on_lane_renewed(&mut self, (key, token): Claim, generation: i32) {
        let Some(lane) = self.lanes.get_mut(&key).filter(|lane| lane.token == token) else { return };
        if lane.generation == generation {
            return;
        }
        lane.outdate();
        if matches!(lane.phase, Phase::Dry { .. }) {
            self.read_on(key);
        }
    }

    /// A lane is not this worker's any more.
    fn on_lane_lost(&mut self, claim: Claim) {
        self.locked.settled(claim);
        let (key, token) = claim;
        if self.lanes.get(&key).is_some_and(|lane| lane.token == token) {
            self.give_up(key);
        }
    }

    /// A lane's outcomes cannot be written: no further request of it begins until they are.
    fn on_lane_locked(&mut self, (key, token): Claim) {
        if let Some(lane) = self.lanes.get_mut(&key).filter(|lane| lane.token == token) {
            lane.locked = true;
            lane.stop_run();
        }
    }

    /// Stops sending for a lane that was deleted, released or taken over, and forgets it.
    fn give_up(&mut self, key: LaneKey) {
        self.claims.look();
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        lane.stop_run();
        if lane.running() {
            lane.phase = Phase::Released;
        } else {
            self.lanes.remove(&key);
        }
    }
}

/// Whether one of the lanes may be the reason why writing failed: its row or one of its deliveries
/// may be locked, or be refused.
fn may_be_of_a_lane(error: &StoreError) -> bool {
    error.may_be_of_a_row() || error.took_too_long()
}

/// Reads what lanes owe. A read locks no rows, so if it takes too long, no single lane is the
/// reason. If a lane has a message that cannot be read, the messages before it are read, one in
/// each call.
async fn read_lanes(
    store: &Store,
    worker: Uuid,
    held: Vec<HeldLane>,
    limits: ReadLimits,
) -> Result<Halved<HeldLane, ReadLane>, StoreError> {
    let mut read = in_halves(held, StoreError::may_be_of_a_row, |held| {
        let store = store.clone();
        async move { store.read_lanes(worker, &held, limits).await }
    })
    .await?;
    for (lane, error) in std::mem::take(&mut read.failed) {
        match store.read_lanes(worker, &[lane], ReadLimits { messages_per_lane: 1, ..limits }).await {
            Ok(first) => read.answers.extend(first),
            Err(_) => read.failed.push((lane, error)),
        }
    }
    Ok(read)
}

/// Removes idle lanes. A lane whose row cannot be deleted stays.
async fn remove_idle(
    store: &Store,
    worker: Uuid,
    lanes: &[HeldLane],
) -> Result<HashMap<LaneKey, Removal>, StoreError> {
    let removed = in_halves(lanes.to_vec(), may_be_of_a_lane, |lanes| {
        let store = store.clone();
        async move { Ok(store.remove_idle_lanes(worker, &lanes).await?.into_iter().collect()) }
    });
    Ok(removed.await?.answers.into_iter().collect())
}
