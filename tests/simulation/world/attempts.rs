//! The rules for attempts: how often, and how soon again.
//!
//! | rule | where |
//! |---|---|
//! | the number of an attempt counts what has failed, and nothing else | `check_attempt` |
//! | no attempt is made beyond the last | `check_attempt` |
//! | a request that failed is repeated as it was, and not before its wait is over | `check_repeated` |
//! | nothing is settled as accepted that was not | `check_settlement` |
//! | a message is given up after its attempts, not sooner, with their number | `check_given_up` |
//!
//! Failures count exactly for webhooks that take one message at a time. They count again from 0 when
//! an operator has touched the lane, when the webhook has changed, or when a worker has ended whose
//! last outcomes may be lost. In plans with breakers they are not counted (`Plan::counts_attempts`).

use pgtopic::{
    domain::dead_letter::Reason,
    store::{DeadDelivery, Settlement},
};

use super::{World, clock::micros, history::LaneId, knowledge::Knowledge, requests::Start};
use crate::postgres::tables::Message;

impl World {
    pub(super) fn check_attempt(&self, start: &Start<'_>) {
        if !self.plan.counts_attempts() {
            return;
        }
        let Start { worker, lane, messages, attempt, .. } = *start;
        let hooks = self.hooks.borrow();
        let Some(hook) = hooks.get(&lane.0) else { return };
        if !(hook.changed && hook.largest_batch > 1) {
            self.check_repeated(start, hook.most_retries, micros(hook.least_backoff));
        }
        let history = &mut *self.history.borrow_mut();
        let freed = history.lane(lane).freed;
        let made = messages.iter().map(|message| history.course(lane, *message).failed).min().unwrap_or(0);
        if attempt > made + 1 {
            history.fail(format!(
                "attempts: worker {worker} calls {messages:?} of lane {lane:?} attempt {attempt}, and {made} have failed"
            ));
        }
        if hook.largest_batch > 1 || freed {
            return;
        }
        for message in messages {
            let sure = history.course(lane, *message).surely_failed;
            if attempt <= sure {
                history.fail(format!(
                    "attempts: worker {worker} calls {message} of lane {lane:?} attempt {attempt}, and {sure} have failed"
                ));
            }
            if sure >= hook.most_retries {
                history.fail(format!(
                    "attempts: worker {worker} sends {message} of lane {lane:?} after {sure} attempts"
                ));
            }
        }
    }

    fn check_repeated(&self, start: &Start<'_>, most: u32, wait: i64) {
        let Start { worker, lane, messages, .. } = *start;
        let now = self.now();
        let clock_stands = self.plan.clock_is_steady();
        let history = &mut *self.history.borrow_mut();
        let Some(failed) = history.lane(lane).failed.clone() else { return };
        let waited = now - failed.at;
        let latest = self.hooks.borrow().get(&lane.0).is_some_and(|hook| hook.ever_latest);
        if latest && messages.first() > failed.messages.last() {
            // Another message has taken its place.
        } else if failed.messages != messages {
            // A batch that has used up its attempts is sent one by one. A message that has is given up.
            let split = failed.messages.len() > 1 && messages == &failed.messages[..1];
            if failed.count < most.min(self.least_retries(lane)) || failed.messages.len() > 1 && !split {
                let before = &failed.messages;
                history.fail(format!(
                    "attempts: worker {worker} sends {messages:?} of lane {lane:?}, and {before:?} is to be repeated"
                ));
            }
        } else if failed.messages.len() > 1 && failed.count >= most {
            let count = failed.count;
            history.fail(format!(
                "attempts: worker {worker} sends {messages:?} of lane {lane:?} together, after {count} attempts"
            ));
        } else if clock_stands && failed.count < self.least_retries(lane) && waited < wait {
            history.fail(format!(
                "attempts: worker {worker} sends {messages:?} of lane {lane:?} again after {waited} us, and {wait} are due"
            ));
        }
    }

    fn least_retries(&self, lane: LaneId) -> u32 {
        self.hooks.borrow().get(&lane.0).map_or(1, |hook| hook.least_retries)
    }

    /// A worker asks to write outcomes.
    pub(super) fn check_settlement(&self, worker: u32, settlement: &Settlement, knows: &Knowledge) {
        for ((key, _), outcomes) in settlement {
            let lane = (key.webhook_id, key.lane);
            for message in &outcomes.done {
                if !knows.has_accepted(lane, *message) {
                    self.fail(format!(
                        "settled: worker {worker} writes that {message} of lane {lane:?} was accepted, and it was not"
                    ));
                }
            }
        }
    }

    /// A worker asks for the first time to write a dead letter.
    pub(super) fn check_given_up(&self, worker: u32, lane: LaneId, dead: &DeadDelivery) {
        let hooks = self.hooks.borrow();
        let Some(hook) = hooks.get(&lane.0) else { return };
        if dead.reason == Reason::Superseded && !hook.ever_latest {
            self.fail(format!("superseded: {} of lane {lane:?}, which sends all messages", dead.message_id));
        }
        let is_there = || self.database.peek(|view| view.get::<Message>(&dead.message_id).is_some());
        if dead.reason == Reason::MessageMissing && !self.history.borrow().has_crashed && is_there() {
            self.fail(format!("missing: {} of lane {lane:?}, which is there", dead.message_id));
        }
        if dead.reason != Reason::AttemptsExhausted {
            return;
        }
        let (message, told) = (dead.message_id, dead.attempts);
        let history = &mut *self.history.borrow_mut();
        history.note(self.now(), lane, format!("worker {worker} gives {message} up after {told} attempts"));
        history.counts.dead += 1;
        if !self.plan.counts_attempts() {
            return;
        }
        let course = history.course(lane, message);
        let (made, sure) = (course.failed, course.surely_failed);
        let single = hook.largest_batch == 1;
        let wrong = made < told || told < hook.least_retries || told > hook.most_retries;
        if wrong || single && told < sure {
            history.fail(format!(
                "given up: {message} of lane {lane:?} after {told} attempts; {made} were made, {} to {} are due",
                hook.least_retries, hook.most_retries
            ));
        }
    }
}
