//! One worker: its incarnations, and the tasks beside its engine.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use pgtopic::{
    store::{Notice, OtherWorker, Told},
    worker::{
        engine::event::{Event, Publishing, SessionState},
        session::{
            liveness::{Liveness, lease},
            verdict::{Seen, Verdict, is_newcomer, judge, pause},
        },
    },
};
use uuid::Uuid;

use super::{
    Handle, World,
    calls::CallError,
    clock::{micros, timestamp},
    driver::{Driver, Incoming},
    mailbox::Mailbox,
    plan::{Hearing, Kind},
};
use crate::{
    functions::{
        mark_worker_gone::mark_worker_gone,
        release_lanes::release_lanes,
        remove_worker::remove_worker,
        repair_due_at::repair_due_at,
        worker_heartbeat::{register_worker, worker_heartbeat},
    },
    postgres::{
        error::Error,
        notify::Notification,
        session::Session,
        tables::{Breaker, Lane, Worker},
    },
    schedule::{Micros, SECOND},
};

const HEARTBEAT: Micros = SECOND * 15 / 100;
const WRITE_ROW: Micros = SECOND;
const RELEASE_STEP: usize = 20;
/// The least timeout that a lease must cover.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// What the session and the watchers tell the driver, and what it tells them.
pub(super) struct Signals {
    state: RefCell<SessionState>,
    told: Cell<bool>,
    pub(super) mailbox: Mailbox<Incoming>,
    pub(super) longest_timeout: Cell<Duration>,
}

impl Signals {
    fn update(&self, change: impl FnOnce(&mut SessionState)) {
        let mut state = self.state.borrow_mut();
        let before = state.clone();
        change(&mut state);
        if *state != before && !self.told.replace(true) {
            self.mailbox.push(Incoming::Session);
        }
    }

    pub(super) fn take(&self) -> SessionState {
        self.told.set(false);
        self.state.borrow().clone()
    }
}

impl World {
    /// Starts a worker's process.
    pub(super) fn start_process(self: &Handle, process: usize) {
        let world = self.clone();
        let task = self.schedule.spawn(async move { world.live(process).await });
        self.processes[process].main.set(Some(task));
    }

    async fn live(self: Handle, process: usize) {
        let mut stopped: Vec<u32> = Vec::new();
        let mut wait = SECOND / 20;
        loop {
            let began = self.now();
            let ended = self.incarnation(process, &mut stopped).await;
            let worker = self.processes[process].worker.replace(0);
            self.abort_tasks(process);
            self.processes[process].forget();
            let why = ended.as_ref().err().map_or("it has stopped", String::as_str);
            self.history.borrow_mut().ended(self.now(), worker, why, ended == Ok(true));
            if ended.is_ok() {
                self.check_lanes_of_stopped();
                let _ = self.release(process, worker).await;
                self.processes[process].main.set(None);
                return;
            }
            wait = if self.now() - began > SECOND { SECOND / 20 } else { (wait * 3 / 2).min(2 * SECOND) };
            self.schedule.sleep(self.part_of(wait)).await;
        }
    }

    async fn incarnation(self: &Handle, process: usize, stopped: &mut Vec<u32>) -> Result<bool, String> {
        let worker = self.workers.get() + 1;
        self.workers.set(worker);
        self.history.borrow_mut().counts.incarnations += 1;
        self.processes[process].worker.set(worker);
        let lost = |error: CallError| format!("{error:?}");
        let asked = self.clock.now();
        let session = self.database.connect();
        self.processes[process].session.set(Some(session.id()));
        self.processes[process].lost_at.set(None);
        session.listen();
        let opening = async move |session: &Session| {
            let key = loop {
                let key = {
                    let state = &mut *session.database().state();
                    -i32::try_from(state.sequences.worker_lock_keys.next(&mut state.lsn)).unwrap_or(1)
                };
                if session.try_session_lock(key) {
                    break key;
                }
            };
            register_worker(session, worker, key).await
        };
        self.call_on(process, Kind::Session, session.clone(), opening).await.map_err(lost)?;
        stopped.push(worker);
        self.note((0, 0), format!("worker {worker} is registered, process {process}"));
        let lease = lease(DEFAULT_TIMEOUT);
        let liveness = Rc::new(Liveness::new(asked, lease));
        let asked = self.clock.now();
        self.beat(process, &session, worker, None).await.map_err(lost)?;
        liveness.answered(asked, None);
        let signals = Rc::new(Signals {
            state: RefCell::new(SessionState {
                sends: self.sends.get(),
                notifies: self.plan.notifies,
                ..SessionState::default()
            }),
            told: Cell::new(false),
            mailbox: Mailbox::default(),
            longest_timeout: Cell::new(DEFAULT_TIMEOUT),
        });
        *self.processes[process].mailbox.borrow_mut() = Some(signals.mailbox.clone());
        self.spawn(process, self.clone().hear(process, session.clone(), signals.mailbox.clone()));
        self.spawn(
            process,
            self.clone().keep(process, session.clone(), worker, Rc::clone(&signals), Rc::clone(&liveness)),
        );
        self.spawn(process, self.clone().watch_liveness(signals.mailbox.clone(), Rc::clone(&liveness)));
        self.spawn(process, self.clone().watch_others(process, worker, Rc::clone(&signals)));
        self.spawn(process, self.clone().repair(process, Rc::clone(&signals)));
        for id in stopped.iter().filter(|id| **id != worker) {
            self.release(process, *id).await.map_err(lost)?;
        }
        stopped.retain(|id| *id == worker);
        self.processes[process].began.set(Some(self.now()));
        Driver::new(self, process, worker, &signals, &liveness).run().await
    }

    async fn beat(
        self: &Handle,
        process: usize,
        session: &Session,
        worker: u32,
        lease: Option<Duration>,
    ) -> Result<(), CallError> {
        let beat = async move |session: &Session| {
            if lease.is_some() {
                return worker_heartbeat(session, worker).await;
            }
            let statement = session.statement().await?;
            let lives = statement.read(|view| view.get::<Worker>(&worker).is_some_and(|worker| !worker.gone));
            if lives { Ok(()) } else { Err(Error::NotInState) }
        };
        self.call_on(process, Kind::Session, session.clone(), beat).await
    }

    /// As `heartbeat::beat`.
    async fn keep(
        self: Handle,
        process: usize,
        session: Session,
        worker: u32,
        signals: Rc<Signals>,
        liveness: Rc<Liveness>,
    ) {
        let mut row_written = self.now();
        let mut lease_written = lease(DEFAULT_TIMEOUT);
        let mut changes = self.webhook_changes.get();
        let mut breakers = Vec::new();
        loop {
            let asked = self.now();
            let wanted = lease(signals.longest_timeout.get().max(DEFAULT_TIMEOUT));
            let lease =
                Some(wanted).filter(|lease| *lease > lease_written || asked - row_written >= WRITE_ROW);
            let at = self.clock.now();
            if let Some(lease) = lease {
                // Nobody must take a longer one for the one before.
                let mut leases = self.leases.borrow_mut();
                let known = leases.entry(worker).or_insert(lease);
                *known = lease.max(*known);
            }
            if self.beat(process, &session, worker, lease).await.is_err() {
                signals.mailbox.push(Incoming::Lost("a heartbeat failed"));
                return;
            }
            liveness.answered(at, lease);
            if let Some(lease) = lease {
                row_written = asked;
                lease_written = lease;
            }
            let until = self.suppressed_until.get();
            let suppressed =
                (until > self.now()).then(|| self.clock.now() + super::clock::duration(until - self.now()));
            let changed = std::mem::replace(&mut changes, self.webhook_changes.get()) != changes;
            // The heartbeat says when a breaker was last changed.
            let now = self.database.peek(|view| {
                let rows = view.range::<Breaker>(..).map(|(_, row)| row);
                rows.map(|row| (row.webhook, row.epoch, row.suspected_at)).collect::<Vec<_>>()
            });
            let breakers_changed = std::mem::replace(&mut breakers, now) != breakers;
            signals.update(|state| {
                state.sends = self.sends.get();
                state.suppressed_until = suppressed.or(state.suppressed_until);
                state.publishing =
                    Publishing { per_second: if self.much.get() { 2_000 } else { 0 }, waits: false };
                state.webhook_changes += u64::from(changed && !self.plan.notifies || breakers_changed);
            });
            self.schedule.sleep(HEARTBEAT).await;
        }
    }

    async fn watch_liveness(self: Handle, mailbox: Mailbox<Incoming>, liveness: Rc<Liveness>) {
        loop {
            let until = self.clock.micros(liveness.alive_until());
            if self.now() >= until {
                mailbox.push(Incoming::Lost("the database did not answer in time"));
                return;
            }
            self.schedule.until(until).await;
        }
    }

    async fn hear(self: Handle, process: usize, session: Session, mailbox: Mailbox<Incoming>) {
        while let Ok(heard) = session.wait_for_notifications().await {
            self.schedule.sleep(self.part_of(300)).await;
            if self.processes[process].cut.get() {
                continue;
            }
            for notification in heard {
                let notice = notice(notification);
                match self.processes[process].hearing.get() {
                    Some(Hearing::Lost) => continue,
                    Some(Hearing::Late) => {
                        let (world, mailbox) = (self.clone(), mailbox.clone());
                        self.schedule.spawn(async move {
                            world.schedule.sleep(world.part_of(3 * SECOND)).await;
                            mailbox.push(Incoming::Event(Event::Notified(notice)));
                        });
                        continue;
                    }
                    Some(Hearing::Doubled) => mailbox.push(Incoming::Event(Event::Notified(notice))),
                    None => {}
                }
                mailbox.push(Incoming::Event(Event::Notified(notice)));
            }
        }
        while self.processes[process].cut.get() {
            self.schedule.sleep(HEARTBEAT).await;
        }
        mailbox.push(Incoming::Lost("its connection ended"));
    }

    /// As `takeover::watch`.
    async fn watch_others(self: Handle, process: usize, worker: u32, signals: Rc<Signals>) {
        let mut seen: BTreeMap<Uuid, Seen> = BTreeMap::new();
        loop {
            let _ = self.look(process, worker, &signals, &mut seen).await;
            let wait = micros(pause(&seen, self.clock.now()));
            self.schedule.sleep(wait.max(1)).await;
        }
    }

    async fn look(
        self: &Handle,
        process: usize,
        worker: u32,
        signals: &Signals,
        seen: &mut BTreeMap<Uuid, Seen>,
    ) -> Result<(), CallError> {
        let asked = self.clock.now();
        let rows = self.call(process, Kind::Other, async move |session: &Session| {
            let statement = session.statement().await?;
            let rows: Vec<Worker> = statement.read(|view| {
                view.range::<Worker>(..).map(|(_, row)| row.clone()).filter(|row| row.id != worker).collect()
            });
            rows.into_iter()
                .map(|row| Ok((session.try_advisory_lock(row.lock_key, true)?, row)))
                .collect::<Result<Vec<_>, Error>>()
        });
        let leases = self.leases.borrow().clone();
        let others: Vec<OtherWorker> = rows
            .await?
            .into_iter()
            .map(|(lock_free, row)| OtherWorker {
                id: Uuid::from_u128(row.id.into()),
                name: String::new(),
                heartbeat_at: timestamp(row.heartbeat_at),
                lease: leases.get(&row.id).copied().unwrap_or(lease(DEFAULT_TIMEOUT)),
                lock_free,
                gone: row.gone,
            })
            .collect();
        let answered = self.clock.now();
        seen.retain(|id, _| others.iter().any(|other| other.id == *id));
        let newcomer = others.iter().any(|other| is_newcomer(seen, other)).then_some(answered);
        let live: Arc<[Uuid]> = others.iter().filter(|other| !other.gone).map(|other| other.id).collect();
        signals.update(|state| {
            if live.is_empty() || newcomer.is_some() {
                state.newcomer = newcomer;
            }
            state.others = live;
        });
        let mut lost = Vec::new();
        for other in others {
            if !other.gone && judge(seen, &other, asked, answered) == Verdict::Alive {
                continue;
            }
            let id = u32::try_from(other.id.as_u128()).unwrap_or(0);
            if !other.gone {
                self.history.borrow_mut().gone(self.now(), id, worker);
                self.call(process, Kind::Other, async move |session| mark_worker_gone(session, id).await)
                    .await?;
            }
            lost.push((id, other));
        }
        for (id, other) in lost {
            let (released, complete) = self.release_lanes(process, id).await?;
            if released > 0 || !other.gone {
                signals.update(|state| state.wakes += 1);
            }
            if complete {
                seen.remove(&other.id);
            }
        }
        Ok(())
    }

    /// As `Store::release_worker`.
    async fn release(self: &Handle, process: usize, worker: u32) -> Result<(usize, bool), CallError> {
        self.call(process, Kind::Other, async move |session| mark_worker_gone(session, worker).await).await?;
        self.release_lanes(process, worker).await
    }

    /// As `Store::release_lanes`: how many lanes were released, and whether nothing is left to do.
    async fn release_lanes(self: &Handle, process: usize, worker: u32) -> Result<(usize, bool), CallError> {
        let (mut released, mut locked, mut after) = (0, 0, (i64::MIN, i64::MIN));
        loop {
            let step = self.call(process, Kind::Other, async move |session| {
                release_lanes(session, worker, after, RELEASE_STEP).await
            });
            let step = step.await?;
            released += step.freed;
            locked += step.locked;
            let Some(at) = step.at else { break };
            after = at;
        }
        let complete = locked == 0
            && self
                .call(process, Kind::Other, async move |session| remove_worker(session, worker).await)
                .await?;
        Ok((released, complete))
    }

    /// A worker that has stopped holds nothing.
    fn check_lanes_of_stopped(&self) {
        let lanes: Vec<_> = self
            .database
            .peek(|view| view.range::<Lane>(..).map(|(_, row)| (row.webhook, row.lane)).collect());
        self.check_lanes(lanes.into_iter());
    }

    /// As `due_at_repair::watch`.
    async fn repair(self: Handle, process: usize, signals: Rc<Signals>) {
        loop {
            let repaired =
                self.call(process, Kind::Other, async |session| repair_due_at(session, 1_000).await).await;
            if repaired.is_ok_and(|(repaired, _)| repaired > 0) {
                signals.update(|state| state.wakes += 1);
            }
            self.schedule.sleep(SECOND / 2).await;
        }
    }
}

fn notice(notification: Notification) -> Notice {
    match notification {
        Notification::Message(message_id, stripe) => Notice::Published(Told { message_id, stripe }),
        Notification::More => Notice::Wake,
        Notification::Webhooks => Notice::Webhooks,
    }
}
