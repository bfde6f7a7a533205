//! Runs one engine, as `worker::driver` does: commands become statements and requests, and their
//! answers become events.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    rc::Rc,
    time::Duration,
};

use pgtopic::{
    domain::lane::LaneKey,
    worker::{
        engine::{
            Engine, EngineSettings,
            command::{Burst, Command},
            event::{BurstEnd, BurstEnded, Endpoint, Event, SessionState},
            failure::Failure,
        },
        session::liveness::Liveness,
    },
};
use uuid::Uuid;

use super::{
    Handle,
    burst::{BurstFlags, LiveEndpoint, Sending},
    knowledge::Knowledge,
    mailbox::Mailbox,
    process::Signals,
    statements::Statements,
    webhooks::Read,
};
use crate::schedule::{Micros, SECOND};

/// How long a worker that stops may take.
const SHUTDOWN: Micros = 20 * SECOND;

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
    pub(super) world: Handle,
    pub(super) process: usize,
    pub(super) worker: u32,
    pub(super) engine: Engine,
    signals: Rc<Signals>,
    liveness: Rc<Liveness>,
    pub(super) mailbox: Mailbox<Incoming>,
    pub(super) endpoints: BTreeMap<i64, (Endpoint, Rc<LiveEndpoint>)>,
    pub(super) flags: HashMap<LaneKey, Rc<BurstFlags>>,
    pub(super) knowledge: Rc<RefCell<Knowledge>>,
    /// Dead letters that it has asked to write.
    pub(super) given_up: BTreeSet<(LaneKey, i64, i64)>,
    /// The decisions of the present millisecond, and those in a row without an event.
    pub(super) decisions: (Micros, u32),
    pub(super) idle: u32,
    /// It is asked before the instant that it has named, and nothing has happened: that instant.
    pub(super) early: Option<Micros>,
    /// What happened last, for people.
    pub(super) last: &'static str,
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
            early: None,
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
            self.check_early(&commands);
            for command in commands {
                self.execute(command)?;
            }
            self.check_status();
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
            self.wait(wakeup).await;
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

    /// Waits for an event. Now and then the engine is asked sooner.
    async fn wait(&mut self, wakeup: Micros) {
        let left = wakeup - self.world.now();
        let sooner = (left > 1 && self.world.once_in(8)).then(|| self.world.now() + self.world.part_of(left));
        self.mailbox.wait(&self.world.schedule, sooner.unwrap_or(wakeup)).await;
        self.early = sooner.filter(|_| self.mailbox.is_empty() && self.world.now() < wakeup).map(|_| wakeup);
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
        self.world.trace(self.worker, &event);
        self.knowledge.borrow_mut().hear(&event, self.world.now());
        self.engine.handle(event, self.world.clock.now()).map_err(|lost| lost.to_string())
    }

    fn execute(&mut self, command: Command) -> Result<(), String> {
        self.world.trace(self.worker, &command);
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
                if let Command::Claim { wants, .. } = &statement {
                    self.check_wants(wants);
                }
                if let Command::Read { lanes, .. } = &statement {
                    self.knowledge.borrow_mut().asked_to_read(lanes);
                }
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
            let ended = BurstEnded { key, sent: 0, requests: 0, unsent: messages, why: BurstEnd::MayNotSend };
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
        Event::ProbeTurnEnded { .. } => "probe ended",
        Event::LanesWoken { .. } => "lanes woken",
        Event::Attempt(_) => "attempt",
        Event::BurstEnded(_) => "burst ended",
        Event::Notified(_) => "notified",
        Event::Session(_) => "session",
        Event::Shutdown => "shutdown",
    }
}
