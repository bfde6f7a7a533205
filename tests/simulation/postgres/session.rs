//! Sessions: what a client does besides the statements themselves.

use std::rc::Rc;

use super::{
    Database,
    error::{Error, Result},
    state::{Owner, SessionId, SessionState},
    statement::Statement,
    transaction::{Csn, Level, Savepoint, Snapshot, Transaction},
};
use crate::schedule::Micros;

/// A connection. It ends when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Session(Rc<Connection>);

struct Connection {
    database: Database,
    id: SessionId,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.database.state().disconnect(self.id);
    }
}

impl Session {
    pub(super) fn open(database: Database) -> Self {
        let id = database.state().connect();
        Self(Rc::new(Connection { database, id }))
    }

    pub(crate) fn id(&self) -> SessionId {
        self.0.id
    }

    pub(crate) fn database(&self) -> &Database {
        &self.0.database
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut SessionState) -> T) -> T {
        act(self.database().state().session(self.id()))
    }

    pub(super) fn with_transaction<T>(&self, act: impl FnOnce(&mut Transaction) -> T) -> Result<T> {
        self.with(|session| session.transaction.as_mut().map(act)).ok_or(Error::ConnectionLost)
    }

    /// BEGIN.
    pub(crate) fn begin(&self, level: Level) -> Result<()> {
        self.check_connection()?;
        self.start(level);
        Ok(())
    }

    fn start(&self, level: Level) {
        let now = self.database().tick();
        let state = &mut *self.database().state();
        let xid = state.xids.begin(self.id());
        state.session(self.id()).transaction = Some(Transaction::new(level, xid, now));
    }

    /// COMMIT. A failed transaction is rolled back, and that is no error.
    pub(crate) fn commit(&self) -> Result<()> {
        self.check_connection()?;
        let state = &mut *self.database().state();
        let Some(transaction) = state.session(self.id()).transaction.take() else { return Ok(()) };
        state.session(self.id()).oldest = None;
        if transaction.failed {
            state.end(Owner::Session(self.id()), &transaction);
        } else {
            state.commit(Owner::Session(self.id()), &transaction);
        }
        Ok(())
    }

    /// ROLLBACK.
    pub(crate) fn rollback(&self) -> Result<()> {
        self.check_connection()?;
        let state = &mut *self.database().state();
        state.abort_all(self.id());
        state.session(self.id()).oldest = None;
        Ok(())
    }

    /// SAVEPOINT.
    pub(crate) fn savepoint(&self, name: u8) -> Result<()> {
        self.check_connection()?;
        self.with_transaction(|transaction| transaction.check())??;
        self.begin_sub(Some(name));
        Ok(())
    }

    /// ROLLBACK TO SAVEPOINT. The savepoint stays.
    pub(crate) fn rollback_to(&self, name: u8) -> Result<()> {
        self.check_connection()?;
        let Some(at) = self.find_savepoint(name)? else {
            self.fail();
            return Err(Error::NoSuchSavepoint);
        };
        self.abort_sub(at, at)?;
        self.with_transaction(|transaction| transaction.failed = false)?;
        self.begin_sub(Some(name));
        Ok(())
    }

    /// RELEASE SAVEPOINT.
    pub(crate) fn release(&self, name: u8) -> Result<()> {
        self.check_connection()?;
        self.with_transaction(|transaction| transaction.check())??;
        let Some(at) = self.find_savepoint(name)? else {
            self.fail();
            return Err(Error::NoSuchSavepoint);
        };
        self.merge(at)
    }

    /// Savepoints from some depth on become part of what they are in.
    fn merge(&self, from: usize) -> Result<()> {
        let merged = self.with_transaction(|transaction| transaction.savepoints.split_off(from))?;
        let xids: Vec<_> = merged.into_iter().map(|savepoint| savepoint.xid).collect();
        self.database().state().merge(&xids);
        Ok(())
    }

    fn find_savepoint(&self, name: u8) -> Result<Option<usize>> {
        self.with_transaction(|transaction| {
            transaction.savepoints.iter().rposition(|savepoint| savepoint.name == Some(name))
        })
    }

    fn begin_sub(&self, name: Option<u8>) {
        let state = &mut *self.database().state();
        let Some(transaction) = &state.session(self.id()).transaction else { return };
        let top = transaction.top();
        let xid = state.xids.begin_sub(top);
        let Some(transaction) = &mut state.session(self.id()).transaction else { return };
        let (notifications, marks) = (transaction.notifications.len(), transaction.marks);
        transaction.xids.push(xid);
        transaction.savepoints.push(Savepoint { name, xid, notifications, marks });
    }

    /// Rolls back a savepoint by its depth, with all that was begun after it, and leaves some on the
    /// stack.
    fn abort_sub(&self, at: usize, left: usize) -> Result<()> {
        let state = &mut *self.database().state();
        let transaction = state.session(self.id()).transaction.as_mut().ok_or(Error::ConnectionLost)?;
        let savepoint = &transaction.savepoints[at];
        transaction.notifications.truncate(savepoint.notifications);
        transaction.marks = savepoint.marks;
        // It may have been rolled back before, by an error.
        let from = transaction.xids.iter().position(|xid| *xid == savepoint.xid);
        let aborted: Vec<_> = from.map(|from| transaction.xids.drain(from..).collect()).unwrap_or_default();
        transaction.savepoints.truncate(left);
        state.xids.abort(&aborted);
        state.advisory.release(Owner::Session(self.id()), &aborted);
        state.wake_waiting();
        Ok(())
    }

    /// A block with EXCEPTION: if it fails, what it did is undone, and the error is returned.
    pub(crate) async fn block<T>(&self, body: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
        self.begin_sub(None);
        let depth = self.with_transaction(|transaction| transaction.savepoints.len() - 1)?;
        let result = body().await;
        if result.is_ok() {
            self.merge(depth)?;
        } else {
            self.abort_sub(depth, depth)?;
        }
        result
    }

    /// A statement of the client. Without a transaction it is one by itself.
    pub(crate) async fn call<T>(&self, body: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
        self.check_connection()?;
        let now = self.database().tick();
        let open = self.with(|session| {
            session.statement_at = now;
            session.transaction.as_ref().map(Transaction::check)
        });
        match open {
            None => self.start(Level::ReadCommitted),
            Some(check) => check?,
        }
        self.transaction_snapshot()?;
        let result = body().await;
        self.check_connection()?;
        match (&result, open.is_some()) {
            (Ok(_), true) => {
                self.with(|session| session.oldest = session.transaction.as_ref().and_then(|open| open.csn));
            }
            (Ok(_), false) => self.commit()?,
            (Err(_), true) => self.fail(),
            (Err(_), false) => self.rollback()?,
        }
        result
    }

    /// An error ends the innermost savepoint, or the transaction: its locks are free at once.
    fn fail(&self) {
        let depth = self.with_transaction(|transaction| {
            transaction.failed = true;
            transaction.savepoints.len()
        });
        if let Ok(depth @ 1..) = depth {
            let _ = self.abort_sub(depth - 1, depth);
            return;
        }
        let state = &mut *self.database().state();
        let Some(mut transaction) = state.session(self.id()).transaction.take() else { return };
        state.end(Owner::Session(self.id()), &transaction);
        transaction.notifications.clear();
        state.session(self.id()).transaction = Some(transaction);
    }

    pub(super) fn check_connection(&self) -> Result<()> {
        self.with(|session| if session.lost { Err(Error::ConnectionLost) } else { Ok(()) })
    }

    /// The next SQL statement. It gives way before it takes its snapshot, and after.
    pub(crate) async fn statement(&self) -> Result<Statement> {
        self.pass().await?;
        let snapshot = self.snapshot()?;
        self.pass().await?;
        Ok(Statement::new(self.clone(), snapshot))
    }

    /// Gives way to other sessions.
    pub(super) async fn pass(&self) -> Result<()> {
        let (schedule, settings) = (self.database().schedule(), self.database().settings());
        schedule.pass().await;
        if settings.pauses > 0 && schedule.random(|random| random.once_in(settings.pauses)) {
            let most = usize::try_from(settings.pause).unwrap_or(1);
            let pause = schedule.random(|random| random.below(most));
            schedule.sleep(1 + Micros::try_from(pause).unwrap_or(0)).await;
        }
        self.with(|session| {
            if session.lost {
                Err(Error::ConnectionLost)
            } else {
                session.interrupt.take().map_or(Ok(()), Err)
            }
        })
    }

    fn snapshot(&self) -> Result<Snapshot> {
        let csn = self.transaction_snapshot()?;
        let state = &mut *self.database().state();
        let csn = csn.unwrap_or_else(|| state.xids.newest());
        let session = state.session(self.id());
        let transaction = session.transaction.as_mut().ok_or(Error::ConnectionLost)?;
        transaction.next_cid += 1;
        let snapshot = Snapshot { csn, cid: transaction.next_cid, top: transaction.top() };
        session.uses(csn);
        Ok(snapshot)
    }

    /// The snapshot of the whole transaction, above READ COMMITTED. The first statement of the client
    /// takes it, even if a function in it fails before it reads anything.
    fn transaction_snapshot(&self) -> Result<Option<Csn>> {
        let state = &mut *self.database().state();
        let newest = state.xids.newest();
        let session = state.session(self.id());
        let transaction = session.transaction.as_mut().ok_or(Error::ConnectionLost)?;
        if transaction.level == Level::ReadCommitted {
            return Ok(None);
        }
        let csn = *transaction.csn.get_or_insert(newest);
        session.uses(csn);
        Ok(Some(csn))
    }

    /// The isolation level of the transaction.
    pub(crate) fn level(&self) -> Level {
        self.with_transaction(|transaction| transaction.level).unwrap_or(Level::ReadCommitted)
    }

    /// `statement_timestamp()`.
    pub(crate) fn statement_at(&self) -> Micros {
        self.with(|session| session.statement_at)
    }

    /// `now()`.
    pub(crate) fn began_at(&self) -> Micros {
        self.with_transaction(|transaction| transaction.began_at).unwrap_or_default()
    }

    /// `clock_timestamp()`.
    pub(crate) fn clock(&self) -> Micros {
        self.database().tick()
    }

    /// Whether the commit is to wait for the disk (`synchronous_commit`).
    pub(crate) fn set_flush(&self, flush: bool) -> Result<()> {
        self.with_transaction(|transaction| transaction.flush = flush)
    }

    /// SET `statement_timeout`, for what is run.
    pub(crate) async fn with_statement_timeout<T>(
        &self,
        time: Micros,
        body: impl AsyncFnOnce() -> Result<T>,
    ) -> Result<T> {
        let deadline = self.database().schedule().now() + time;
        let before = self.with(|session| session.deadline.replace(deadline));
        let result = body().await;
        self.with(|session| session.deadline = before);
        result
    }

    /// `pg_cancel_backend`: its statement fails where it stands or waits.
    pub(crate) fn cancel(&self) {
        self.database().state().interrupt(self.id(), Error::Canceled);
    }

    /// Runs something under a `lock_timeout` of a function.
    pub(crate) async fn with_lock_timeout<T>(
        &self,
        time: Micros,
        body: impl AsyncFnOnce() -> Result<T>,
    ) -> Result<T> {
        let limit = self.database().settings().lock_timeouts.then_some(time);
        let before = self.with(|session| std::mem::replace(&mut session.lock_timeout, limit));
        let result = body().await;
        self.with(|session| session.lock_timeout = before);
        result
    }

    /// SET `lock_timeout`.
    pub(crate) fn set_lock_timeout(&self, time: Option<Micros>) {
        self.with(|session| session.lock_timeout = time);
    }

    /// PREPARE TRANSACTION.
    pub(crate) fn prepare(&self, gid: u32) -> Result<()> {
        self.check_connection()?;
        let state = &mut *self.database().state();
        let Some(transaction) = state.session(self.id()).transaction.take() else { return Ok(()) };
        let own = Owner::Session(self.id());
        state.session(self.id()).oldest = None;
        if transaction.failed {
            state.end(own, &transaction);
            return Ok(());
        }
        if !transaction.notifications.is_empty() {
            state.end(own, &transaction);
            return Err(Error::NotSupported);
        }
        let owner = Owner::Prepared(gid);
        state.xids.set_owner(transaction.top(), owner);
        state.advisory.hand_over(own, owner, &transaction.xids);
        state.lsn += 1;
        state.flush();
        state.prepared.insert(gid, transaction);
        Ok(())
    }

    /// COMMIT PREPARED, or ROLLBACK PREPARED.
    pub(crate) fn end_prepared(&self, gid: u32, commits: bool) -> Result<()> {
        self.check_connection()?;
        let state = &mut *self.database().state();
        let mut transaction = state.prepared.remove(&gid).ok_or(Error::NoSuchObject)?;
        transaction.flush = true;
        if commits {
            state.commit(Owner::Prepared(gid), &transaction);
        } else {
            state.end(Owner::Prepared(gid), &transaction);
        }
        Ok(())
    }

    /// Whether a statement waits for a lock now.
    pub(crate) fn waits(&self) -> bool {
        self.with(|session| session.wait.is_some())
    }

    /// The level of the open transaction, and whether it has failed.
    pub(crate) fn transaction(&self) -> Option<(Level, bool)> {
        self.with(|session| session.transaction.as_ref().map(|open| (open.level, open.failed)))
    }

    /// The names of the open savepoints.
    pub(crate) fn savepoints(&self) -> Vec<u8> {
        let names =
            |open: &Transaction| open.savepoints.iter().filter_map(|savepoint| savepoint.name).collect();
        self.with(|session| session.transaction.as_ref().map(names).unwrap_or_default())
    }
}
