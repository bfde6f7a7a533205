//! The simulator: real engines on the model of PostgreSQL, with publishers, receivers, operators and
//! faults around them, under one scheduler and virtual time.
//!
//! A seed gives a plan: what happens when. The scheduler draws which task is next. Both follow from
//! the seed alone, so a run can be repeated exactly.
//!
//! | file | what it is about |
//! |---|---|
//! | `plan`, `draw` | what happens in a run, and how that is drawn |
//! | `process` | one worker: its incarnations, session, heartbeat, takeover |
//! | `driver`, `webhooks` | runs an engine: commands become statements and requests, answers become events |
//! | `shares` | shares of `max_in_flight` |
//! | `statements`, `settles`, `breaker_calls`, `queries`, `budget` | the engine's statements on the model |
//! | `burst` | requests of one lane, and the receivers |
//! | `calls` | how a statement comes to the server, and its answer back |
//! | `publish`, `operate`, `faults` | what publishers and operators do, and what goes wrong |
//! | `history`, `knowledge` | what happened, and what workers were told |
//! | `requests`, `order`, `attempts`, `breakers`, `answers`, `engine_rules`, `rows` | the rules that a run must keep |
//! | `run` | a whole run, and its end |
//! | `outage` | an outage of an hour |
//! | `shrink` | which items of a plan are needed |
//! | `mailbox`, `clock` | tools |

#![allow(clippy::cast_possible_wrap, clippy::cast_precision_loss, reason = "numbers of a run are small")]

mod answers;
mod attempts;
mod breaker_calls;
mod breakers;
mod budget;
mod burst;
mod calls;
mod clock;
mod draw;
mod driver;
mod engine_rules;
mod faults;
mod history;
mod knowledge;
mod mailbox;
mod operate;
mod order;
mod outage;
mod plan;
mod process;
mod publish;
mod queries;
mod requests;
mod rows;
mod run;
mod settles;
mod shares;
mod shrink;
mod statements;
mod tests;
mod webhooks;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Duration,
};

use pgtopic::domain::policy::Policy;

use self::{
    clock::Clock,
    driver::Incoming,
    history::{History, LaneId},
    knowledge::Knowledge,
    mailbox::Mailbox,
    plan::{Hearing, Kind, Manner, Plan, Trouble},
    shares::Shares,
};
use crate::{
    postgres::{Database, state::SessionId},
    random::Random,
    schedule::{Micros, Schedule, TaskId},
};

/// All that a run consists of.
struct World {
    schedule: Schedule,
    database: Database,
    clock: Clock,
    plan: Plan,
    history: RefCell<History>,
    hooks: RefCell<BTreeMap<i64, Hook>>,
    topics: RefCell<Vec<i64>>,
    shares: RefCell<Shares>,
    processes: Vec<Process>,
    /// The id of the newest incarnation.
    workers: Cell<u32>,
    /// Whether anything is sent.
    sends: Cell<bool>,
    /// How often webhooks and topics have changed.
    webhook_changes: Cell<u64>,
    suppressed_until: Cell<Micros>,
    /// Whether heartbeats say that much is published.
    much: Cell<bool>,
    /// How many items of the plan are under way.
    under_way: Cell<usize>,
    /// When `rows` has looked last: the newest commit.
    looked_at: Cell<u64>,
    /// The lease in each worker's row; absent: the shortest.
    leases: RefCell<BTreeMap<u32, Duration>>,
    /// Since when each webhook takes no messages.
    off_since: RefCell<BTreeMap<i64, Micros>>,
    /// When workers were all started.
    quiet_since: Cell<Micros>,
    /// Whether all that engines hear and want is printed.
    traces: bool,
    /// Faults are over.
    ending: Cell<bool>,
}

/// A webhook, as its operator and its receiver know it.
#[expect(clippy::struct_excessive_bools, reason = "each is a question of another rule")]
#[derive(Clone)]
struct Hook {
    topic: i64,
    types: Option<u8>,
    /// Since when everybody sees it.
    since: Micros,
    deleted: bool,
    policy: Policy,
    batch_size: usize,
    /// The extremes of what it ever was.
    least_retries: u32,
    most_retries: u32,
    least_backoff: Duration,
    largest_batch: usize,
    /// The most requests in flight; `None`: any number.
    most_in_flight: Option<u32>,
    /// Whether requests in flight were ever limited.
    ever_limited: bool,
    changed: bool,
    /// Whether it has ever sent only the newest message of each lane, and whether it always has.
    ever_latest: bool,
    always_latest: bool,
    manner: Manner,
    /// Whose requests are answered in this manner; `None`: all.
    only_from: Option<usize>,
}

impl Hook {
    /// How its receiver answers a worker's request.
    fn manner_for(&self, process: usize) -> Manner {
        if self.only_from.is_none_or(|from| from == process) { self.manner } else { Manner::Accepts }
    }
}

/// A worker's process.
#[derive(Default)]
struct Process {
    main: Cell<Option<TaskId>>,
    tasks: RefCell<Vec<TaskId>>,
    /// Its incarnation; 0 while there is none.
    worker: Cell<u32>,
    session: Cell<Option<SessionId>>,
    mailbox: RefCell<Option<Mailbox<Incoming>>>,
    /// Since when its incarnation runs; `None` while it has none, or its session is lost.
    began: Cell<Option<Micros>>,
    /// How many lanes its engine holds.
    lanes: Cell<usize>,
    /// Since when one of its slots is free.
    free_since: Cell<Option<Micros>>,
    /// When its session was lost, if it was.
    lost_at: Cell<Option<Micros>>,
    knowledge: RefCell<Option<Rc<RefCell<Knowledge>>>>,
    paused: Cell<bool>,
    /// Nothing comes to the server.
    cut: Cell<bool>,
    /// What is wrong with its statements: with all, or with those of a kind.
    trouble: Cell<Option<(Trouble, Option<Kind>)>>,
    hearing: Cell<Option<Hearing>>,
}

impl Process {
    /// Its incarnation has ended: nothing of it is left.
    fn forget(&self) {
        self.session.set(None);
        self.lanes.set(0);
        self.free_since.set(None);
        self.began.set(None);
        *self.mailbox.borrow_mut() = None;
        *self.knowledge.borrow_mut() = None;
    }
}

type Handle = Rc<World>;

impl World {
    fn now(&self) -> Micros {
        self.schedule.now()
    }

    /// The server's clock.
    fn clock_now(&self) -> Micros {
        self.database.tick()
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut Random) -> T) -> T {
        self.schedule.random(draw)
    }

    fn once_in(&self, times: usize) -> bool {
        self.draw(|random| random.once_in(times))
    }

    /// Between a tenth of some time and all of it.
    fn part_of(&self, time: Micros) -> Micros {
        let tenth = (time / 10).max(1);
        tenth + self.draw(|random| random.below(usize::try_from(tenth * 9).unwrap_or(1).max(1))) as Micros
    }

    fn note(&self, lane: LaneId, text: String) {
        self.history.borrow_mut().note(self.now(), lane, text);
    }

    fn trace(&self, worker: u32, what: &impl std::fmt::Debug) {
        if self.traces {
            let text: String = format!("{what:?}").chars().take(400).collect();
            println!("{:>10.3} ms worker {worker}: {text}", self.now() as f64 / 1_000.0);
        }
    }

    fn fail(&self, text: String) {
        self.history.borrow_mut().fail(text);
    }

    /// The webhook that an item of the plan means.
    fn hook(&self, number: usize) -> Option<i64> {
        let hooks = self.hooks.borrow();
        let ids: Vec<i64> = hooks.keys().copied().collect();
        ids.get(number % ids.len().max(1)).copied()
    }

    /// A task of a process.
    fn spawn(&self, process: usize, work: impl Future<Output = ()> + 'static) {
        let task = self.schedule.spawn(work);
        let mut tasks = self.processes[process].tasks.borrow_mut();
        if tasks.len() > 64 {
            tasks.retain(|task| self.schedule.is_alive(*task));
        }
        tasks.push(task);
    }

    /// Ends all tasks of a process but its first one.
    fn abort_tasks(&self, process: usize) {
        for task in self.processes[process].tasks.take() {
            self.schedule.abort(task);
        }
    }
}
