//! A whole run: all items of the plan, then the end of all faults, then rest.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use super::{
    Handle, Process, World,
    clock::Clock,
    history::{Counts, History},
    plan::{Down, Manner, Plan},
};
use crate::{
    functions::{guards::Guards, update_webhook::create_topic},
    postgres::{
        Database, Settings,
        tables::{Breaker, DeadLetter, Delivery, Lane, Message, Reason, Webhook},
    },
    random::Random,
    schedule::{Micros, SECOND, Schedule},
};

/// How long all may take that is owed when the faults have ended.
const REST: Micros = 100 * SECOND;

/// The most steps in 10 ms of virtual time.
const STEPS: u64 = 300_000;

/// How long a worker may know of a lane that is gone.
const REMEMBERED: Micros = 10 * SECOND;

/// How long engines must be at rest, and how many decisions they may make meanwhile, each.
const IDLE: Micros = 10 * SECOND;
const IDLE_DECISIONS: u64 = 3_000;
const IDLE_DECISIONS_A_WEBHOOK: u64 = 100;

/// What a run has shown.
pub(super) struct Report {
    pub(super) broken: Option<String>,
    pub(super) hash: u64,
    pub(super) steps: u64,
    pub(super) counts: Counts,
    /// What led to it.
    pub(super) lines: Vec<String>,
}

pub(super) fn run(plan: &Plan) -> Report {
    let world = new_world(plan);
    world.begin();
    world.check_end();
    let mut history = world.history.borrow_mut();
    let broken = history.broken().map(str::to_owned);
    let lines = if broken.is_some() { history.tell(160) } else { Vec::new() };
    let counts = std::mem::take(&mut history.counts);
    let report = Report { broken, hash: history.hash(), steps: world.schedule.steps(), counts, lines };
    drop(history);
    world.end();
    report
}

/// Nothing has happened yet.
pub(super) fn new_world(plan: &Plan) -> Handle {
    let schedule = Schedule::new(plan.seed);
    let guards = plan.without.map_or(Guards::all(), |guard| Guards::all().without(guard));
    let settings =
        Settings { guards, pauses: plan.pace.pauses, pause: plan.pace.pause, ..Settings::default() };
    let database = Database::new(&schedule, settings);
    if plan.notifies {
        database.state().notify_until = Micros::MAX;
    }
    Rc::new(World {
        clock: Clock::new(&schedule),
        schedule: schedule.clone(),
        database,
        plan: plan.clone(),
        history: RefCell::new(History::default()),
        hooks: RefCell::default(),
        shares: RefCell::default(),
        topics: RefCell::default(),
        processes: (0..plan.workers).map(|_| Process::default()).collect(),
        workers: Cell::new(0),
        sends: Cell::new(true),
        webhook_changes: Cell::new(0),
        suppressed_until: Cell::new(0),
        much: Cell::new(false),
        under_way: Cell::new(plan.items.len()),
        looked_at: Cell::new(0),
        leases: RefCell::default(),
        off_since: RefCell::default(),
        quiet_since: Cell::new(0),
        traces: std::env::var_os("SIMULATION_TRACE").is_some(),
        ending: Cell::new(false),
    })
}

impl World {
    pub(super) fn begin(self: &Handle) {
        let world = self.clone();
        self.schedule.spawn(async move {
            for ordered in world.plan.topics.clone() {
                let topic = world.operate(async |session| create_topic(session, ordered).await).await;
                world.topics.borrow_mut().extend(topic);
            }
            let mut random = Random::new(world.plan.seed);
            for topic in world.plan.webhooks.clone() {
                world.create_webhook(topic, None, &mut random).await;
            }
            if world.plan.down != Down::Nobody
                && let Some(id) = world.hook(0)
                && let Some(hook) = world.hooks.borrow_mut().get_mut(&id)
            {
                hook.manner = Manner::Fails;
                hook.only_from = (world.plan.down == Down::OneWorker).then_some(0);
            }
        });
        self.schedule.run_until_idle();
        for process in 0..self.processes.len() {
            self.start_process(process);
        }
        let began = self.now();
        self.quiet_since.set(began);
        for item in self.plan.items.clone() {
            let world = self.clone();
            self.schedule.spawn(async move {
                world.schedule.until(began + item.at).await;
                world.act(item).await;
            });
        }
        // Faults that last end by themselves, a minute later at most.
        self.run_until(began + self.plan.lasts + 60 * SECOND, |world| world.under_way.get() == 0);
    }

    /// Runs until something is wrong, or `over`, or some time.
    pub(super) fn run_until(&self, end: Micros, over: impl Fn(&Self) -> bool) -> bool {
        while self.history.borrow().broken().is_none() {
            if over(self) {
                return true;
            }
            if self.now() >= end {
                return false;
            }
            if !self.schedule.run_steps((self.now() + SECOND / 100).min(end), STEPS) {
                self.fail(format!("busy: {STEPS} steps within {} ms", 10));
            }
            self.check_rows();
        }
        false
    }

    /// Faults are over: nothing may be lost, and the engines must come to rest.
    fn check_end(self: &Handle) {
        if self.history.borrow().broken().is_some() {
            return;
        }
        self.ending.set(true);
        let began = self.now();
        if self.under_way.get() > 0 {
            self.fail(format!("{} items of the plan do not end", self.under_way.get()));
            return;
        }
        let world = self.clone();
        self.schedule.spawn(async move {
            world.put_right().await;
            loop {
                for process in 0..world.processes.len() {
                    if world.processes[process].main.get().is_none() {
                        world.start_process(process);
                    }
                }
                let halted: Vec<i64> = world.database.peek(|view| {
                    view.range::<Lane>(..)
                        .filter(|(_, lane)| lane.halted)
                        .map(|(_, lane)| lane.webhook)
                        .collect()
                });
                for webhook in halted {
                    world.retry(webhook).await;
                }
                world.schedule.sleep(SECOND / 2).await;
                world.delete_orphans().await;
            }
        });
        self.run_until(began + SECOND, |_| false);
        let is_done = self.run_until(began + REST, World::owes_nothing);
        let history_is_broken = self.history.borrow().broken().is_some();
        if history_is_broken {
            return;
        }
        self.history.borrow_mut().counts.rest = self.now() - began;
        if !is_done {
            let left: Vec<String> = self.database.peek(|view| {
                let owed = view.range::<Delivery>(..).take(3).map(|(_, row)| format!("{row:?}"));
                owed.chain(view.range::<Lane>(..).take(3).map(|(_, row)| format!("{row:?}"))).collect()
            });
            self.fail(format!("stuck: still there after {} s: {}", REST / SECOND, left.join("; ")));
            return;
        }
        self.check_lost();
        self.check_memory();
        if !self.plan.seed.is_multiple_of(4) {
            return;
        }
        let decisions = || self.history.borrow().counts.engine;
        let before = decisions();
        self.run_until(self.now() + IDLE, |_| false);
        let made = decisions() - before;
        // A worker with few slots asks for the lanes of a few webhooks at a time.
        let most = IDLE_DECISIONS + IDLE_DECISIONS_A_WEBHOOK * self.hooks.borrow().len() as u64;
        if made > most * self.processes.len() as u64 {
            self.fail(format!(
                "busy: engines with nothing to do made {made} decisions in {} s",
                IDLE / SECOND
            ));
        }
    }

    /// Nothing is owed, and idle lanes are removed. Where a breaker is open, they stay: no worker
    /// claims them.
    pub(super) fn owes_nothing(&self) -> bool {
        self.database.peek(|view| {
            let is_open = |webhook| view.get::<Breaker>(&webhook).is_some_and(|breaker| breaker.open);
            view.range::<Delivery>(..).next().is_none()
                && view.range::<Lane>(..).all(|(_, lane)| is_open(lane.webhook))
        })
    }

    /// No lane is left. So workers know of none.
    fn check_memory(&self) {
        if self.database.peek(|view| view.range::<Lane>(..).next().is_some()) {
            return;
        }
        let forgotten = |world: &Self| world.processes.iter().all(|process| process.lanes.get() == 0);
        if !self.run_until(self.now() + REMEMBERED, forgotten) {
            let lanes: Vec<usize> = self.processes.iter().map(|process| process.lanes.get()).collect();
            self.fail(format!("memory: workers still know lanes that are gone: {lanes:?}"));
        }
    }

    /// Each message was taken by each webhook, or is a dead letter of it. If it was superseded, there
    /// is a newer one.
    fn check_lost(&self) {
        let mut lost = Vec::new();
        {
            let history = self.history.borrow();
            let hooks = self.hooks.borrow();
            for (message, committed) in &history.committed {
                for webhook in &committed.webhooks {
                    let arrived =
                        history.courses.get(&(*webhook, *message)).is_some_and(|course| course.ever_accepted);
                    let is_deleted = hooks.get(webhook).is_none_or(|hook| hook.deleted);
                    let has_newer = || {
                        history.committed.range(message + 1..).any(|(_, newer)| {
                            newer.lane == committed.lane && newer.webhooks.contains(webhook)
                        }) || history.courses.range((*webhook, message + 1)..=(*webhook, i64::MAX)).any(
                            |((_, newer), _)| {
                                history.committed.get(newer).is_some_and(|newer| newer.lane == committed.lane)
                            },
                        )
                    };
                    let is_dead = || {
                        self.database.peek(|view| {
                            view.get::<Webhook>(webhook).is_none()
                                || view.find_second::<DeadLetter>(&(*webhook, *message)).is_some_and(
                                    |(_, letter)| letter.reason != Reason::Superseded || has_newer(),
                                )
                        })
                    };
                    // With its message, the dead letter of a superseded one is deleted.
                    let is_gone = || {
                        let is_gone = self.database.peek(|view| view.get::<Message>(message).is_none());
                        is_gone && hooks.get(webhook).is_some_and(|hook| hook.ever_latest) && has_newer()
                    };
                    if !arrived && !is_deleted && !is_dead() && !is_gone() {
                        lost.push((*webhook, committed.lane, *message));
                    }
                }
            }
        }
        if let Some((webhook, lane, message)) = lost.first() {
            self.fail(format!(
                "lost: {message} of lane {:?} never arrived, and {} more",
                (webhook, lane),
                lost.len() - 1
            ));
        }
    }

    /// Ends all tasks: they hold the world.
    pub(super) fn end(&self) {
        self.schedule.end();
    }
}
