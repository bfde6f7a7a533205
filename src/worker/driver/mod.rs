//! The driver: runs the engine's commands and brings back their answers. One loop waits for
//! everything that the engine must hear.
//!
//! | file | what it is about |
//! |---|---|
//! | `statements` | the engine's statements |
//! | `halves` | a call for many items, if one of them may make all of it fail |
//! | `send_burst` | the requests of one lane, one after another |
//! | `endpoints` | webhooks, prepared for requests |
//! | `known` | which versions of the webhooks were read |

mod endpoints;
mod halves;
mod known;
mod send_burst;
mod statements;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::{
    endpoints::Endpoints,
    known::Known,
    send_burst::{BurstFlags, Sender, send_burst},
    statements::{Answer, Statements},
};
use super::{
    engine::{
        Engine, EngineSettings,
        command::{Burst, Command},
        event::{BurstEnd, BurstEnded, Event, LoadedWebhooks, SessionState},
    },
    error::WorkerError,
    session::{liveness::Liveness, signals::Signals},
    tuning::EVENTS_MAX,
};
use crate::{
    config::{DeliveryConfig, WorkerConfig},
    delivery::Client,
    domain::{lane::LaneKey, metrics::WakeupSource},
    store::{Notice, Store},
    telemetry::{metrics::Metrics, traces::Traces},
};

/// Runs one engine.
pub(super) struct Driver {
    engine: Engine,
    statements: Statements,
    sender: Arc<Sender>,
    metrics: Metrics,
    signals: Arc<Signals>,
    endpoints: Endpoints,
    /// Which versions of the webhooks were read.
    known: Known,
    /// What bursts report.
    events: mpsc::Receiver<Event>,
    /// Notifications, straight from the session's connection.
    notices: mpsc::Receiver<Notice>,
    session: watch::Receiver<SessionState>,
    /// The flags of the bursts under way.
    flags: HashMap<LaneKey, Arc<BurstFlags>>,
    bursts: JoinSet<()>,
    answers: JoinSet<Answer>,
    shutdown_after: Duration,
}

/// What a driver works with.
pub(super) struct Parts<'a> {
    pub(super) store: &'a Store,
    pub(super) engine: EngineSettings,
    pub(super) worker: &'a WorkerConfig,
    pub(super) delivery: &'a DeliveryConfig,
    pub(super) client: &'a Client,
    pub(super) liveness: Arc<Liveness>,
    pub(super) notices: mpsc::Receiver<Notice>,
    pub(super) signals: Arc<Signals>,
    pub(super) metrics: &'a Metrics,
    pub(super) traces: &'a Traces,
}

impl Driver {
    pub(super) fn new(parts: Parts<'_>) -> Self {
        let Parts { store, engine, worker, delivery, client, liveness, notices, signals, metrics, traces } =
            parts;
        let (events_sender, events) = mpsc::channel(EVENTS_MAX);
        Self {
            statements: Statements {
                store: store.clone(),
                worker: engine.worker,
                defaults: delivery.policy(),
                topics: Arc::new(worker.scope()),
                metrics: metrics.clone(),
            },
            engine: Engine::new(engine, Instant::now()),
            sender: Arc::new(Sender {
                client: client.clone(),
                liveness,
                events: events_sender,
                metrics: metrics.clone(),
                traces: traces.clone(),
            }),
            metrics: metrics.clone(),
            session: signals.session(),
            signals,
            endpoints: Endpoints::default(),
            known: Known::default(),
            events,
            notices,
            flags: HashMap::new(),
            bursts: JoinSet::new(),
            answers: JoinSet::new(),
            shutdown_after: Duration::from_secs(worker.shutdown_seconds),
        }
    }

    /// Delivers until `shutdown`. Then finishes the requests in flight, settles and releases
    /// everything. Returns early if that takes longer than `shutdown_seconds`.
    pub(super) async fn run(&mut self, shutdown: &CancellationToken) -> Result<(), WorkerError> {
        let mut deadline: Option<Instant> = None;
        self.take_in_session()?;
        loop {
            if shutdown.is_cancelled() && deadline.is_none() {
                self.handle(Event::Shutdown)?;
                deadline = Some(Instant::now() + self.shutdown_after);
            }
            let now = Instant::now();
            for command in self.engine.decide(now) {
                self.execute(command)?;
            }
            let status = self.engine.status();
            self.metrics.set_slots_in_use(status.in_flight);
            self.signals.set_status(status);
            if self.engine.is_done() {
                return Ok(());
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                let in_flight = self.engine.in_flight();
                warn!(in_flight, "requests did not finish in time and are abandoned");
                return Ok(());
            }
            let wakeup = self.engine.next_wakeup(now);
            let wakeup = deadline.map_or(wakeup, |deadline| deadline.min(wakeup));
            tokio::select! {
                Some(event) = self.events.recv() => self.on_burst_event(event)?,
                Some(answer) = self.answers.join_next() => self.on_answer(joined(answer)?)?,
                Some(ended) = self.bursts.join_next() => joined(ended)?,
                notice = self.notices.recv() => {
                    let Some(notice) = notice else { return Err(WorkerError::Lost("its connection ended")) };
                    self.handle(Event::Notified(notice))?;
                }
                Ok(()) = self.session.changed() => self.take_in_session()?,
                () = shutdown.cancelled(), if deadline.is_none() => {}
                () = tokio::time::sleep_until(wakeup.into()) => {}
            }
            self.take_in_the_rest()?;
        }
    }

    /// Aborts all requests and statements, and returns when they have ended.
    pub(super) async fn abandon(&mut self) {
        self.bursts.shutdown().await;
        self.answers.shutdown().await;
    }

    fn handle(&mut self, event: Event) -> Result<(), WorkerError> {
        Ok(self.engine.handle(event, Instant::now())?)
    }

    /// Takes in all reports of bursts and all notifications that have arrived. Then one settle and
    /// one round of starts serve all of them.
    fn take_in_the_rest(&mut self) -> Result<(), WorkerError> {
        while let Ok(event) = self.events.try_recv() {
            self.on_burst_event(event)?;
        }
        while let Ok(notice) = self.notices.try_recv() {
            self.handle(Event::Notified(notice))?;
        }
        while let Some(ended) = self.bursts.try_join_next() {
            joined(ended)?;
        }
        Ok(())
    }

    fn on_burst_event(&mut self, event: Event) -> Result<(), WorkerError> {
        if let Event::BurstEnded(burst) = &event {
            self.flags.remove(&burst.key);
        }
        self.handle(event)
    }

    fn take_in_session(&mut self) -> Result<(), WorkerError> {
        let session = self.session.borrow_and_update().clone();
        self.handle(Event::Session(session))
    }

    fn on_answer(&mut self, answer: Answer) -> Result<(), WorkerError> {
        match answer {
            Answer::Event(event) => {
                if let Event::NotDisabled { webhook_id, .. } = &event {
                    self.known.forget(*webhook_id);
                }
                self.handle(event)
            }
            Answer::Settled(answer, settled) => {
                for lane in settled {
                    // A webhook that is gone has no figures.
                    if let Some(endpoint) = self.endpoints.get(lane.webhook_id) {
                        self.metrics.settled(&endpoint.series, lane.delivered, &lane.dead);
                    }
                }
                self.handle(Event::Settled(answer))
            }
            Answer::Webhooks(known, changed) => {
                self.known.take_back(known);
                let loaded = changed.map(|(changed, breakers)| LoadedWebhooks {
                    breakers,
                    ..self.endpoints.apply(changed, &self.statements.topics, Instant::now())
                });
                self.metrics.know_webhooks(self.endpoints.count());
                self.handle(Event::Webhooks(loaded))
            }
            Answer::Nothing => Ok(()),
        }
    }

    fn execute(&mut self, command: Command) -> Result<(), WorkerError> {
        if let Some(source) = wakeup(&command) {
            self.metrics.woke(source);
        }
        match command {
            Command::StartBurst(burst) => return self.start_burst(burst),
            Command::StopBurst(key) => {
                if let Some(flags) = self.flags.get(&key) {
                    flags.stop();
                }
            }
            Command::YieldBurst(key) => {
                if let Some(flags) = self.flags.get(&key) {
                    flags.request_yield();
                }
            }
            Command::StopWebhook(webhook_id) => self.endpoints.stop(webhook_id),
            Command::SetRate { webhook_id, per_second } => {
                self.endpoints.set_rate(webhook_id, per_second, Instant::now());
            }
            Command::LoadWebhooks { all } => {
                let known = self.known.lend();
                self.answers.spawn(self.statements.clone().load_webhooks(known, all));
            }
            Command::DeleteOrphans => self.signals.webhook_deleted.notify_one(),
            statement => {
                self.answers.spawn(self.statements.clone().execute(statement));
            }
        }
        Ok(())
    }

    fn start_burst(&mut self, burst: Burst) -> Result<(), WorkerError> {
        let Some(endpoint) = self.endpoints.get(burst.key.webhook_id) else {
            // The engine knows no such webhook, so it starts no burst for it. If it did, the lane
            // would have to wait.
            let Burst { key, messages, .. } = burst;
            let ended = BurstEnded { key, sent: 0, requests: 0, unsent: messages, why: BurstEnd::MayNotSend };
            return self.handle(Event::BurstEnded(ended));
        };
        let flags = Arc::new(BurstFlags::default());
        self.flags.insert(burst.key, Arc::clone(&flags));
        self.bursts.spawn(send_burst(Arc::clone(&self.sender), burst, endpoint, flags));
        Ok(())
    }
}

/// What led to a look for what is to be sent, if the command is one.
fn wakeup(command: &Command) -> Option<WakeupSource> {
    match command {
        Command::ClaimMessages { .. } => Some(WakeupSource::Notification),
        Command::Claim { sweep, .. } | Command::ListDueWebhooks { sweep, .. } => {
            Some(if *sweep { WakeupSource::Sweep } else { WakeupSource::Poll })
        }
        Command::ReadTail { .. } => Some(WakeupSource::Tail),
        _ => None,
    }
}

fn joined<T>(result: Result<T, JoinError>) -> Result<T, WorkerError> {
    result.map_err(|error| WorkerError::Task(error.to_string()))
}
