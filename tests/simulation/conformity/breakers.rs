//! Scripts in which breakers open. Sessions ask whether a breaker may open, take turns to probe, end
//! them, and give messages up as the leader does. They delete no webhook: the model has no foreign
//! keys of breakers.

use super::{action::Call, generate::Generator, model::Model};
use crate::{
    functions::{end_probe::Turn, open_breaker::Ask, settle::Settlement},
    postgres::tables::{Breaker, Reason},
    schedule::{Micros, SECOND},
};

/// Longer than a script takes.
const LATER: Micros = 60 * SECOND;

impl Generator {
    pub(super) fn breaker_call(&mut self, model: &Model) -> Call {
        let webhook = if self.random.once_in(4) { self.webhook(model) } else { 1 };
        let row = model.database.peek(|view| view.get::<Breaker>(&webhook).cloned());
        let is_open = row.as_ref().is_some_and(|row| row.open);
        let epoch = row.as_ref().map_or(0, |row| row.epoch) - i64::from(self.random.once_in(6));
        let worker = self.worker();
        let later = if self.random.once_in(6) { LATER } else { 0 };
        match self.random.below(12) {
            0 => Call::WakeLanes(webhook, self.random.pick(&[1, 2])),
            1 => Call::KeepLatest(webhook, self.random.once_in(2)),
            2 => {
                let (messages, waits) = self.messages(model);
                Call::Cancel { webhook, messages, reason: Reason::Superseded, waits }
            }
            3 => Call::NoteSuccess { worker, webhooks: vec![1, webhook] },
            4 => Call::CloseBreaker(webhook, None),
            5 | 6 if is_open => Call::CloseBreaker(webhook, Some(self.turn(webhook, row.as_ref()))),
            7 | 8 if is_open => {
                let turn = self.turn(webhook, row.as_ref());
                Call::EndProbe { turn, failed: self.random.once_in(2), next_in: later }
            }
            9.. if is_open => Call::TakeProbes { worker, token: self.token(worker) },
            _ => {
                let first_probe = if self.random.once_in(6) { LATER } else { 0 };
                Call::OpenBreaker(Ask { worker, webhook, epoch, objection: later, first_probe })
            }
        }
    }

    /// The turn of a row, most of the time.
    fn turn(&mut self, webhook: i64, row: Option<&Breaker>) -> Turn {
        let probe = row.and_then(|row| row.probe.as_ref());
        let mut turn = Turn {
            worker: probe.map_or(1, |probe| probe.by),
            token: probe.map_or(1, |probe| probe.token),
            webhook,
            epoch: row.map_or(0, |row| row.epoch),
        };
        match self.random.below(9) {
            0 => turn.worker = 3 - turn.worker.min(2),
            1 => turn.token = turn.token % 3 + 1,
            2 => turn.epoch -= 1,
            _ => {}
        }
        turn
    }

    /// Requests that have failed began in the present epoch, most of the time.
    pub(super) fn set_epochs(&mut self, model: &Model, settlement: &mut Settlement) {
        let Settlement { lanes, dead, .. } = settlement;
        let is_dead = |at: usize| dead.iter().any(|(of, ..)| *of == at);
        let failed = lanes.iter_mut().enumerate().filter(|(at, lane)| lane.failures > 0 || is_dead(*at));
        for (_, lane) in failed {
            let row = model.database.peek(|view| view.get::<Breaker>(&lane.webhook).cloned());
            let earlier = i64::from(self.random.once_in(4));
            lane.epoch = Some(row.map_or(0, |row| row.epoch) - earlier);
        }
    }
}
