//! The engine's statements on the model, and their answers as events.

use bytes::Bytes;
use pgtopic::{
    domain::{batch::Batch, lane::LaneKey, message::Message},
    store::{
        ClaimedLane, DueAfter, Follower, HeldLane, Looked, Owed, OwedMessage, ReadLane, ReadLimits, Want,
    },
    worker::engine::{
        command::Command,
        event::{ClaimAnswer, Event, LogAnswer, ReadAnswer},
        failure::Failure,
    },
};

use super::{
    Handle,
    budget::{Budget, PAYLOAD},
    calls::CallError,
    clock::{micros, timestamp},
    plan::Kind,
    queries::{disable, due, tail},
    shares::share_limits,
};
use crate::{
    functions::{
        self as sql, Claimed,
        claim_lanes::claim_lanes,
        claim_lanes_singly::claim_lanes_singly,
        claim_messages::{Told, claim_messages},
        is_held::hold_webhook,
        read_lanes::{Held, read_lanes},
    },
    postgres::tables::Lane,
    schedule::{Micros, SECOND},
};

/// Executes statements for one incarnation.
#[derive(Clone)]
pub(super) struct Statements {
    pub(super) world: Handle,
    pub(super) process: usize,
    pub(super) worker: u32,
}

pub(super) type Called<T> = std::result::Result<T, CallError>;

pub(super) fn answer<T>(called: Called<T>) -> Result<T, Failure> {
    called.map_err(CallError::failure)
}

impl Statements {
    /// `None`: nothing answers.
    pub(super) async fn execute(self, command: Command) -> Option<Event> {
        Some(match command {
            Command::ListDueWebhooks { after, sweep } => {
                let listed = self
                    .world
                    .call(self.process, Kind::Other, async move |session| due(session, after, sweep).await);
                Event::DueWebhooks(answer(listed.await))
            }
            Command::Claim { token, wants, sweep, limits } => {
                Event::Claimed(self.claim(token, &wants, sweep, limits).await)
            }
            Command::ClaimMessages { token, message_ids, room, limits } => {
                let told = Told {
                    worker: self.worker,
                    token,
                    messages: message_ids,
                    full_webhooks: room.full_webhooks,
                    lanes_at_most: room.lanes,
                    messages_per_lane: count(limits),
                };
                let began = self.world.now();
                let (world, worker) = (self.world.clone(), self.worker);
                let called = self.world.call(self.process, Kind::Claim, async move |session| {
                    let before = world.standing(worker);
                    let looked = claim_messages(session, &told).await?;
                    world.check_claimed(worker, &before, false, &looked.0);
                    Ok(looked)
                });
                let mut budget = Budget::new(limits, false);
                let looked = called.await.map(|(claimed, held)| Looked {
                    claimed: self.all_claimed(began, claimed, token, limits),
                    followers: held.into_iter().map(|held| self.follower(&held, &mut budget)).collect(),
                });
                Event::MessagesClaimed(answer(looked))
            }
            Command::Read { lanes, limits } => Event::Read(self.read(lanes, limits).await),
            Command::ReadTail { after, missing } => {
                let read = self.world.call(self.process, Kind::Read, async move |session| {
                    tail(session, after, &missing).await
                });
                Event::TailRead(answer(read.await))
            }
            Command::Settle { settlement, again, remove } => {
                Event::Settled(self.settle(settlement, again, remove).await)
            }
            Command::LogAttempts { rows, .. } => {
                let rows = rows.len();
                let written = self.world.call(self.process, Kind::Other, async |_| Ok(())).await;
                let failure = written.err().map(CallError::failure);
                Event::AttemptsLogged(LogAnswer {
                    rows,
                    written: if failure.is_none() { rows } else { 0 },
                    refused: 0,
                    failure,
                })
            }
            Command::WriteActivity { .. } => {
                let _ = self.world.call(self.process, Kind::Other, async |_| Ok(())).await;
                Event::ActivityWritten
            }
            Command::ShareLimits { asks, done } => {
                let (world, worker) = (self.world.clone(), self.worker);
                let shared = self.world.call(self.process, Kind::Other, async move |session| {
                    share_limits(&world, session, worker, &asks, &done).await
                });
                Event::Shares(answer(shared.await))
            }
            Command::Disable { webhook_id } => {
                let disabled = self.world.call(self.process, Kind::Other, async move |session| {
                    disable(session, webhook_id, true).await
                });
                let failed = disabled.await.err()?;
                Event::NotDisabled { webhook_id, failure: failed.failure() }
            }
            Command::Hold { webhook_id, hold } => {
                let hold = micros(hold);
                let held = self.world.call(self.process, Kind::Other, async move |session| {
                    hold_webhook(session, webhook_id, hold).await
                });
                let _ = held.await;
                return None;
            }
            command => return self.execute_of_breakers(command).await,
        })
    }

    async fn claim(
        &self,
        token: i64,
        wants: &[Want],
        sweep: bool,
        limits: ReadLimits,
    ) -> Result<ClaimAnswer, Failure> {
        let claim = |messages_per_lane| sql::claim_lanes::Claim {
            worker: self.worker,
            token,
            webhooks: wants.iter().map(|want| (want.webhook_id, want.slots)).collect(),
            due_after: wants.iter().map(|want| from(want.due_after, self.world.clock_now())).collect(),
            sweep,
            messages_per_lane,
        };
        let at_once = claim(count(limits));
        let began = self.world.now();
        let (world, worker) = (self.world.clone(), self.worker);
        let called = self.world.call(self.process, Kind::Claim, async move |session| {
            let before = world.standing(worker);
            let claimed = claim_lanes(session, &at_once).await?;
            world.check_claimed(worker, &before, false, &claimed);
            Ok(claimed)
        });
        match called.await {
            Ok(lanes) => {
                Ok(ClaimAnswer { lanes: self.all_claimed(began, lanes, token, limits), one_by_one: None })
            }
            Err(error) if error.may_be_of_a_row() => {
                let singly = claim(0);
                let world = self.world.clone();
                let called = self.world.call(self.process, Kind::Claim, async move |session| {
                    let before = world.standing(worker);
                    let claimed = claim_lanes_singly(session, &singly).await?;
                    world.check_claimed(worker, &before, false, &claimed);
                    Ok(claimed)
                });
                let none = ReadLimits { messages_per_lane: 0, payload_bytes: 0 };
                let lanes = answer(called.await)?;
                let lanes = self.all_claimed(began, lanes, token, none);
                Ok(ClaimAnswer { lanes, one_by_one: Some(error.failure()) })
            }
            Err(error) => Err(error.failure()),
        }
    }

    async fn read(&self, lanes: Vec<HeldLane>, limits: ReadLimits) -> Result<ReadAnswer, Failure> {
        let (read, failed) = self
            .in_halves(lanes, CallError::may_be_of_a_row, async |lanes: Vec<HeldLane>| {
                let held: Vec<Held> = lanes.iter().map(held).collect();
                let worker = self.worker;
                let world = self.world.clone();
                let called = self.world.call(self.process, Kind::Read, async move |session| {
                    let claims = || held.iter().map(|held| (held.lane_id(), held.token));
                    let before = world.holds(worker, claims());
                    let read = read_lanes(session, worker, &held, count(limits)).await?;
                    world.check_read(worker, &before, &world.holds(worker, claims()), &read);
                    Ok(read)
                });
                called.await
            })
            .await
            .map_err(CallError::failure)?;
        let mut budget = Budget::new(limits, true);
        let lanes = read.into_iter().map(|claimed| {
            let Lane { webhook, lane, position, generation, .. } = claimed.lane;
            ReadLane {
                key: LaneKey { webhook_id: webhook, lane },
                position,
                generation,
                owed: self.owed(&claimed, limits, &mut budget),
            }
        });
        let unreadable = failed.into_iter().map(|(lane, error)| (lane, error.failure())).collect();
        Ok(ReadAnswer { lanes: lanes.collect(), unreadable })
    }

    /// As the driver's `in_halves`.
    pub(super) async fn in_halves<T: Clone, R>(
        &self,
        items: Vec<T>,
        of_an_item: impl Fn(CallError) -> bool,
        call: impl AsyncFn(Vec<T>) -> Called<Vec<R>>,
    ) -> Called<(Vec<R>, Vec<(T, CallError)>)> {
        let (mut answers, mut failed, mut groups) = (Vec::new(), Vec::new(), vec![items]);
        while let Some(mut group) = groups.pop() {
            if group.is_empty() {
                continue;
            }
            match call(group.clone()).await {
                Ok(some) => answers.extend(some),
                Err(error) if !of_an_item(error) => return Err(error),
                Err(error) if group.len() == 1 => failed.extend(group.pop().map(|item| (item, error))),
                Err(_) => {
                    let second = group.split_off(group.len() / 2);
                    groups.extend([second, group]);
                }
            }
        }
        Ok((answers, failed))
    }

    // -- Rows -------------------------------------------------------------------------------------

    /// A call that began then has claimed lanes.
    fn all_claimed(
        &self,
        began: Micros,
        lanes: Vec<Claimed>,
        token: i64,
        limits: ReadLimits,
    ) -> Vec<ClaimedLane> {
        self.world.history.borrow_mut().claimed(began, self.worker, token, &lanes);
        let mut budget = Budget::new(limits, false);
        lanes.into_iter().map(|lane| self.claimed(&lane, token, limits, &mut budget)).collect()
    }

    pub(super) fn claimed(
        &self,
        claimed: &Claimed,
        token: i64,
        limits: ReadLimits,
        budget: &mut Budget,
    ) -> ClaimedLane {
        let lane = claimed.lane.clone();
        let failed = lane.head.map(|first| Batch {
            first,
            last: lane.batch_last.unwrap_or(first),
            count: lane.batch_count.map_or(1, |count| usize::try_from(count).unwrap_or(1)),
        });
        ClaimedLane {
            key: LaneKey { webhook_id: lane.webhook, lane: lane.lane },
            due_at: timestamp(lane.due_at),
            token,
            position: lane.position,
            generation: lane.generation,
            failed,
            failures: lane.failures,
            split_until: lane.split_until,
            owed: self.owed(claimed, limits, budget),
        }
    }

    /// What was read, as far as the budget of the call goes. Now and then it ends early.
    fn owed(&self, claimed: &Claimed, limits: ReadLimits, budget: &mut Budget) -> Owed {
        let full = claimed.messages.len() >= count(limits);
        let mut items: Vec<OwedMessage> =
            claimed.messages.iter().map(|read| self.message(&claimed.lane, *read)).collect();
        let read = items.len();
        let room = budget.take(read, self.world.plan.payload, || self.world.once_in(20));
        items.truncate(room);
        Owed { items, more: full || room < read }
    }

    fn follower(&self, held: &Claimed, budget: &mut Budget) -> Follower {
        let deferred = budget.take(1, self.world.plan.payload, || self.world.once_in(20)) == 0;
        let found = held.messages.first().copied();
        let lane = (held.lane.webhook, held.lane.lane);
        self.world.history.borrow_mut().followers.extend(found.map(|read| (lane, read.message)));
        let read = found.map(|read| self.message(&held.lane, read));
        Follower {
            key: LaneKey { webhook_id: held.lane.webhook, lane: held.lane.lane },
            token: held.lane.token.unwrap_or_default(),
            generation: held.lane.generation,
            after: held.lane.position,
            message_id: found.map_or(0, |read| read.message),
            message: match read {
                Some(OwedMessage::Present(message)) if !deferred => Some(message),
                _ => None,
            },
        }
    }

    fn message(&self, lane: &Lane, read: sql::Read) -> OwedMessage {
        if read.missing {
            return OwedMessage::Missing(read.message);
        }
        if read.superseded {
            return OwedMessage::Superseded(read.message);
        }
        OwedMessage::Present(Message {
            id: read.message,
            partition_key: lane.key.to_string().into(),
            r#type: None,
            payload: Bytes::from_static(&PAYLOAD[..self.world.plan.payload]),
            headers: None,
            created_at: timestamp(0),
            replay: read.replayed,
            born: std::time::Instant::now(),
        })
    }
}

/// From when on lanes must be due.
fn from(due_after: DueAfter, now: Micros) -> Micros {
    match due_after {
        DueAfter::Recent => now - 5 * SECOND,
        DueAfter::At(at) => at.as_microsecond(),
        DueAfter::Beginning => Micros::MIN,
    }
}

pub(super) fn count(limits: ReadLimits) -> usize {
    usize::try_from(limits.messages_per_lane).unwrap_or(0)
}

pub(super) fn held(lane: &HeldLane) -> Held {
    Held {
        webhook: lane.key.webhook_id,
        lane: lane.key.lane,
        token: lane.token,
        position: lane.position,
        generation: lane.generation,
    }
}
