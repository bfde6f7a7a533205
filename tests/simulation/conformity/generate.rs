//! Chooses the next step of a script by what the model shows. Topics, keys and webhooks are few, so
//! that sessions meet.

use super::{
    action::{Action, Call, Mode, SESSIONS, Stands, Step},
    model::{Learnt, Model},
    real::KEYS,
};
use crate::{
    functions::{
        claim_lanes::Claim,
        claim_messages::Told,
        messages_publish::Publication,
        read_lanes::Held,
        settle::{Becomes, Outcome, Settlement},
    },
    postgres::{
        row_lock::{Locked, RowLock},
        tables::{DeadLetter, Delivery, Lane, Message, Pause, Reason, Webhook, Worker},
        transaction::Level,
    },
    random::Random,
    schedule::SECOND,
};

/// How many topics scripts may have.
pub(crate) const TOPICS: i64 = 2;
/// How many workers and webhooks, at most.
const WORKERS: u32 = 3;
const WEBHOOKS: usize = 4;

/// Chooses steps.
pub(crate) struct Generator {
    random: Random,
    mode: Mode,
    /// The last token of each worker. They are few, so that two workers have the same one.
    tokens: [i64; WORKERS as usize + 1],
    gid: u32,
    known: Vec<Learnt>,
    /// How many keys this script uses.
    keys: usize,
}

impl Generator {
    pub(crate) fn new(seed: u64, mode: Mode) -> Self {
        let mut random = Random::new(seed);
        let keys = 1 + random.below(KEYS as usize);
        Self { random, mode, tokens: [0; WORKERS as usize + 1], gid: 0, known: Vec::new(), keys }
    }

    /// What every script begins with.
    pub(crate) fn beginning() -> Vec<Step> {
        let calls = [
            Call::CreateTopic { ordered: true },
            Call::CreateTopic { ordered: false },
            Call::Register(1),
            Call::Register(2),
            Call::CreateWebhook { topic: 1, types: None },
            Call::CreateWebhook { topic: 1, types: None },
            Call::CreateWebhook { topic: 2, types: None },
        ];
        calls.into_iter().map(|call| Step { session: 0, action: Action::Call(call) }).collect()
    }

    /// The next step; nothing if no session can do anything.
    pub(crate) fn next(&mut self, model: &Model) -> Option<Step> {
        self.known.extend(model.take_learnt());
        let stands = model.stands();
        let able: Vec<usize> = (0..SESSIONS).filter(|number| stands[*number] != Stands::Waits).collect();
        if able.is_empty() {
            return None;
        }
        let session = self.random.pick(&able);
        let action =
            if stands[session] == Stands::Stopped { Action::GoOn } else { self.idle(model, session) };
        Some(Step { session, action })
    }

    /// The next step that brings a script to its end: each transaction ends.
    pub(crate) fn finish(model: &Model) -> Option<Step> {
        let stands = model.stands();
        let at = |wanted: Stands| (0..SESSIONS).find(|number| stands[*number] == wanted);
        if let Some(session) = at(Stands::Stopped) {
            return Some(Step { session, action: Action::GoOn });
        }
        let open = |number: &usize| {
            stands[*number] == Stands::Idle && model.sessions[*number].transaction().is_some()
        };
        if let Some(session) = (0..SESSIONS).find(open) {
            return Some(Step { session, action: Action::Commit });
        }
        let session = at(Stands::Idle)?;
        let gid = model.database.state().prepared.keys().next().copied()?;
        Some(Step { session, action: Action::EndPrepared(gid, gid % 2 == 0) })
    }

    fn idle(&mut self, model: &Model, session: usize) -> Action {
        let Some((level, failed)) = model.sessions[session].transaction() else {
            let prepared: Vec<u32> = model.database.state().prepared.keys().copied().collect();
            if !prepared.is_empty() && self.random.once_in(4) {
                return Action::EndPrepared(self.random.pick(&prepared), self.random.once_in(2));
            }
            if self.random.below(100) < 45 {
                return Action::Begin(self.level(session));
            }
            return Action::Call(self.call(model, Level::ReadCommitted));
        };
        let savepoints = model.sessions[session].savepoints();
        if failed {
            return match savepoints.last() {
                Some(name) if self.random.once_in(2) => Action::RollbackTo(*name),
                _ => Action::Rollback,
            };
        }
        match self.random.below(100) {
            0..20 if self.mode.prepares && level != Level::Serializable => {
                self.gid += 1;
                Action::Prepare(self.gid)
            }
            0..22 => Action::Commit,
            22..28 => Action::Rollback,
            28..34 => Action::Savepoint(u8::try_from(savepoints.len()).unwrap_or(u8::MAX)),
            34..38 if !savepoints.is_empty() => Action::RollbackTo(self.random.pick(&savepoints)),
            38..40 if !savepoints.is_empty() => Action::Release(self.random.pick(&savepoints)),
            _ => Action::Call(self.call(model, level)),
        }
    }

    /// SERIALIZABLE only in one session: what it refuses beyond REPEATABLE READ needs two.
    fn level(&mut self, session: usize) -> Level {
        match self.random.below(10) {
            0..6 => Level::ReadCommitted,
            _ if session == 2 => Level::Serializable,
            _ => Level::RepeatableRead,
        }
    }

    fn call(&mut self, model: &Model, level: Level) -> Call {
        if level == Level::ReadCommitted || self.random.once_in(8) {
            return self.any_call(model);
        }
        // The engine's functions refuse this level.
        match self.random.below(12) {
            0 => self.topic_call(),
            1 | 2 => self.webhook_call(model),
            3 => self.lock_lane(model),
            _ => self.publish(),
        }
    }

    fn any_call(&mut self, model: &Model) -> Call {
        match self.random.below(100) {
            0..26 => self.publish(),
            26..40 => self.claim(model),
            40..46 => self.told(model),
            46..62 => self.settle(model),
            62..71 => {
                let (worker, held) = self.idle_lanes(model);
                Call::RemoveIdle { worker, held }
            }
            71..74 => {
                let (worker, held) = self.held();
                Call::Read { worker, held, at_most: self.random.pick(&[1, 3]) }
            }
            74..80 => self.replay(model),
            80..85 => self.cancel(model),
            85..87 => self.letters(model),
            87 => self.retry(model),
            88..93 => self.worker_call(model),
            93..96 => self.webhook_call(model),
            96 => self.topic_call(),
            97 => Call::DeleteOld,
            _ => self.lock_lane(model),
        }
    }

    fn publish(&mut self) -> Call {
        let idempotency_key = self.random.once_in(8).then(|| u32::from(self.random.once_in(2)));
        Call::Publish(Publication {
            topic: if self.random.once_in(6) { TOPICS } else { 1 },
            key: u32::try_from(self.random.below(self.keys)).unwrap_or(0),
            kind: self.random.once_in(4).then_some(1),
            idempotency_key,
        })
    }

    fn claim(&mut self, model: &Model) -> Call {
        let worker = self.worker();
        let webhooks: Vec<i64> =
            model.database.peek(|view| view.range::<Webhook>(..).map(|(_, row)| row.id).collect());
        let claim = Claim {
            worker,
            token: self.token(worker),
            webhooks: webhooks.into_iter().map(|webhook| (webhook, self.random.pick(&[1, 2, 10]))).collect(),
            due_after: Vec::new(),
            sweep: self.random.once_in(4),
            messages_per_lane: self.random.pick(&[0, 1, 3]),
        };
        if self.random.once_in(4) { Call::ClaimSingly(claim) } else { Call::Claim(claim) }
    }

    fn told(&mut self, model: &Model) -> Call {
        let worker = self.worker();
        let last = model.database.state().sequences.message_ids.last();
        let messages =
            (0..=self.random.below(3)).map(|_| last - i64::try_from(self.random.below(5)).unwrap_or(0));
        Call::ClaimMessages(Told {
            messages: messages.collect(),
            token: self.token(worker),
            worker,
            full_webhooks: if self.random.once_in(4) { vec![1] } else { Vec::new() },
            lanes_at_most: self.random.pick(&[1, 10]),
            messages_per_lane: self.random.pick(&[1, 3]),
        })
    }

    fn token(&mut self, worker: u32) -> i64 {
        let token = &mut self.tokens[worker as usize];
        *token = *token % 3 + 1;
        *token
    }

    /// A worker that is often registered.
    fn worker(&mut self) -> u32 {
        1 + u32::from(self.random.once_in(2)) + u32::from(self.random.once_in(12))
    }

    /// Lanes that a worker holds, as far as it knows, in primary-key order.
    fn held(&mut self) -> (u32, Vec<Held>) {
        let recent = self.recent();
        let worker = recent.first().map_or(1, |learnt| learnt.worker);
        (worker, recent.iter().map(as_held).collect())
    }

    /// The same; often lanes that owe nothing.
    fn idle_lanes(&mut self, model: &Model) -> (u32, Vec<Held>) {
        let (worker, mut held) = self.held();
        if self.random.once_in(4) {
            return (worker, held);
        }
        let idle = |held: &Held, lane: &Lane, owed: Option<i64>| {
            lane.claimed_by.is_some() && owed.is_none_or(|first| first <= held.position.max(lane.position))
        };
        let known = self.known.iter().rev().filter(|learnt| learnt.worker == worker);
        held.extend(known.take(6).map(as_held));
        held.sort_by_key(|held| (held.webhook, held.lane, -held.token));
        held.dedup_by_key(|held| (held.webhook, held.lane));
        model.database.peek(|view| {
            held.retain(|held| {
                let keys = (held.webhook, held.lane, i64::MIN)..=(held.webhook, held.lane, i64::MAX);
                let owed = view.range::<Delivery>(keys).next().map(|(_, row)| row.message);
                view.get::<Lane>(&(held.webhook, held.lane)).is_some_and(|lane| idle(held, lane, owed))
            });
        });
        (worker, held)
    }

    /// What one worker has learnt lately of up to three lanes.
    fn recent(&mut self) -> Vec<Learnt> {
        let from = self.known.len().saturating_sub(8);
        if self.known.is_empty() {
            return Vec::new();
        }
        // The newest half of the time, an older one otherwise: that may be out of date.
        let back = if self.random.once_in(2) { 0 } else { self.random.below(self.known.len() - from) };
        let first = self.known[self.known.len() - 1 - back].clone();
        let worker = first.worker;
        let mut lanes = vec![first];
        let others = self.known[from..].iter().rev().filter(|learnt| learnt.worker == worker);
        lanes.extend(others.take(self.random.below(3)).cloned());
        lanes.sort_by_key(|learnt| (learnt.lane.webhook, learnt.lane.lane));
        lanes.dedup_by_key(|learnt| (learnt.lane.webhook, learnt.lane.lane));
        lanes
    }

    fn settle(&mut self, model: &Model) -> Call {
        let recent = self.recent();
        let worker = recent.first().map_or(1, |learnt| learnt.worker);
        let mut settlement = Settlement { worker, lanes: Vec::new(), done: Vec::new(), dead: Vec::new() };
        for (number, learnt) in recent.iter().enumerate() {
            let owed: Vec<i64> = model.database.peek(|view| {
                let keys = (learnt.lane.webhook, learnt.lane.lane, i64::MIN)
                    ..=(learnt.lane.webhook, learnt.lane.lane, i64::MAX);
                view.range::<Delivery>(keys).map(|(_, row)| row.message).collect()
            });
            let sent = if learnt.messages.is_empty() { owed } else { learnt.messages.clone() };
            self.settle_lane(&mut settlement, number, learnt, &sent);
        }
        Call::Settle(settlement)
    }

    fn settle_lane(&mut self, settlement: &mut Settlement, number: usize, learnt: &Learnt, sent: &[i64]) {
        let all = [Becomes::Untouched, Becomes::Held, Becomes::Ready, Becomes::Waiting, Becomes::Halted];
        let becomes = self.random.pick(&all);
        let all = self.random.once_in(2);
        let done = if all { sent.len() } else { self.random.below(sent.len() + 1) };
        let mut position = learnt.lane.position;
        for message in &sent[..done] {
            settlement.done.push((number, *message));
            position = *message;
        }
        let mut next = done;
        if becomes == Becomes::Ready
            && self.random.once_in(2)
            && let Some(message) = sent.get(next)
        {
            settlement.dead.push((number, *message, 3));
            position = *message;
            next += 1;
        }
        let failed = matches!(becomes, Becomes::Waiting | Becomes::Halted);
        let head = if failed { sent.get(next).copied() } else { None };
        let batch = if head.is_some() && self.random.once_in(4) { sent.get(next + 1).copied() } else { None };
        settlement.lanes.push(Outcome {
            webhook: learnt.lane.webhook,
            lane: learnt.lane.lane,
            token: learnt.lane.token.unwrap_or(0),
            becomes,
            generation: learnt.lane.generation,
            position,
            delay: 3600 * SECOND,
            head,
            failures: i32::from(failed) * 2,
            batch_last: batch,
            batch_count: batch.map(|_| 2),
            split_until: None,
            error: (failed || next > done).then_some(503),
        });
    }

    fn message(&mut self, model: &Model) -> i64 {
        let ids: Vec<i64> =
            model.database.peek(|view| view.range::<Message>(..).map(|(_, row)| row.id).collect());
        if ids.is_empty() || self.random.once_in(20) {
            1
        } else {
            self.random.pick(&ids[ids.len().saturating_sub(6)..])
        }
    }

    fn webhook(&mut self, model: &Model) -> i64 {
        let ids: Vec<i64> =
            model.database.peek(|view| view.range::<Webhook>(..).map(|(_, row)| row.id).collect());
        if ids.is_empty() { 1 } else { self.random.pick(&ids) }
    }

    /// One message waits for its locks, several try them.
    fn messages(&mut self, model: &Model) -> (Vec<i64>, bool) {
        let mut messages = vec![self.message(model)];
        let waits = self.random.once_in(2);
        if !waits {
            messages.extend((0..self.random.below(3)).map(|_| self.message(model)));
            messages.sort_unstable();
            messages.dedup();
        }
        (messages, waits)
    }

    fn replay(&mut self, model: &Model) -> Call {
        let (messages, waits) = self.messages(model);
        Call::ReplayDeliveries { webhook: self.webhook(model), messages, waits }
    }

    fn cancel(&mut self, model: &Model) -> Call {
        let (messages, waits) = self.messages(model);
        let reason = if self.random.once_in(3) { Reason::Skipped } else { Reason::Canceled };
        Call::Cancel { webhook: self.webhook(model), messages, reason, waits }
    }

    fn letters(&mut self, model: &Model) -> Call {
        let ids: Vec<i64> =
            model.database.peek(|view| view.range::<DeadLetter>(..).map(|(_, row)| row.id).collect());
        let ids = if ids.is_empty() { vec![1] } else { ids };
        if self.random.once_in(3) {
            return Call::Discard(vec![self.random.pick(&ids)]);
        }
        let waits = self.random.once_in(2);
        Call::ReplayDeadLetters { ids: if waits { vec![self.random.pick(&ids)] } else { ids }, waits }
    }

    fn lane(&mut self, model: &Model) -> (i64, i64) {
        let lanes: Vec<_> = model
            .database
            .peek(|view| view.range::<Lane>(..).map(|(_, row)| (row.webhook, row.lane)).collect());
        if lanes.is_empty() { (1, 1) } else { self.random.pick(&lanes) }
    }

    fn retry(&mut self, model: &Model) -> Call {
        let (webhook, lane) = self.lane(model);
        Call::Retry { webhook, lanes: vec![lane] }
    }

    fn lock_lane(&mut self, model: &Model) -> Call {
        let (webhook, lane) = self.lane(model);
        let mode =
            self.random.pick(&[RowLock::KeyShare, RowLock::Share, RowLock::NoKeyUpdate, RowLock::Update]);
        let locked = self.random.pick(&[Locked::Wait, Locked::Skip, Locked::Refuse]);
        Call::LockLane { webhook, lane, mode, locked }
    }

    fn worker_call(&mut self, model: &Model) -> Call {
        let registered: Vec<u32> =
            model.database.peek(|view| view.range::<Worker>(..).map(|(_, row)| row.id).collect());
        let absent = (1..=WORKERS).find(|worker| !registered.contains(worker));
        let worker = self.worker();
        let gone: Vec<u32> = model.database.peek(|view| {
            let workers = view.range::<Worker>(..).map(|(_, row)| row);
            workers.filter(|row| row.gone).map(|row| row.id).collect()
        });
        if !gone.is_empty() && self.random.once_in(2) {
            return Call::RemoveWorker(self.random.pick(&gone));
        }
        match (self.random.below(6), absent) {
            (0, Some(absent)) => Call::Register(absent),
            (1 | 0, _) => Call::Heartbeat(worker),
            (2 | 3, _) => Call::ReleaseLanes(worker, self.random.pick(&[2, 100])),
            (4, _) => Call::MarkGone(worker),
            _ => Call::RemoveWorker(worker),
        }
    }

    fn webhook_call(&mut self, model: &Model) -> Call {
        let there = model.database.peek(|view| view.range::<Webhook>(..).count());
        match self.random.below(4) {
            0 | 1 if there < WEBHOOKS => {
                let topic = if self.random.once_in(4) { TOPICS } else { 1 };
                Call::CreateWebhook { topic, types: self.random.once_in(4).then_some(1) }
            }
            2 if self.random.once_in(3) => Call::DeleteWebhook(self.webhook(model)),
            _ => Call::PauseWebhook(self.webhook(model), self.random.once_in(2)),
        }
    }

    fn topic_call(&mut self) -> Call {
        let paused = self.random.pick(&[None, None, Some(Pause::Hold), Some(Pause::Refuse)]);
        Call::PauseTopic(1, paused)
    }
}

fn as_held(learnt: &Learnt) -> Held {
    Held {
        webhook: learnt.lane.webhook,
        lane: learnt.lane.lane,
        token: learnt.lane.token.unwrap_or(0),
        position: learnt.messages.first().map_or(learnt.lane.position, |first| first - 1),
        generation: learnt.lane.generation,
    }
}
