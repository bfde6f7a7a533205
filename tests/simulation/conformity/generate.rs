//! Chooses the next step of a script by what the model shows. Topics, keys and webhooks are few, so
//! that sessions meet.

use std::collections::VecDeque;

use super::{
    action::{Action, Call, Mode, SESSIONS, Stands, Step},
    model::{Learnt, Model},
    real::KEYS,
};
use crate::{
    functions::{claim_lanes::Claim, messages_publish::Publication},
    postgres::{
        row_lock::{Locked, RowLock},
        tables::{DeadLetter, Delivery, Job, JobState, Lane, Message, Pause, Reason, Webhook, Worker},
        transaction::Level,
    },
    random::Random,
};

/// How many topics scripts may have.
pub(crate) const TOPICS: i64 = 2;
/// How many workers and webhooks, at most.
const WORKERS: u32 = 3;
const WEBHOOKS: usize = 4;

/// Chooses steps.
pub(crate) struct Generator {
    pub(super) random: Random,
    pub(super) mode: Mode,
    /// The last token of each worker. They are few, so that two workers have the same one.
    pub(super) tokens: [i64; WORKERS as usize + 1],
    gid: u32,
    pub(super) known: Vec<Learnt>,
    /// How many keys this script uses.
    keys: usize,
    /// What others are to do next, since it meets what a session has just done.
    next: VecDeque<Call>,
}

impl Generator {
    pub(crate) fn new(seed: u64, mode: Mode) -> Self {
        let mut random = Random::new(seed);
        let keys = 1 + random.below(KEYS as usize);
        Self {
            random,
            mode,
            tokens: [0; WORKERS as usize + 1],
            gid: 0,
            known: Vec::new(),
            keys,
            next: VecDeque::new(),
        }
    }

    /// What every script begins with.
    pub(crate) fn beginning() -> Vec<Step> {
        let calls = [
            Call::CreateTopic { ordered: true },
            Call::CreateTopic { ordered: false },
            Call::Register(1),
            Call::Register(2),
            Call::CreateWebhook { topic: 1, types: None, starting: false },
            Call::CreateWebhook { topic: 1, types: None, starting: false },
            Call::CreateWebhook { topic: 2, types: None, starting: false },
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
        let free = |session: &usize| {
            stands[*session] == Stands::Idle && model.sessions[*session].transaction().is_none()
        };
        if let Some(session) = (0..SESSIONS).find(free)
            && let Some(call) = self.next.pop_front()
        {
            return Some(Step { session, action: Action::Call(call) });
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
            _ => {
                let call = self.call(model, level);
                self.meet(&call);
                Action::Call(call)
            }
        }
    }

    /// Others often do what meets a call whose transaction is open.
    fn meet(&mut self, call: &Call) {
        if !self.random.once_in(3) {
            return;
        }
        match call {
            Call::Claim(Claim { worker, .. }) | Call::ClaimSingly(Claim { worker, .. }) => {
                self.next.extend([Call::MarkGone(*worker), Call::RemoveWorker(*worker)]);
            }
            Call::ReplayDeliveries { .. } | Call::ReplayDeadLetters { .. } | Call::Backfill { .. } => {
                self.next.push_back(Call::DeleteOld);
            }
            _ => {}
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
        if self.mode.breakers && self.random.once_in(3) {
            return self.breaker_call(model);
        }
        if let Some(job) = self.job(model).filter(|_| self.random.once_in(6)) {
            return Call::Backfill { job, at_most: self.random.pick(&[1, 2, 100]) };
        }
        match self.random.below(100) {
            0..24 => self.publish(),
            24..38 => self.claim(model),
            38..44 => self.told(model),
            44..62 => self.settle(model),
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
            88..92 => self.worker_call(model),
            92..96 => self.webhook_call(model),
            96 => self.topic_call(),
            97 => {
                let (webhook, lane) = self.lane(model);
                self.next.push_back(Call::RepairDueAt(self.random.pick(&[1, 10])));
                if self.random.once_in(2) { Call::DeleteOld } else { Call::Postpone { webhook, lane } }
            }
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

    fn message(&mut self, model: &Model) -> i64 {
        let ids: Vec<i64> =
            model.database.peek(|view| view.range::<Message>(..).map(|(_, row)| row.id).collect());
        if ids.is_empty() || self.random.once_in(20) {
            1
        } else {
            self.random.pick(&ids[ids.len().saturating_sub(6)..])
        }
    }

    pub(super) fn webhook(&mut self, model: &Model) -> i64 {
        let ids: Vec<i64> =
            model.database.peek(|view| view.range::<Webhook>(..).map(|(_, row)| row.id).collect());
        if ids.is_empty() { 1 } else { self.random.pick(&ids) }
    }

    /// One message waits for its locks, several try them.
    pub(super) fn messages(&mut self, model: &Model) -> (Vec<i64>, bool) {
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
        if let Some(learnt) = self.recent().pop().filter(|_| !self.random.once_in(3)) {
            // Into a lane that a worker has read.
            let Lane { webhook, lane, .. } = learnt.lane;
            let earlier: Vec<i64> = model.database.peek(|view| {
                let messages = view.range::<Message>(..).map(|(_, row)| row);
                let absent = |row: &&Message| {
                    row.lane == lane && view.get::<Delivery>(&(webhook, lane, row.id)).is_none()
                };
                messages.filter(absent).map(|row| row.id).collect()
            });
            if !earlier.is_empty() {
                let messages = vec![self.random.pick(&earlier)];
                return Call::ReplayDeliveries { webhook, messages, waits: self.random.once_in(2) };
            }
        }
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
            (0..=2, Some(absent)) => Call::Register(absent),
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
                let starting = self.random.once_in(2);
                Call::CreateWebhook { topic, types: self.random.once_in(4).then_some(1), starting }
            }
            2 if self.random.once_in(3) && !self.mode.breakers => Call::DeleteWebhook(self.webhook(model)),
            _ => Call::PauseWebhook(self.webhook(model), self.random.once_in(2)),
        }
    }

    /// A backfill that goes on.
    fn job(&mut self, model: &Model) -> Option<i64> {
        let jobs: Vec<i64> = model.database.peek(|view| {
            let jobs = view.range::<Job>(..).map(|(_, row)| row);
            jobs.filter(|row| matches!(row.state, JobState::Queued | JobState::Running))
                .map(|row| row.id)
                .collect()
        });
        (!jobs.is_empty()).then(|| self.random.pick(&jobs))
    }

    fn topic_call(&mut self) -> Call {
        let paused = self.random.pick(&[None, None, Some(Pause::Hold), Some(Pause::Refuse)]);
        Call::PauseTopic(1, paused)
    }
}
