//! A model of PostgreSQL: as much of it as the protocol relies on.

pub(crate) mod advisory;
mod break_point;
mod crash;
pub(crate) mod error;
pub(crate) mod notify;
pub(crate) mod row_lock;
mod sequences;
pub(crate) mod session;
pub(crate) mod state;
pub(crate) mod statement;
pub(crate) mod table;
pub(crate) mod tables;
#[cfg(test)]
mod tests;
pub(crate) mod transaction;
pub(crate) mod view;
mod wait;

use std::{
    cell::{Cell, RefCell, RefMut},
    rc::Rc,
};

use self::{
    session::Session,
    state::{SessionId, State},
};
use crate::{
    functions::guards::Guards,
    schedule::{Micros, Schedule},
};

/// What a run may choose.
#[derive(Clone)]
pub(crate) struct Settings {
    /// Which guards of our functions stand.
    pub(crate) guards: Guards,
    /// Whether anybody may NOTIFY (`may_notify`).
    pub(crate) notifies: bool,
    /// Whether the functions' own `lock_timeout` counts.
    pub(crate) lock_timeouts: bool,
    /// Whether a deadlock ends any of its sessions, and not the one that closed the circle.
    pub(crate) any_victim: bool,
    /// Once in so many steps a statement stands still, for up to this long; 0: never.
    pub(crate) pauses: usize,
    pub(crate) pause: Micros,
    /// The lanes of partition keys that are given; others are hashed.
    pub(crate) lanes: Rc<Vec<((i64, u32), i64)>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            guards: Guards::all(),
            notifies: true,
            lock_timeouts: true,
            any_victim: false,
            pauses: 0,
            pause: 0,
            lanes: Rc::default(),
        }
    }
}

/// A server. Clones are handles to the same one.
#[derive(Clone)]
pub(crate) struct Database(Rc<Shared>);

struct Shared {
    state: RefCell<State>,
    schedule: Schedule,
    settings: Settings,
    /// How far the server's clock is ahead of the virtual time.
    ahead: Cell<Micros>,
}

impl Database {
    pub(crate) fn new(schedule: &Schedule, settings: Settings) -> Self {
        let schedule = schedule.clone();
        Self(Rc::new(Shared { state: RefCell::default(), schedule, settings, ahead: Cell::new(0) }))
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> Session {
        Session::open(self.clone())
    }

    /// For as long as nobody waits: no caller keeps it over an await.
    pub(crate) fn state(&self) -> RefMut<'_, State> {
        self.0.state.borrow_mut()
    }

    pub(crate) fn schedule(&self) -> &Schedule {
        &self.0.schedule
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(crate) fn guards(&self) -> Guards {
        self.0.settings.guards
    }

    /// The server's clock, for those who only look: no time passes.
    pub(crate) fn clock(&self) -> Micros {
        self.0.schedule.now() + self.0.ahead.get()
    }

    pub(crate) fn tick(&self) -> Micros {
        self.0.schedule.tick() + self.0.ahead.get()
    }

    /// Steps the server's clock. Timeouts and timers follow the virtual time all the same.
    pub(crate) fn step_clock(&self, by: Micros) {
        self.0.ahead.set(self.0.ahead.get() + by);
    }

    /// The lane of a partition.
    pub(crate) fn lane(&self, topic: i64, key: u32) -> i64 {
        let given = self.0.settings.lanes.iter().find(|(partition, _)| *partition == (topic, key));
        given.map_or_else(|| hash(topic, key), |(_, lane)| *lane)
    }

    /// Whom a deadlock ends.
    fn victim(&self, last: SessionId, circle: &[SessionId]) -> SessionId {
        if self.0.settings.any_victim { self.0.schedule.random(|random| random.pick(circle)) } else { last }
    }
}

/// Some hash, so that lanes lie in another order than keys.
fn hash(topic: i64, key: u32) -> i64 {
    let mixed =
        topic.wrapping_mul(0x1000_0000_01B3).wrapping_add(i64::from(key)).wrapping_mul(0x5851_F42D_4C95_7F2D);
    mixed ^ (mixed >> 29)
}
