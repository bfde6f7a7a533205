//! A deterministic executor with virtual time.
//!
//! Tasks are futures. One step is one poll of one runnable task. The seed decides which runnable
//! task is next. The clock stands still while any task is runnable. Then it jumps to the next timer.
//! A task may be aborted (as a crash does), paused (as SIGSTOP does) and resumed.
//!
//! Any future works that uses its waker in this thread.

mod tests;

use std::{
    cell::{Cell, RefCell},
    cmp::Reverse,
    collections::BinaryHeap,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Wake, Waker},
};

use crate::random::Random;

/// Virtual time in microseconds.
pub(crate) type Micros = i64;

/// One second.
pub(crate) const SECOND: Micros = 1_000_000;

type Work = Pin<Box<dyn Future<Output = ()>>>;

/// Names a task. A task that took the place of an ended one has another generation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TaskId {
    index: usize,
    generation: u64,
}

struct Task {
    id: TaskId,
    /// Absent while it is polled.
    work: Option<Work>,
    waker: Waker,
    /// It is among the runnable ones.
    queued: bool,
    paused: bool,
    /// It was woken while it was paused.
    missed: bool,
}

/// Tasks that were woken and are not among the runnable ones yet.
type Woken = Arc<Mutex<Vec<TaskId>>>;

struct WakeUp {
    id: TaskId,
    woken: Woken,
}

impl Wake for WakeUp {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner).push(self.id);
    }
}

struct Timer {
    at: Micros,
    order: u64,
    waker: Waker,
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

struct Inner {
    tasks: RefCell<Vec<Option<Task>>>,
    free: RefCell<Vec<usize>>,
    runnable: RefCell<Vec<TaskId>>,
    woken: Woken,
    timers: RefCell<BinaryHeap<Reverse<Timer>>>,
    random: RefCell<Random>,
    now: Cell<Micros>,
    counter: Cell<u64>,
    steps: Cell<u64>,
}

/// The executor. Clones are handles to the same one.
#[derive(Clone)]
pub(crate) struct Schedule(Rc<Inner>);

impl Schedule {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Rc::new(Inner {
            tasks: RefCell::default(),
            free: RefCell::default(),
            runnable: RefCell::default(),
            woken: Woken::default(),
            timers: RefCell::default(),
            random: RefCell::new(Random::new(seed)),
            now: Cell::new(SECOND),
            counter: Cell::new(0),
            steps: Cell::new(0),
        }))
    }

    /// The virtual time.
    pub(crate) fn now(&self) -> Micros {
        self.0.now.get()
    }

    /// The virtual time, which no other call has returned: each call takes a microsecond.
    pub(crate) fn tick(&self) -> Micros {
        self.0.now.set(self.0.now.get() + 1);
        self.0.now.get()
    }

    /// How many steps were made.
    pub(crate) fn steps(&self) -> u64 {
        self.0.steps.get()
    }

    /// Uses the random numbers of this run.
    pub(crate) fn random<T>(&self, draw: impl FnOnce(&mut Random) -> T) -> T {
        draw(&mut self.0.random.borrow_mut())
    }

    /// Starts a task.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + 'static) -> TaskId {
        let inner = &self.0;
        let mut tasks = inner.tasks.borrow_mut();
        let index = inner.free.borrow_mut().pop().unwrap_or_else(|| {
            tasks.push(None);
            tasks.len() - 1
        });
        let id = TaskId { index, generation: inner.count() };
        let waker = Waker::from(Arc::new(WakeUp { id, woken: Arc::clone(&inner.woken) }));
        let work: Work = Box::pin(work);
        tasks[index] = Some(Task { id, work: Some(work), waker, queued: true, paused: false, missed: false });
        inner.runnable.borrow_mut().push(id);
        id
    }

    /// Ends a task where it stands, as a crash does.
    pub(crate) fn abort(&self, id: TaskId) {
        let task = {
            let mut tasks = self.0.tasks.borrow_mut();
            if !tasks[id.index].as_ref().is_some_and(|task| task.id == id) {
                return;
            }
            self.0.free.borrow_mut().push(id.index);
            tasks[id.index].take()
        };
        // What the task held is dropped here, and may use the schedule.
        drop(task);
    }

    /// Ends all tasks. Those that hold this schedule would keep it for ever.
    pub(crate) fn end(&self) {
        let tasks: Vec<Option<Task>> = self.0.tasks.borrow_mut().drain(..).collect();
        drop(tasks);
        self.0.timers.borrow_mut().clear();
    }

    /// The task is not polled until it is resumed.
    pub(crate) fn pause(&self, id: TaskId) {
        self.0.with_task(id, |task| task.paused = true);
    }

    /// The task goes on.
    pub(crate) fn resume(&self, id: TaskId) {
        let missed = self.0.with_task(id, |task| {
            task.paused = false;
            std::mem::take(&mut task.missed)
        });
        if missed == Some(true) {
            self.0.make_runnable(id);
        }
    }

    /// Whether the task has not ended.
    pub(crate) fn is_alive(&self, id: TaskId) -> bool {
        self.0.tasks.borrow()[id.index].as_ref().is_some_and(|task| task.id == id)
    }

    /// Gives way to the other tasks once.
    pub(crate) async fn pass(&self) {
        let mut passed = false;
        poll_fn(|context| {
            if passed {
                return Poll::Ready(());
            }
            passed = true;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Wakes somebody at some time.
    pub(crate) fn wake_at(&self, at: Micros, waker: &Waker) {
        let timer = Timer { at, order: self.0.count(), waker: waker.clone() };
        self.0.timers.borrow_mut().push(Reverse(timer));
    }

    /// Waits until some time.
    pub(crate) async fn until(&self, at: Micros) {
        let mut set = false;
        poll_fn(|context| {
            if self.now() >= at {
                return Poll::Ready(());
            }
            if !std::mem::replace(&mut set, true) {
                self.wake_at(at, context.waker());
            }
            Poll::Pending
        })
        .await;
    }

    /// Waits for some time.
    pub(crate) async fn sleep(&self, time: Micros) {
        self.until(self.now() + time).await;
    }

    /// Polls one runnable task. False: none is runnable.
    pub(crate) fn step(&self) -> bool {
        let inner = &self.0;
        inner.take_woken();
        let (id, work, waker) = loop {
            let id = {
                let mut runnable = inner.runnable.borrow_mut();
                if runnable.is_empty() {
                    return false;
                }
                let drawn = inner.random.borrow_mut().below(runnable.len());
                runnable.swap_remove(drawn)
            };
            let taken = inner.with_task(id, |task| {
                task.queued = false;
                task.missed |= task.paused;
                if task.paused { None } else { task.work.take().map(|work| (work, task.waker.clone())) }
            });
            if let Some(Some((work, waker))) = taken {
                break (id, work, waker);
            }
        };
        inner.steps.set(inner.steps.get() + 1);
        let mut work = work;
        if work.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            drop(work);
            self.abort(id);
        } else {
            inner.with_task(id, |task| task.work = Some(work));
        }
        true
    }

    /// Makes steps until no task is runnable. The clock stands still.
    pub(crate) fn run_until_idle(&self) {
        while self.step() {}
    }

    /// Moves the clock to the next timer, if there is one. False: there is none.
    pub(crate) fn advance(&self) -> bool {
        let due = {
            let mut timers = self.0.timers.borrow_mut();
            let Some(Reverse(first)) = timers.pop() else { return false };
            self.0.now.set(self.now().max(first.at));
            let mut due = vec![first.waker];
            while timers.peek().is_some_and(|Reverse(next)| next.at <= self.now()) {
                due.extend(timers.pop().map(|Reverse(next)| next.waker));
            }
            due
        };
        due.into_iter().for_each(Waker::wake);
        true
    }

    /// As [`Self::run_until`], but at most some steps. False: they were used up.
    pub(crate) fn run_steps(&self, end: Micros, most: u64) -> bool {
        let last = self.steps() + most;
        loop {
            while self.step() {
                if self.steps() >= last {
                    return false;
                }
            }
            let next = self.0.timers.borrow().peek().map(|Reverse(timer)| timer.at);
            if next.is_none_or(|at| at > end) {
                self.0.now.set(self.now().max(end));
                return true;
            }
            self.advance();
        }
    }

    /// Makes steps and moves the clock until nothing is left to do, or `end` is reached.
    pub(crate) fn run_until(&self, end: Micros) {
        loop {
            self.run_until_idle();
            let next = self.0.timers.borrow().peek().map(|Reverse(timer)| timer.at);
            if next.is_none_or(|at| at > end) {
                self.0.now.set(self.now().max(end));
                return;
            }
            self.advance();
        }
    }
}

impl Inner {
    fn count(&self) -> u64 {
        self.counter.set(self.counter.get() + 1);
        self.counter.get()
    }

    fn with_task<T>(&self, id: TaskId, act: impl FnOnce(&mut Task) -> T) -> Option<T> {
        let mut tasks = self.tasks.borrow_mut();
        tasks.get_mut(id.index)?.as_mut().filter(|task| task.id == id).map(act)
    }

    fn make_runnable(&self, id: TaskId) {
        let add = self.with_task(id, |task| !std::mem::replace(&mut task.queued, true));
        if add == Some(true) {
            self.runnable.borrow_mut().push(id);
        }
    }

    fn take_woken(&self) {
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        for id in woken.drain(..) {
            self.make_runnable(id);
        }
    }
}
