//! The rules for an engine by itself.
//!
//! | rule | where |
//! |---|---|
//! | it does not ask to be asked again and again while it does nothing | `check_rest` |
//! | it names the instant when it wants to be asked: nothing is written or asked for sooner | `check_early` |
//! | it counts the lanes in flight as they are | `check_status` |
//! | it claims lanes only of webhooks that may be sent to | `check_wants` |
//! | it has no more bursts than slots | `check_slots` |

use pgtopic::{
    store::{Settlement, Want},
    worker::engine::command::Command,
};

use super::driver::Driver;

/// The most decisions of one engine in a virtual millisecond.
const DECISIONS_MAX: u32 = 400;

/// The most decisions in a row to which nothing has happened, if the engine wants to be asked at
/// once.
const IDLE_MAX: u32 = 50;

impl Driver {
    /// An engine that is asked again and again, and does nothing, would take a whole processor.
    pub(super) async fn check_rest(&mut self, is_idle: bool) {
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

    /// An engine names the instant when it must be asked next. Until then it has nothing to write.
    pub(super) fn check_early(&mut self, commands: &[Command]) {
        let Some(named) = self.early.take().filter(|named| self.world.now() < *named) else { return };
        if let Some(command) = commands.iter().find(|command| !may_come_sooner(command)) {
            let (worker, left) = (self.worker, named - self.world.now());
            let command: String = format!("{command:?}").chars().take(200).collect();
            self.world.fail(format!(
                "wakeup: worker {worker} wants something done {left} us before it wants to be asked: {command}"
            ));
        }
    }

    /// What an engine says of itself is true.
    pub(super) fn check_status(&self) {
        let status = self.engine.status();
        let process = &self.world.processes[self.process];
        process.lanes.set(status.lanes);
        let has_room = status.in_flight < self.world.plan.concurrency;
        process.free_since.set(has_room.then(|| process.free_since.get().unwrap_or(self.world.now())));
        let bursts = self.flags.len();
        if status.in_flight != bursts {
            let (worker, in_flight) = (self.worker, status.in_flight);
            self.world.fail(format!(
                "slots: worker {worker} counts {in_flight} lanes in flight, and there are {bursts}"
            ));
        }
    }

    /// An engine claims lanes only of webhooks that it knows and may send to.
    pub(super) fn check_wants(&self, wants: &[Want]) {
        let is_on = |id: i64| self.endpoints.get(&id).is_some_and(|(endpoint, _)| endpoint.deliverable);
        if let Some(want) = wants.iter().find(|want| !is_on(want.webhook_id)) {
            let (worker, webhook) = (self.worker, want.webhook_id);
            self.world.fail(format!("asks: worker {worker} claims lanes of webhook {webhook}, which is off"));
        }
    }

    /// A burst holds a slot until the engine has heard that it has ended.
    pub(super) fn check_slots(&self, webhook_id: i64) {
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

    pub(super) fn check_given_up(&mut self, settlement: &Settlement) {
        for ((key, token), outcomes) in settlement {
            for dead in &outcomes.dead {
                if self.given_up.insert((*key, *token, dead.message_id)) {
                    self.world.check_given_up(self.worker, (key.webhook_id, key.lane), dead);
                }
            }
        }
    }
}

/// Whoever is asked looks for work: it may come sooner than it must.
fn may_come_sooner(command: &Command) -> bool {
    matches!(
        command,
        Command::ListDueWebhooks { .. }
            | Command::Claim { .. }
            | Command::ReadTail { .. }
            | Command::Read { .. }
            | Command::StartBurst(_)
            | Command::YieldBurst(_)
    )
}
