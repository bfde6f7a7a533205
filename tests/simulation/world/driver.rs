//! Runs one engine, as `worker::driver` does: commands become statements and requests, and their
//! answers become events.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use pgtopic::{
    domain::{
        breaker::{BreakerPolicy, BreakerRow},
        lane::LaneKey,
        policy::Policy,
    },
    store::Settlement,
    worker::{
        engine::{
            Engine, EngineSettings,
            command::{Burst, Command},
            event::{BurstEnd, BurstEnded, Endpoint, Event, LoadedWebhooks, SessionState},
            failure::Failure,
        },
        session::liveness::Liveness,
    },
};
use uuid::Uuid;

use super::{
    Handle,
    burst::{BurstFlags, LiveEndpoint, Sending},
    clock::duration,
    knowledge::Knowledge,
    mailbox::Mailbox,
    plan::Kind,
    process::Signals,
    queries::sent,
    statements::Statements,
};
use crate::{
    functions::is_held::held_for,
    postgres::tables::{Breaker, Topic, Webhook},
    schedule::{Micros, SECOND},
};

/// The most decisions of one engine in a virtual millisecond.
const DECISIONS_MAX: u32 = 400;

/// The most decisions in a row to which nothing has happened, if the engine wants to be asked at
/// once.
const IDLE_MAX: u32 = 50;

/// How long a worker that stops may take.
const SHUTDOWN: Micros = 20 * SECOND;

/// All webhooks, for how much longer some of them are held, and the breakers.
pub(super) struct Read {
    endpoints: Vec<(i64, Endpoint)>,
    held: Vec<(i64, Duration)>,
    breakers: Vec<BreakerRow>,
}

/// What a driver hears.
pub(super) enum Incoming {
    Event(Event),
    Webhooks(Result<Read, Failure>),
    /// What the session knows has changed.
    Session,
    Shutdown,
    /// The session is lost.
    Lost(&'static str),
}

/// Runs one engine.
pub(super) struct Driver {
    world: Handle,
    process: usize,
    worker: u32,
    engine: Engine,
    signals: Rc<Signals>,
    liveness: Rc<Liveness>,
    mailbox: Mailbox<Incoming>,
    endpoints: BTreeMap<i64, (Endpoint, Rc<LiveEndpoint>)>,
    flags: HashMap<LaneKey, Rc<BurstFlags>>,
    knowledge: Rc<RefCell<Knowledge>>,
    /// Dead letters that it has asked to write.
    given_up: BTreeSet<(LaneKey, i64, i64)>,
    /// The decisions of the present millisecond, and those in a row without an event.
    decisions: (Micros, u32),
    idle: u32,
    /// What happened last, for people.
    last: &'static str,
}

impl Driver {
    pub(super) fn new(
        world: &Handle,
        process: usize,
        worker: u32,
        signals: &Rc<Signals>,
        liveness: &Rc<Liveness>,
    ) -> Self {
        let settings = EngineSettings {
            worker: Uuid::from_u128(worker.into()),
            concurrency: world.plan.concurrency,
            default_timeout: Duration::from_secs(1),
            disable_after: None,
            seed: world.plan.seed ^ u64::from(worker),
        };
        Self {
            world: world.clone(),
            process,
            worker,
            engine: Engine::new(settings, world.clock.now()),
            signals: Rc::clone(signals),
            liveness: Rc::clone(liveness),
            mailbox: signals.mailbox.clone(),
            endpoints: BTreeMap::new(),
            flags: HashMap::new(),
            knowledge: world.processes[process].knowledge.borrow_mut().insert(Rc::default()).clone(),
            given_up: BTreeSet::new(),
            decisions: (0, 0),
            idle: 0,
            last: "start",
        }
    }

    /// Delivers until a shutdown. Says whether nothing was left to do. An error: the incarnation is
    /// lost.
    pub(super) async fn run(&mut self) -> Result<bool, String> {
        let mut deadline: Option<Micros> = None;
        self.take_in_session()?;
        loop {
            let now = self.world.clock.now();
            let commands = self.engine.decide(now);
            let is_idle = commands.is_empty();
            for command in commands {
                self.execute(command)?;
            }
            self.signals.longest_timeout.set(self.engine.status().longest_timeout);
            if self.engine.is_done() {
                return Ok(true);
            }
            if deadline.is_some_and(|at| self.world.now() >= at) {
                if self.world.plan.is_smooth() {
                    self.world.fail(format!("stop: worker {} has not stopped in time", self.worker));
                }
                return Ok(false);
            }
            let wakeup = self.world.clock.micros(self.engine.next_wakeup(now));
            self.check_rest(is_idle && wakeup <= self.world.now()).await;
            let wakeup = deadline.map_or(wakeup, |at| at.min(wakeup));
            self.mailbox.wait(&self.world.schedule, wakeup).await;
            let all = self.world.once_in(2);
            while let Some(incoming) = self.mailbox.take() {
                self.idle = 0;
                if matches!(incoming, Incoming::Shutdown) {
                    deadline.get_or_insert(self.world.now() + SHUTDOWN);
                }
                self.take_in(incoming)?;
                if !all {
                    break;
                }
            }
        }
    }

    /// An engine that is asked again and again, and does nothing, would take a whole processor.
    async fn check_rest(&mut self, is_idle: bool) {
        self.world.history.borrow_mut().counts.engine += 1;
        let millisecond = self.world.now() / 1_000;
        let (at, count) = self.decisions;
        self.decisions = if at == millisecond { (at, count + 1) } else { (millisecond, 1) };
        self.idle += u32::from(is_idle);
        if self.decisions.1 > DECISIONS_MAX || self.idle > IDLE_MAX {
            let (count, idle, last) = (self.decisions.1, self.idle, self.last);
            self.world.fail(format!(
                "busy: the engine of worker {} decides {count} times in a millisecond, {idle} times for nothing; last: {last}",
                self.worker
            ));
            std::future::pending::<()>().await;
        }
        if is_idle {
            self.world.schedule.tick();
            self.world.schedule.pass().await;
        }
    }

    fn take_in(&mut self, incoming: Incoming) -> Result<(), String> {
        match incoming {
            Incoming::Event(event) => {
                if let Event::BurstEnded(burst) = &event {
                    self.flags.remove(&burst.key);
                }
                self.handle(event)
            }
            Incoming::Webhooks(loaded) => {
                let loaded = loaded.map(|read| self.apply(read));
                self.handle(Event::Webhooks(loaded))
            }
            Incoming::Session => self.take_in_session(),
            Incoming::Shutdown => self.handle(Event::Shutdown),
            Incoming::Lost(why) => Err(why.to_owned()),
        }
    }

    fn take_in_session(&mut self) -> Result<(), String> {
        let session: SessionState = self.signals.take();
        self.handle(Event::Session(session))
    }

    fn handle(&mut self, event: Event) -> Result<(), String> {
        self.last = name(&event);
        self.world.history.borrow_mut().counts.engine += 1;
        self.knowledge.borrow_mut().hear(&event, self.world.now());
        self.engine.handle(event, self.world.clock.now()).map_err(|lost| lost.to_string())
    }

    fn execute(&mut self, command: Command) -> Result<(), String> {
        match command {
            Command::StartBurst(burst) => return self.start_burst(burst),
            Command::StopBurst(key) => self.flag(key, |flags| flags.stop.set(true)),
            Command::YieldBurst(key) => self.flag(key, |flags| flags.yield_requested.set(true)),
            Command::StopWebhook(webhook_id) => {
                if let Some((_, live)) = self.endpoints.get(&webhook_id) {
                    live.stopped.set(true);
                }
            }
            Command::LoadWebhooks { .. } => self.load_webhooks(),
            Command::DeleteOrphans => {
                let world = self.world.clone();
                self.world.schedule.spawn(async move { world.delete_orphans().await });
            }
            Command::SuppressNotifications { announce } => self.world.suppress(self.process, announce),
            statement => {
                if let Command::Settle { settlement, .. } = &statement {
                    self.world.check_settlement(self.worker, settlement, &self.knowledge.borrow());
                    self.check_given_up(settlement);
                }
                let statements =
                    Statements { world: self.world.clone(), process: self.process, worker: self.worker };
                let mailbox = self.mailbox.clone();
                self.world.spawn(self.process, async move {
                    if let Some(event) = statements.execute(statement).await {
                        mailbox.push(Incoming::Event(event));
                    }
                });
            }
        }
        Ok(())
    }

    fn flag(&self, key: LaneKey, set: impl FnOnce(&BurstFlags)) {
        if let Some(flags) = self.flags.get(&key) {
            set(flags);
        }
    }

    fn start_burst(&mut self, burst: Burst) -> Result<(), String> {
        let Some((_, endpoint)) = self.endpoints.get(&burst.key.webhook_id) else {
            let Burst { key, messages, .. } = burst;
            let ended = BurstEnded { key, sent: 0, unsent: messages, why: BurstEnd::MayNotSend };
            return self.handle(Event::BurstEnded(ended));
        };
        let flags = Rc::new(BurstFlags::default());
        if self.flags.insert(burst.key, Rc::clone(&flags)).is_some() {
            self.world.fail(format!("two bursts of lane {:?} at worker {}", burst.key, self.worker));
        }
        self.check_slots(burst.key.webhook_id);
        let sending = Sending {
            world: self.world.clone(),
            process: self.process,
            worker: self.worker,
            basis: self.knowledge.borrow().basis(burst.key),
            knowledge: Rc::clone(&self.knowledge),
            liveness: Rc::clone(&self.liveness),
            mailbox: self.mailbox.clone(),
            endpoint: Rc::clone(endpoint),
            flags,
        };
        self.world.spawn(self.process, sending.burst(burst));
        Ok(())
    }

    /// A burst holds a slot until the engine has heard that it has ended.
    fn check_slots(&self, webhook_id: i64) {
        let (all, most) = (self.flags.len(), self.world.plan.concurrency);
        let of_hook = self.flags.keys().filter(|key| key.webhook_id == webhook_id).count();
        let limit = self.world.hooks.borrow().get(&webhook_id).and_then(|hook| hook.most_in_flight);
        if all > most || limit.is_some_and(|limit| of_hook > limit as usize) {
            let worker = self.worker;
            self.world.fail(format!(
                "slots: worker {worker} has {all} bursts of {most}, and {of_hook} of webhook {webhook_id} of {limit:?}"
            ));
        }
    }

    /// Reads all webhooks; those that have changed are told to the engine.
    fn load_webhooks(&self) {
        let (world, process, mailbox) = (self.world.clone(), self.process, self.mailbox.clone());
        self.world.spawn(process, async move {
            let read = world.call(process, Kind::Other, async |session| {
                let statement = session.statement().await?;
                let now = session.statement_at();
                let webhooks = statement.read(|view| {
                    let all = view.range::<Webhook>(..).map(|(_, webhook)| webhook);
                    let topics = all.filter(|webhook| view.get::<Topic>(&webhook.topic).is_some());
                    let row = |webhook: &Webhook| {
                        (webhook.id, webhook.topic, sent(view, webhook), held_for(webhook, now))
                    };
                    topics.map(row).collect::<Vec<_>>()
                });
                let statement = session.statement().await?;
                let now = session.clock();
                let breakers = statement.read(|view| {
                    view.range::<Breaker>(..).map(|(_, row)| listed(row, now)).collect::<Vec<_>>()
                });
                Ok((webhooks, breakers))
            });
            let read = read.await.map_err(super::calls::CallError::failure);
            let loaded = read.map(|(rows, breakers)| {
                let hooks = world.hooks.borrow();
                let breaker = if world.plan.breakers { BreakerPolicy::Auto } else { BreakerPolicy::Off };
                let held = rows.iter().filter_map(|(id, .., left)| Some((*id, duration((*left)?)))).collect();
                let endpoint = |(id, topic, deliverable, _): (i64, i64, bool, Option<Micros>)| {
                    let hook = hooks.get(&id)?;
                    Some((id, endpoint(topic, deliverable, hook.batch_size, hook.policy.clone(), breaker)))
                };
                let mut endpoints: Vec<_> = rows.into_iter().filter_map(endpoint).collect();
                endpoints.extend(world.strangers());
                Read { endpoints, held, breakers }
            });
            mailbox.push(Incoming::Webhooks(loaded));
        });
    }

    fn apply(&mut self, read: Read) -> LoadedWebhooks {
        let Read { endpoints: webhooks, held, breakers } = read;
        let mut loaded = LoadedWebhooks { held, breakers, ..LoadedWebhooks::default() };
        let ids: BTreeSet<i64> = webhooks.iter().map(|(id, _)| *id).collect();
        let gone: Vec<i64> = self.endpoints.keys().filter(|id| !ids.contains(id)).copied().collect();
        for id in gone {
            if let Some((_, live)) = self.endpoints.remove(&id) {
                live.stopped.set(true);
            }
            self.knowledge.borrow_mut().hooks_off.insert(id, self.world.now());
            loaded.removed.push(id);
            loaded.deleted = true;
        }
        for (id, endpoint) in webhooks {
            let old = self.endpoints.get(&id);
            // What the engine has stopped itself is told again.
            let is_new =
                old.is_none_or(|(old, live)| *old != endpoint || live.stopped.get() == endpoint.deliverable);
            if !is_new {
                continue;
            }
            let stopped = old.map(|(_, live)| Rc::clone(&live.stopped)).filter(|stopped| !stopped.get());
            let live =
                LiveEndpoint { timeout: endpoint.policy.timeout, stopped: stopped.unwrap_or_default() };
            if endpoint.deliverable {
                self.knowledge.borrow_mut().hooks_off.remove(&id);
            } else {
                live.stopped.set(true);
                self.knowledge.borrow_mut().hooks_off.insert(id, self.world.now());
            }
            loaded.changed.insert(id, Arc::new(endpoint.clone()));
            self.endpoints.insert(id, (endpoint, Rc::new(live)));
        }
        loaded
    }

    fn check_given_up(&mut self, settlement: &Settlement) {
        for ((key, token), outcomes) in settlement {
            for dead in &outcomes.dead {
                if self.given_up.insert((*key, *token, dead.message_id)) {
                    self.world.check_given_up(self.worker, (key.webhook_id, key.lane), dead);
                }
            }
        }
    }
}

/// What the engine must know of a webhook.
pub(super) fn endpoint(
    topic: i64,
    deliverable: bool,
    batch_size: usize,
    policy: Policy,
    breaker: BreakerPolicy,
) -> Endpoint {
    let topic = format!("topic {topic}");
    Endpoint { topic, deliverable, batch_size, policy, rate_limit_per_second: None, breaker }
}

/// As `breakers/list_changed`.
fn listed(row: &Breaker, now: Micros) -> BreakerRow {
    BreakerRow {
        webhook_id: row.webhook,
        open: row.open,
        epoch: row.epoch,
        suspected: row.suspected_at.is_some_and(|at| at > now - 11 * SECOND),
        wakes: row.wake_after.is_some(),
    }
}

fn name(event: &Event) -> &'static str {
    match event {
        Event::Webhooks(_) => "webhooks",
        Event::DueWebhooks(_) => "due webhooks",
        Event::Claimed(_) => "claimed",
        Event::MessagesClaimed(_) => "messages claimed",
        Event::Read(_) => "read",
        Event::TailRead(_) => "tail read",
        Event::Settled(_) => "settled",
        Event::AttemptsLogged(_) => "attempts logged",
        Event::Shares(_) => "shares",
        Event::ActivityWritten => "activity written",
        Event::NotDisabled { .. } => "not disabled",
        Event::BreakerAsked { .. } => "breaker asked",
        Event::ProbesTaken(_) => "probes taken",
        Event::ProbeEnded { .. } => "probe ended",
        Event::LanesWoken { .. } => "lanes woken",
        Event::Attempt(_) => "attempt",
        Event::BurstEnded(_) => "burst ended",
        Event::Notified(_) => "notified",
        Event::Session(_) => "session",
        Event::Shutdown => "shutdown",
    }
}
