//! The items of a plan, as they happen.

use pgtopic::{
    store::{Notice, Told},
    worker::engine::event::Event,
};

use super::{
    Handle, World,
    driver::Incoming,
    plan::{Item, Manner, What},
    publish::Publisher,
};
use crate::{
    functions::stripe_of,
    postgres::{
        row_lock::{Locked, RowLock},
        tables::Lane,
        transaction::Level,
    },
    random::Random,
    schedule::{Micros, SECOND},
};

impl World {
    /// Makes an item of the plan happen.
    pub(super) async fn act(self: Handle, item: Item) {
        let Item { what, seed, .. } = item;
        let mut random = Random::new(seed);
        {
            let mut history = self.history.borrow_mut();
            if what.is_fault() {
                history.counts.faults += 1;
                history.note(self.now(), (0, 0), format!("fault: {what:?}"));
            } else {
                history.counts.operations += 1;
            }
        }
        match what {
            What::Publish { topic, level, messages, ending, once } => {
                Publisher { topic, level, messages, ending, once, random }.run(self.clone()).await;
            }
            What::Replay { webhook, waits } => self.replay(webhook, waits, &mut random).await,
            What::ReplayDead { waits } => self.replay_dead(waits, &mut random).await,
            What::Cancel { webhook, skip, waits } => self.cancel(webhook, skip, waits, &mut random).await,
            What::Retry { webhook } => {
                if let Some(id) = self.hook(webhook) {
                    self.retry(id).await;
                }
            }
            What::PauseWebhook { webhook, time } => {
                if let Some(id) = self.hook(webhook) {
                    self.pause_webhook(id, true).await;
                    self.schedule.sleep(time).await;
                    self.pause_webhook(id, false).await;
                }
            }
            What::HoldTopic { topic, time } => {
                self.hold_topic(topic, true).await;
                self.schedule.sleep(time).await;
                self.hold_topic(topic, false).await;
            }
            What::CreateWebhook { topic, typed } => {
                self.create_webhook(topic, typed.then_some(1), &mut random).await;
            }
            What::ChangeWebhook { webhook } => self.change_webhook(webhook, &mut random).await,
            What::DeleteWebhook { webhook } => self.delete_webhook(webhook).await,
            What::Enable { webhook } => {
                if let Some(id) = self.hook(webhook) {
                    self.enable(id).await;
                }
            }
            What::DeleteOldMessages => {
                self.delete_old_messages().await;
                self.thin().await;
            }
            What::Vacuum => self.database.vacuum(),
            What::Receiver { webhook, manner, from, time } => {
                self.receiver_is(webhook, manner, from, time).await;
            }
            What::Crash { worker, down } => self.crash(worker, down).await,
            What::Stop { worker, down } => self.stop(worker, down).await,
            What::Pause { worker, time } => self.pause(worker, time).await,
            What::EndSession { worker } => self.end_session(worker),
            What::Statements { worker, trouble, of, time } => {
                self.processes[worker].trouble.set(Some((trouble, of)));
                self.schedule.sleep(time).await;
                self.processes[worker].trouble.set(None);
            }
            What::Cut { worker, time } => {
                self.processes[worker].cut.set(true);
                self.end_session(worker);
                self.schedule.sleep(time).await;
                self.processes[worker].cut.set(false);
            }
            What::Notices { worker, trouble, time } => {
                self.processes[worker].hearing.set(Some(trouble));
                self.schedule.sleep(time).await;
                self.processes[worker].hearing.set(None);
            }
            What::Forged { worker, notices } => self.forge(worker, notices, &mut random),
            What::Suppress { worker, time } => {
                self.much.set(true);
                self.suppress(worker, true);
                self.schedule.sleep(time).await;
                self.much.set(false);
            }
            What::NotSending { time } => {
                self.sends.set(false);
                self.schedule.sleep(time).await;
                self.sends.set(true);
            }
            What::StepClock { by } => {
                self.history.borrow_mut().stepped = self.now();
                self.database.step_clock(by);
            }
            What::CrashDatabase => self.crash_database(),
            What::LockLane { time } => self.lock_lane(time, &mut random).await,
            What::LockStripe { time } => self.lock_stripe(time, &mut random).await,
            What::FreeLane => self.free_lane(&mut random).await,
        }
        self.under_way.set(self.under_way.get() - 1);
    }

    async fn receiver_is(&self, webhook: usize, manner: Manner, from: Option<usize>, time: Micros) {
        let Some(id) = self.hook(webhook) else { return };
        let set = |manner, from| {
            if let Some(hook) = self.hooks.borrow_mut().get_mut(&id) {
                (hook.manner, hook.only_from) = (manner, from);
            }
        };
        set(manner, from);
        self.schedule.sleep(time).await;
        set(Manner::Accepts, None);
        if manner == Manner::Gone {
            self.schedule.sleep(SECOND / 10).await;
            self.enable(id).await;
        }
    }

    async fn crash(self: &Handle, process: usize, down: Micros) {
        let Some(main) = self.processes[process].main.take() else { return };
        let worker = self.processes[process].worker.replace(0);
        self.schedule.abort(main);
        self.abort_tasks(process);
        self.processes[process].forget();
        self.processes[process].paused.set(false);
        self.history.borrow_mut().ended(self.now(), worker, "crash", false);
        self.schedule.sleep(down).await;
        if self.processes[process].main.get().is_none() {
            self.start_process(process);
        }
    }

    async fn stop(self: &Handle, process: usize, down: Micros) {
        let Some(main) = self.processes[process].main.get() else { return };
        match self.processes[process].mailbox.borrow().as_ref() {
            Some(mailbox) => mailbox.push(Incoming::Shutdown),
            None => return,
        }
        self.schedule.sleep(down).await;
        // It may take its time, or crash meanwhile.
        for _ in 0..300 {
            if self.processes[process].main.get() != Some(main) {
                break;
            }
            self.schedule.sleep(SECOND / 10).await;
        }
        if self.processes[process].main.get().is_none() {
            self.start_process(process);
        }
    }

    /// SIGSTOP, and SIGCONT later.
    async fn pause(self: &Handle, process: usize, time: Micros) {
        let Some(main) = self.processes[process].main.get() else { return };
        if self.processes[process].paused.replace(true) {
            return;
        }
        let mut tasks = self.processes[process].tasks.borrow().clone();
        tasks.push(main);
        for task in &tasks {
            self.schedule.pause(*task);
        }
        self.check_excuse(process);
        self.schedule.sleep(time).await;
        self.processes[process].paused.set(false);
        for task in tasks {
            self.schedule.resume(task);
        }
    }

    /// A process that stands still cannot end its requests when its session is gone.
    fn check_excuse(&self, process: usize) {
        let this = &self.processes[process];
        let lost = |id| {
            let mut state = self.database.state();
            state.session(id).lost
        };
        if this.paused.get() && this.session.get().is_none_or(lost) {
            self.history.borrow_mut().excuse(this.worker.get());
        }
    }

    fn end_session(&self, process: usize) {
        if let Some(session) = self.processes[process].session.get() {
            self.database.terminate(session);
            self.note_loss(process);
            self.check_excuse(process);
        }
    }

    fn crash_database(&self) {
        self.database.crash();
        self.history.borrow_mut().crashed();
        for process in 0..self.processes.len() {
            self.note_loss(process);
            self.check_excuse(process);
        }
    }

    fn note_loss(&self, process: usize) {
        let this = &self.processes[process];
        if this.session.get().is_some() && this.lost_at.get().is_none() {
            this.began.set(None);
            this.lost_at.set(Some(self.now()));
        }
    }

    /// Anybody may send notifications.
    fn forge(&self, process: usize, notices: usize, random: &mut Random) {
        let mailbox = self.processes[process].mailbox.borrow();
        let Some(mailbox) = mailbox.as_ref() else { return };
        for _ in 0..notices {
            let message_id = random.below(100) as i64;
            let notice = match random.below(6) {
                0 => Notice::Wake,
                1 | 2 => Notice::Webhooks,
                3 => Notice::Quiet,
                _ => Notice::Published(Told { message_id, stripe: None }),
            };
            mailbox.push(Incoming::Event(Event::Notified(notice)));
        }
    }

    /// Publishers' notifications are suppressed for a second.
    pub(super) fn suppress(self: &Handle, by: usize, announce: bool) {
        let until = self.now() + SECOND;
        self.suppressed_until.set(until);
        self.database.state().notify_until = 0;
        if announce {
            for (_, process) in self.processes.iter().enumerate().filter(|(other, _)| *other != by) {
                if let Some(mailbox) = process.mailbox.borrow().as_ref() {
                    mailbox.push(Incoming::Event(Event::Notified(Notice::Quiet)));
                }
            }
        }
        let world = self.clone();
        self.schedule.spawn(async move {
            world.schedule.until(until).await;
            if world.suppressed_until.get() == until && world.plan.notifies {
                world.database.state().notify_until = Micros::MAX;
            }
        });
    }

    /// Somebody locks the row of a lane.
    async fn lock_lane(&self, time: Micros, random: &mut Random) {
        let session = self.database.connect();
        if session.begin(Level::ReadCommitted).is_err() {
            return;
        }
        let statement = &session;
        let locked = session.call(async || {
            let looks = statement.statement().await?;
            let places: Vec<_> = looks.read(|view| view.range::<Lane>(..).map(|(place, _)| place).collect());
            if !places.is_empty() {
                let place = random.pick(&places);
                looks.lock(place, RowLock::Update, Locked::Skip, |_: &Lane| true).await?;
            }
            Ok(())
        });
        let _ = locked.await;
        self.schedule.sleep(time).await;
        let _ = session.rollback();
    }

    /// Somebody frees a lane by hand while a request of it is under way.
    async fn free_lane(&self, random: &mut Random) {
        let lanes: Vec<(i64, i64)> = {
            let history = self.history.borrow();
            let in_flight = history.flights.iter().filter(|(_, flights)| !flights.is_empty());
            let mut lanes: Vec<_> = in_flight.map(|(lane, _)| *lane).collect();
            lanes.sort_unstable();
            lanes
        };
        if lanes.is_empty() {
            return;
        }
        let lane = random.pick(&lanes);
        self.history.borrow_mut().lane(lane).freed = true;
        self.history.borrow_mut().disturbed(lane);
        let freed = self.operate(async |session| {
            let statement = session.statement().await?;
            let place = statement.read(|view| view.find::<Lane>(&lane).map(|(place, _)| place));
            let Some(place) = place else { return Ok(None) };
            let free =
                |row: &Lane| row.claimed_by.map(|_| Lane { claimed_by: None, token: None, ..row.clone() });
            statement.update(place, free).await
        });
        let freed = freed.await;
        self.note(lane, format!("freed by hand: {}", freed.is_ok_and(|row| row.is_some())));
    }

    /// Somebody holds a stripe.
    async fn lock_stripe(&self, time: Micros, random: &mut Random) {
        let topics = self.topics.borrow().clone();
        // A run begins with none.
        if topics.is_empty() {
            return;
        }
        let topic = random.pick(&topics);
        let key = u32::try_from(random.below(self.plan.keys)).unwrap_or(0);
        let stripe = stripe_of(topic, self.database.lane(topic, key));
        let session = self.database.connect();
        if session.begin(Level::ReadCommitted).is_err() {
            return;
        }
        let statement = &session;
        let _ = session.call(async || statement.advisory_lock(stripe).await).await;
        self.schedule.sleep(time).await;
        let _ = session.rollback();
    }
}
