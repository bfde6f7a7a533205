//! The rules for messages of a request: which ones, and in which order.
//!
//! | rule | where |
//! |---|---|
//! | no message is sent that was not committed, or that its webhook has not subscribed to | `check_order` |
//! | a request holds live messages or replays, rising, and no more than its webhook takes | `check_request` |
//! | no message is sent that is not owed, but one that was taken out a moment ago | `check_owed` |
//! | all that comes before in the lane was accepted by this claim, or goes with it | `check_before` |
//! | live messages are sent for the first time in rising order | `check_first` |
//! | what was accepted is sent again only if its worker has ended before that was written | `check_again` |
//! | of a webhook that keeps the latest message, nothing older is sent than what was sent before, or than what was owed when the lane was claimed | `check_latest` |

use super::{Hook, World, history::History, requests::Start};
use crate::postgres::tables::{Delivery, Lane, Message, Webhook};

impl World {
    pub(super) fn check_order(&self, start: &Start<'_>) {
        let Start { worker, lane, messages, .. } = *start;
        self.check_request(start);
        for message in messages {
            let is_committed = self.history.borrow().committed.contains_key(message);
            if !is_committed {
                self.fail(format!("phantom: worker {worker} sends {message}, which is not committed"));
            }
            self.check_subscribed(start, *message);
            self.check_owed(start, *message);
            let hooks = self.hooks.borrow();
            let latest = hooks.get(&lane.0).filter(|hook| hook.ever_latest).map(|hook| hook.always_latest);
            drop(hooks);
            let history = &mut *self.history.borrow_mut();
            // Two excuses for a message that was superseded. The worker does not know that its lane was
            // freed. Or the webhook gets all messages now, and nobody has written that this one goes.
            let is_excused = latest.is_some_and(|always| history.lane(lane).freed || !always);
            if !start.replay && !is_excused {
                check_first(history, start, *message);
            }
            check_again(history, start, *message);
        }
        if let Some(last) = messages.last() {
            self.check_before(start, *last);
            if !start.replay {
                self.check_latest(start, *last);
            }
        }
        let history = &mut *self.history.borrow_mut();
        if !start.replay {
            let newest = &mut history.lane(lane).newest;
            *newest = messages.iter().copied().chain(*newest).max();
        }
    }

    fn check_subscribed(&self, start: &Start<'_>, message: i64) {
        let Start { worker, lane, .. } = *start;
        let found = self.database.peek(|view| view.get::<Message>(&message).map(|row| (row.topic, row.kind)));
        let (Some((topic, kind)), hooks) = (found, self.hooks.borrow()) else { return };
        let matches =
            |hook: &Hook| hook.topic == topic && (hook.types.is_none() || hook.types == kind || start.replay);
        if hooks.get(&lane.0).is_some_and(|hook| !matches(hook)) {
            self.fail(format!(
                "subscribed: worker {worker} sends {message} to {}, which does not want it",
                lane.0
            ));
        }
    }

    fn check_request(&self, start: &Start<'_>) {
        let Start { worker, lane, messages, .. } = *start;
        let most = self.hooks.borrow().get(&lane.0).map_or(1, |hook| hook.largest_batch);
        if messages.len() > most || !messages.is_sorted_by(|one, other| one < other) {
            self.fail(format!("request: worker {worker} sends {messages:?} at once; {most} may go together"));
        }
    }

    fn check_owed(&self, start: &Start<'_>, message: i64) {
        let Start { process, worker, lane, .. } = *start;
        if self.processes[process].lost_at.get().is_some() {
            return;
        }
        let (is_there, row, generation) = self.database.peek(|view| {
            let row = view.get::<Delivery>(&(lane.0, lane.1, message)).map(|row| row.replayed);
            let generation = view.get::<Lane>(&lane).map(|row| row.generation);
            (view.get::<Webhook>(&lane.0).is_some(), row, generation)
        });
        let history = &mut *self.history.borrow_mut();
        if !is_there || history.lane(lane).freed {
            return;
        }
        let heard = start.basis.heard;
        match row {
            Some(replayed) if replayed != start.replay && generation == Some(heard) => history.fail(format!(
                "replay: worker {worker} sends {message} of lane {lane:?}, replay {}, and its row says {replayed}",
                start.replay
            )),
            Some(_) => {}
            None => {
                let course = history.course(lane, message);
                let (canceled, doubtful) = (course.canceled, course.doubtful);
                // What was taken out is known only when the answer has come.
                let is_unclear = doubtful || history.canceling.contains(&lane.0);
                if !is_unclear && canceled.is_none_or(|generation| generation <= heard) {
                    history.fail(format!(
                        "owed: worker {worker} sends {message} of lane {lane:?}, which is not owed (taken out: {canceled:?}, heard: {heard})"
                    ));
                }
            }
        }
    }

    /// What comes before in the lane, and is owed.
    fn check_before(&self, start: &Start<'_>, last: i64) {
        let Start { worker, lane, messages, .. } = *start;
        let (before, generation) = self.database.peek(|view| {
            let rows = view.range::<Delivery>((lane.0, lane.1, i64::MIN)..(lane.0, lane.1, last));
            let rows: Vec<(i64, bool, bool)> = rows
                .map(|(_, row)| (row.message, row.replayed, view.get::<Message>(&row.message).is_some()))
                .collect();
            (rows, view.get::<Lane>(&lane).map(|row| row.generation))
        });
        let latest = self.hooks.borrow().get(&lane.0).is_some_and(|hook| hook.ever_latest);
        let history = &mut *self.history.borrow_mut();
        let freed = history.lane(lane).freed;
        let knows_all = generation == Some(start.basis.heard);
        for (earlier, replayed, has_message) in before {
            let accepted = history.course(lane, earlier).accepted;
            let by_this = accepted == Some((worker, start.basis.token));
            // It is superseded, or is to be.
            let given_up = latest && !replayed;
            // A prepared transaction with its key has survived a crash: there is no message, and it is
            // given up.
            let orphan = history.has_crashed && !has_message;
            let passes =
                by_this || freed && accepted.is_some() || replayed && !knows_all || given_up || orphan;
            if !passes && !messages.contains(&earlier) {
                history.fail(format!(
                    "order: worker {worker} sends {messages:?} of lane {lane:?}, and {earlier} is owed and not accepted"
                ));
            }
        }
    }
}

impl World {
    /// What has ended by chance or by hand may be sent again: then these rules say nothing.
    fn check_latest(&self, start: &Start<'_>, message: i64) {
        let Start { process, worker, lane, .. } = *start;
        let hook = self.hooks.borrow().get(&lane.0).filter(|hook| hook.always_latest).map(|hook| hook.since);
        let Some(since) = hook.filter(|_| self.processes[process].lost_at.get().is_none()) else { return };
        let newer = self.database.peek(|view| {
            // Nobody knows what a deleted webhook kept.
            view.get::<Webhook>(&lane.0)?;
            let rows = view.range::<Delivery>((lane.0, lane.1, message + 1)..=(lane.0, lane.1, i64::MAX));
            rows.map(|(_, row)| row).filter(|row| !row.replayed).map(|row| row.message).next_back()
        });
        let history = &mut *self.history.borrow_mut();
        if history.lane(lane).freed || history.has_crashed {
            return;
        }
        let claimed = history.claims.get(&(lane, worker)).filter(|(_, token)| *token == start.basis.token);
        let claimed = claimed.map(|(began, _)| *began).filter(|began| *began > since);
        let newer = newer.filter(|_| !history.followers.contains(&(lane, message)));
        let committed = newer.and_then(|newer| Some((newer, history.committed.get(&newer)?.at)));
        if let Some((newer, _)) = committed.filter(|(_, at)| claimed.is_some_and(|began| *at < began)) {
            history.fail(format!(
                "latest: worker {worker} sends {message} of lane {lane:?}, and {newer} was owed when it claimed the lane"
            ));
        }
        if let Some(newest) = history.lane(lane).newest.filter(|newest| *newest > message) {
            let course = history.course(lane, newest);
            if course.canceled.is_none() && !course.doubtful {
                history.fail(format!(
                    "latest: worker {worker} sends {message} of lane {lane:?}, and {newest} was sent before"
                ));
            }
        }
    }
}

fn check_first(history: &mut History, start: &Start<'_>, message: i64) {
    let Start { worker, lane, .. } = *start;
    let newest = history.lane(lane).newest;
    let first = !std::mem::replace(&mut history.course(lane, message).sent, true);
    if first && newest.is_some_and(|newest| newest > message) {
        history.fail(format!(
            "order: worker {worker} sends {message} of lane {lane:?} for the first time, after {newest:?}"
        ));
    }
}

fn check_again(history: &mut History, start: &Start<'_>, message: i64) {
    let Start { worker, lane, .. } = *start;
    let Some((by, token)) = history.course(lane, message).accepted else { return };
    let freed = history.lane(lane).freed && (by, token) != (worker, start.basis.token);
    let explained = by != worker && history.ended.contains(&by)
        || freed
        || history.crashed_since.contains(&(lane.0, message));
    if !explained {
        history.fail(format!(
            "duplicate: worker {worker} sends {message} of lane {lane:?} again; worker {by} had got its 2xx"
        ));
    }
}
