//! Advisory locks of a session, and its waits.

use std::{future::poll_fn, task::Poll};

use super::{
    advisory::{LockKey, Scope},
    error::{Error, Result},
    session::Session,
    state::{State, Wait},
};

impl Session {
    /// `pg_advisory_xact_lock`.
    pub(crate) async fn advisory_lock(&self, key: LockKey) -> Result<()> {
        let scope = self.transaction_scope()?;
        {
            let mut state = self.database().state();
            if state.advisory.try_take(self.id(), key, scope, false) {
                return Ok(());
            }
            state.advisory.queue(self.id(), key, scope, false);
        }
        self.wait(Wait::Advisory(key)).await
    }

    /// `pg_try_advisory_xact_lock`.
    pub(crate) fn try_advisory_lock(&self, key: LockKey, shared: bool) -> Result<bool> {
        let scope = self.transaction_scope()?;
        Ok(self.database().state().advisory.try_take(self.id(), key, scope, shared))
    }

    /// `pg_try_advisory_lock`: to the end of the session.
    pub(crate) fn try_session_lock(&self, key: LockKey) -> bool {
        self.database().state().advisory.try_take(self.id(), key, Scope::Session, false)
    }

    /// `pg_advisory_unlock`.
    pub(crate) fn session_unlock(&self, key: LockKey) -> bool {
        let mut state = self.database().state();
        let held = state.advisory.unlock(self.id(), key);
        state.wake_waiting();
        held
    }

    fn transaction_scope(&self) -> Result<Scope> {
        self.with_transaction(|transaction| Scope::Transaction(transaction.current()))
    }

    /// Waits. Deadlocks, timeouts and crashes end a wait with an error.
    pub(super) async fn wait(&self, wait: Wait) -> Result<()> {
        let (deadline, error) = {
            let state = &mut *self.database().state();
            state.begin_wait(self.id(), wait);
            while state.deadlock(self.id()) {
                let victim = self.database().victim(self.id(), &state.in_circles());
                state.interrupt(victim, Error::Deadlock);
            }
            let session = state.session(self.id());
            let lock = session.lock_timeout.map(|time| self.database().schedule().now() + time);
            match (lock, session.deadline) {
                (Some(lock), Some(statement)) if statement < lock => (Some(statement), Error::Canceled),
                (None, Some(statement)) => (Some(statement), Error::Canceled),
                (lock, _) => (lock, Error::LockNotAvailable),
            }
        };
        let mut armed = false;
        let result = poll_fn(|context| {
            let mut state = self.database().state();
            if state.session(self.id()).lost {
                return Poll::Ready(Err(Error::ConnectionLost));
            }
            if let Some(error) = state.session(self.id()).interrupt.take() {
                return Poll::Ready(Err(error));
            }
            // It may be another one than at the beginning.
            let wait = state.session(self.id()).wait.as_ref().map_or(wait, |(wait, _)| *wait);
            if state.is_over(self.id(), wait) {
                return Poll::Ready(Ok(()));
            }
            if deadline.is_some_and(|at| self.database().schedule().now() >= at) {
                return Poll::Ready(Err(error));
            }
            if let Some(at) = deadline.filter(|_| !std::mem::replace(&mut armed, true)) {
                self.database().schedule().wake_at(at, context.waker());
            }
            state.session(self.id()).wait = Some((wait, Some(context.waker().clone())));
            Poll::Pending
        })
        .await;
        let state: &mut State = &mut self.database().state();
        if result.is_ok() {
            state.end_wait(self.id());
        } else {
            state.forget_wait(self.id());
        }
        result
    }
}
