//! How a statement comes to the server, and its answer back.
//!
//! The server executes it in a task of its own: it goes on if the client is gone.

use pgtopic::worker::engine::failure::{Effect, Failure};

use super::{
    Handle, World,
    mailbox::answer,
    plan::{Kind, Trouble},
};
use crate::{
    postgres::{
        error::{Error, Result},
        session::Session,
    },
    schedule::{Micros, SECOND},
};

/// The server's limits for a worker's statement, and how much later the client gives up.
const LOCK_TIMEOUT: Micros = SECOND;
const STATEMENT_TIMEOUT: Micros = 5 * SECOND;
const CLIENT_LATER: Micros = 2 * SECOND;

/// How long the way to the server is at most for heartbeats, and at the end of a run.
const LATE_MOST: Micros = SECOND / 50;

/// Why a call has no result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CallError {
    /// The statement did nothing: there was no connection.
    NotSent,
    /// The server refused it.
    Refused(Error),
    /// Nobody knows.
    Unknown,
}

impl CallError {
    pub(super) fn failure(self) -> Failure {
        let effect = match self {
            Self::Refused(Error::NotInState) => Effect::NotRegistered,
            Self::Refused(_) | Self::NotSent => Effect::Nothing,
            Self::Unknown => Effect::Unknown,
        };
        Failure { effect, text: format!("{self:?}") }
    }

    /// As `StoreError::may_be_of_a_row`.
    pub(super) fn may_be_of_a_row(self) -> bool {
        matches!(
            self,
            Self::Refused(Error::Serialization | Error::Deadlock | Error::Unique | Error::ForeignKey)
        )
    }

    /// As `StoreError::took_too_long`, or the former.
    pub(super) fn may_be_of_a_lane(self) -> bool {
        self.may_be_of_a_row() || matches!(self, Self::Refused(Error::LockNotAvailable | Error::Canceled))
    }
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        match error {
            Error::ConnectionLost => Self::Unknown,
            other => Self::Refused(other),
        }
    }
}

impl World {
    /// A statement of a worker, over a connection of its pool.
    pub(super) async fn call<T: 'static>(
        self: &Handle,
        process: usize,
        kind: Kind,
        body: impl AsyncFnOnce(&Session) -> Result<T> + 'static,
    ) -> std::result::Result<T, CallError> {
        let session = self.database.connect();
        session.set_lock_timeout(Some(LOCK_TIMEOUT));
        self.call_on(process, kind, session, body).await
    }

    /// A statement of a worker, over some connection.
    pub(super) async fn call_on<T: 'static>(
        self: &Handle,
        process: usize,
        kind: Kind,
        session: Session,
        body: impl AsyncFnOnce(&Session) -> Result<T> + 'static,
    ) -> std::result::Result<T, CallError> {
        if self.processes[process].cut.get() {
            self.schedule.sleep(STATEMENT_TIMEOUT + CLIENT_LATER).await;
            return Err(CallError::Unknown);
        }
        let trouble = self.trouble_of(process, kind);
        if trouble == Some(Trouble::Refused) {
            let time = if self.once_in(2) { 1_000 } else { self.plan.pace.slow };
            self.schedule.sleep(self.part_of(time)).await;
            return Err(CallError::NotSent);
        }
        let (answerer, answer) = answer();
        let world = self.clone();
        self.schedule.spawn(async move {
            world.way(kind).await;
            match trouble {
                Some(Trouble::Hang) => world.schedule.sleep(world.part_of(12 * SECOND)).await,
                Some(Trouble::Slow) => world.schedule.sleep(world.part_of(world.plan.pace.slow)).await,
                Some(Trouble::Canceled) => world.cancel_soon(&session),
                _ => {}
            }
            let statement = &session;
            let limited = async move || {
                let limited =
                    statement.with_statement_timeout(STATEMENT_TIMEOUT, async move || body(statement).await);
                limited.await
            };
            let result = session.call(limited).await;
            drop(session);
            world.way(kind).await;
            if trouble == Some(Trouble::Late) {
                world.schedule.sleep(world.part_of(world.plan.pace.slow)).await;
            }
            if trouble != Some(Trouble::AnswerLost) {
                answerer.give(result.map_err(CallError::from));
            }
        });
        let until = self.now() + STATEMENT_TIMEOUT + CLIENT_LATER;
        answer.until(&self.schedule, until).await.unwrap_or(Err(CallError::Unknown))
    }

    /// The way to the server, or back: most are quick, and some are not.
    async fn way(&self, kind: Kind) {
        // A session that is always late would be lost again and again.
        let is_short = kind == Kind::Session || self.ending.get();
        let late = if is_short { self.plan.pace.late_way.min(LATE_MOST) } else { self.plan.pace.late_way };
        let way = if self.once_in(self.plan.pace.late) { late } else { 300 };
        self.schedule.sleep(self.part_of(way)).await;
    }

    /// What is wrong with a statement, if anything is.
    fn trouble_of(&self, process: usize, kind: Kind) -> Option<Trouble> {
        let (trouble, of) = self.processes[process].trouble.get()?;
        let often = match of {
            Some(of) if of != kind => return None,
            Some(_) => self.once_in(2),
            None => matches!(trouble, Trouble::Slow | Trouble::Late) || self.once_in(6),
        };
        often.then_some(trouble)
    }

    /// Somebody cancels what this session executes.
    fn cancel_soon(self: &Handle, session: &Session) {
        let (world, session) = (self.clone(), session.clone());
        self.schedule.spawn(async move {
            for _ in 0..world.draw(|random| random.below(30)) {
                world.schedule.pass().await;
            }
            if session.transaction().is_some() {
                session.cancel();
            }
        });
    }

    /// Statements of somebody who is no worker.
    pub(super) async fn operate<T>(
        &self,
        body: impl AsyncFnOnce(&Session) -> Result<T>,
    ) -> std::result::Result<T, CallError> {
        let session = self.database.connect();
        let statement = &session;
        session.call(async move || body(statement).await).await.map_err(CallError::from)
    }
}
