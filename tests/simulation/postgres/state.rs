//! All that the server knows, and who waits for whom.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    task::Waker,
};

use super::{
    advisory::{Advisory, LockKey},
    error::Error,
    notify::Notification,
    sequences::Sequences,
    table::Place,
    tables::{TableName, Tables},
    transaction::{Csn, Transaction, Xid, Xids},
};
use crate::schedule::Micros;

/// How many places of the log a crash loses at most: the server writes it to disk now and then.
const UNFLUSHED_MOST: u64 = 200;

/// Names a session.
pub(crate) type SessionId = usize;

/// Who holds locks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Owner {
    Session(SessionId),
    /// A prepared transaction, by its gid.
    Prepared(u32),
}

/// What a session waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// The end of a transaction or subtransaction.
    Xid(Xid),
    /// Its turn among those who wait for a row.
    Turn(TableName, Place),
    Advisory(LockKey),
}

/// A session.
#[derive(Default)]
pub(crate) struct SessionState {
    pub(crate) transaction: Option<Transaction>,
    pub(crate) wait: Option<(Wait, Option<Waker>)>,
    /// What ends its wait, or its next statement.
    pub(crate) interrupt: Option<Error>,
    pub(crate) lock_timeout: Option<Micros>,
    /// When `statement_timeout` ends the statement.
    pub(crate) deadline: Option<Micros>,
    /// When the client sent its statement.
    pub(crate) statement_at: Micros,
    /// The oldest snapshot that it uses.
    pub(crate) oldest: Option<Csn>,
    pub(crate) listens: bool,
    pub(crate) inbox: VecDeque<Notification>,
    /// Who waits for notifications.
    pub(crate) listener: Option<Waker>,
    /// The queue of a row that it stands in.
    pub(crate) turn: Option<(TableName, Place)>,
    /// The server has crashed.
    pub(crate) lost: bool,
    /// Whether it stops at break points; how many it has come to; up to which it may go on; and who
    /// is to be woken then.
    pub(crate) stops: bool,
    pub(crate) arrived: u64,
    pub(crate) passes: u64,
    pub(crate) stopped: Option<Waker>,
}

impl SessionState {
    /// Notes a snapshot that it uses.
    pub(crate) fn uses(&mut self, csn: Csn) {
        self.oldest = Some(self.oldest.map_or(csn, |oldest| oldest.min(csn)));
    }
}

/// A server.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) tables: Tables,
    pub(crate) xids: Xids,
    pub(crate) advisory: Advisory,
    pub(crate) sequences: Sequences,
    pub(crate) prepared: BTreeMap<u32, Transaction>,
    sessions: Vec<Option<SessionState>>,
    /// Those who wait for a row, in their order.
    turns: HashMap<(TableName, Place), VecDeque<SessionId>>,
    waiting: Vec<SessionId>,
    /// The end of the log, and up to where it is on disk.
    pub(crate) lsn: u64,
    pub(crate) flushed: u64,
    /// The newest commit that is on disk.
    flushed_csn: Csn,
    /// Until when publishers notify.
    pub(crate) notify_until: Micros,
}

impl State {
    pub(crate) fn connect(&mut self) -> SessionId {
        let free = self.sessions.iter().position(Option::is_none);
        let id = free.unwrap_or_else(|| {
            self.sessions.push(None);
            self.sessions.len() - 1
        });
        self.sessions[id] = Some(SessionState::default());
        id
    }

    pub(crate) fn session(&mut self, id: SessionId) -> &mut SessionState {
        self.sessions[id].as_mut().expect("a session in use has a state")
    }

    pub(crate) fn session_ref(&self, id: SessionId) -> &SessionState {
        self.sessions[id].as_ref().expect("a session in use has a state")
    }

    pub(crate) fn sessions(&self) -> impl Iterator<Item = SessionId> {
        (0..self.sessions.len()).filter(|id| self.sessions[*id].is_some())
    }

    /// A session ends: its transaction is rolled back, its locks are free.
    pub(crate) fn disconnect(&mut self, id: SessionId) {
        if self.session(id).transaction.is_some() {
            self.abort_all(id);
        }
        self.forget_wait(id);
        self.advisory.release_all(Owner::Session(id));
        self.sessions[id] = None;
        self.wake_waiting();
    }

    /// Rolls the whole transaction of a session back.
    pub(crate) fn abort_all(&mut self, id: SessionId) {
        if let Some(transaction) = self.session(id).transaction.take() {
            self.end(Owner::Session(id), &transaction);
        }
    }

    /// A transaction ends without a commit, whoever owns it.
    pub(crate) fn end(&mut self, owner: Owner, transaction: &Transaction) {
        self.xids.abort(&transaction.xids);
        self.advisory.release(owner, &transaction.xids);
        self.wake_waiting();
    }

    /// A transaction commits.
    pub(crate) fn commit(&mut self, owner: Owner, transaction: &Transaction) {
        self.lsn += 1;
        self.xids.commit(&transaction.xids, self.lsn);
        if transaction.flush || self.lsn - self.flushed > UNFLUSHED_MOST {
            self.flush();
        }
        self.advisory.release(owner, &transaction.xids);
        if !transaction.notifications.is_empty() {
            for session in self.sessions.iter_mut().flatten().filter(|session| session.listens) {
                session.inbox.extend(&transaction.notifications);
                if let Some(listener) = session.listener.take() {
                    listener.wake();
                }
            }
        }
        self.wake_waiting();
    }

    /// All that was written to the log is on disk.
    pub(super) fn flush(&mut self) {
        self.flushed = self.lsn;
        self.flushed_csn = self.xids.newest();
    }

    /// The newest commit that every snapshot in use shows, and that a crash does not lose: what it
    /// replaced is not needed any more.
    pub(crate) fn oldest(&self) -> Csn {
        let used = self.sessions.iter().flatten().filter_map(|session| session.oldest).min();
        used.unwrap_or(self.flushed_csn).min(self.flushed_csn)
    }

    /// Stands in the queue for a row.
    pub(crate) fn take_turn(&mut self, id: SessionId, table: TableName, place: Place) {
        self.turns.entry((table, place)).or_default().push_back(id);
        self.session(id).turn = Some((table, place));
    }

    /// Leaves the queue for a row.
    pub(crate) fn leave_turn(&mut self, id: SessionId) {
        let Some(key) = self.session(id).turn.take() else { return };
        if let Some(queue) = self.turns.get_mut(&key) {
            queue.retain(|other| *other != id);
            if queue.is_empty() {
                self.turns.remove(&key);
            }
        }
        self.wake_waiting();
    }

    /// Whether a wait is over.
    pub(crate) fn is_over(&self, id: SessionId, wait: Wait) -> bool {
        match wait {
            Wait::Xid(xid) => !self.xids.is_running(xid),
            Wait::Turn(table, place) => {
                self.turns.get(&(table, place)).is_none_or(|queue| queue.front() == Some(&id))
            }
            Wait::Advisory(key) => !self.advisory.is_queued(id, key),
        }
    }

    pub(crate) fn begin_wait(&mut self, id: SessionId, wait: Wait) {
        let wait = match wait {
            Wait::Xid(xid) => Wait::Xid(self.xids.awaited(xid)),
            other => other,
        };
        self.session(id).wait = Some((wait, None));
        self.waiting.push(id);
    }

    /// Subtransactions become part of their parents. Who waits for one waits for the whole transaction
    /// from now on.
    pub(crate) fn merge(&mut self, xids: &[Xid]) {
        self.xids.merge(xids);
        for at in 0..self.waiting.len() {
            let id = self.waiting[at];
            if let Some((Wait::Xid(xid), _)) = self.session_ref(id).wait {
                let awaited = self.xids.awaited(xid);
                if let Some((wait, _)) = &mut self.session(id).wait {
                    *wait = Wait::Xid(awaited);
                }
            }
        }
    }

    /// The session has got what it waited for.
    pub(crate) fn end_wait(&mut self, id: SessionId) {
        self.session(id).wait = None;
        self.waiting.retain(|other| *other != id);
    }

    /// The session waits no more, whether it got what it waited for or not.
    pub(crate) fn forget_wait(&mut self, id: SessionId) {
        if let Some((wait, _)) = self.session(id).wait.take() {
            self.waiting.retain(|other| *other != id);
            if let Wait::Advisory(key) = wait {
                self.advisory.leave(id, key);
                self.wake_waiting();
            }
        }
        self.leave_turn(id);
    }

    /// Wakes all whose wait is over.
    pub(crate) fn wake_waiting(&mut self) {
        for at in 0..self.waiting.len() {
            let id = self.waiting[at];
            let Some((wait, _)) = self.session_ref(id).wait else { continue };
            if self.is_over(id, wait) {
                self.wake(id);
            }
        }
    }

    fn wake(&mut self, id: SessionId) {
        if let Some((_, waker)) = &mut self.session(id).wait
            && let Some(waker) = waker.take()
        {
            waker.wake();
        }
    }

    /// Ends the wait of a session, or its next statement, with an error.
    pub(crate) fn interrupt(&mut self, id: SessionId, error: Error) {
        self.session(id).interrupt = Some(error);
        self.wake(id);
    }

    /// Those whom a session waits for now.
    pub(crate) fn blockers(&self, id: SessionId) -> Vec<Owner> {
        let session = self.session_ref(id);
        match session.wait {
            _ if session.interrupt.is_some() => Vec::new(),
            Some((Wait::Xid(xid), _)) if self.xids.is_running(xid) => vec![self.xids.owner(xid)],
            None | Some((Wait::Xid(_), _)) => Vec::new(),
            Some((Wait::Turn(table, place), _)) => {
                let queue = self.turns.get(&(table, place));
                queue
                    .into_iter()
                    .flatten()
                    .take_while(|other| **other != id)
                    .map(|other| Owner::Session(*other))
                    .collect()
            }
            Some((Wait::Advisory(key), _)) => self.advisory.blockers(id, key),
        }
    }

    /// Whether a session waits for itself.
    pub(crate) fn deadlock(&self, id: SessionId) -> bool {
        let (mut seen, mut left) = (vec![id], vec![id]);
        while let Some(next) = left.pop() {
            for owner in self.blockers(next) {
                match owner {
                    Owner::Session(other) if other == id => return true,
                    Owner::Session(other) if !seen.contains(&other) => {
                        seen.push(other);
                        left.push(other);
                    }
                    _ => {}
                }
            }
        }
        false
    }

    /// The sessions that wait for one another in some circle.
    pub(crate) fn in_circles(&self) -> Vec<SessionId> {
        self.waiting.iter().copied().filter(|id| self.deadlock(*id)).collect()
    }
}
