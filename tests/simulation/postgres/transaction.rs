//! Transactions: ids, their fates, snapshots, savepoints.

use super::{
    error::Error,
    notify::Notification,
    state::{Owner, SessionId},
};
use crate::schedule::Micros;

/// Names a transaction or a subtransaction.
pub(crate) type Xid = u32;
/// Numbers the statements of a transaction.
pub(crate) type Cid = u32;
/// Numbers commits in their order.
pub(crate) type Csn = u64;

/// An isolation level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Level {
    ReadCommitted,
    RepeatableRead,
    /// As `RepeatableRead`: what SERIALIZABLE refuses beyond that is not modelled.
    Serializable,
}

impl Level {
    pub(crate) fn as_sql(self) -> &'static str {
        match self {
            Self::ReadCommitted => "READ COMMITTED",
            Self::RepeatableRead => "REPEATABLE READ",
            Self::Serializable => "SERIALIZABLE",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Running,
    Committed(Csn),
    Aborted,
}

#[derive(Clone, Copy)]
struct Entry {
    top: Xid,
    fate: Fate,
    /// Of a top-level transaction.
    owner: Owner,
    /// Where its commit is in the log.
    lsn: u64,
    /// A subtransaction that has become part of its parent.
    merged: bool,
}

/// The fates of all transactions.
#[derive(Default)]
pub(crate) struct Xids {
    entries: Vec<Entry>,
    newest: Csn,
}

impl Xids {
    /// A new top-level transaction.
    pub(crate) fn begin(&mut self, session: SessionId) -> Xid {
        let xid = self.next();
        let owner = Owner::Session(session);
        self.entries.push(Entry { top: xid, fate: Fate::Running, owner, lsn: 0, merged: false });
        xid
    }

    /// A new subtransaction.
    pub(crate) fn begin_sub(&mut self, top: Xid) -> Xid {
        let xid = self.next();
        let owner = self.entries[top as usize].owner;
        self.entries.push(Entry { top, fate: Fate::Running, owner, lsn: 0, merged: false });
        xid
    }

    fn next(&self) -> Xid {
        Xid::try_from(self.entries.len()).unwrap_or(Xid::MAX)
    }

    /// A commit of a transaction and its subtransactions becomes visible.
    pub(crate) fn commit(&mut self, xids: &[Xid], lsn: u64) {
        self.newest += 1;
        for xid in xids {
            let entry = &mut self.entries[*xid as usize];
            if entry.fate == Fate::Running {
                entry.fate = Fate::Committed(self.newest);
                entry.lsn = lsn;
            }
        }
    }

    /// Subtransactions become part of their parents.
    pub(crate) fn merge(&mut self, xids: &[Xid]) {
        for xid in xids {
            self.entries[*xid as usize].merged = true;
        }
    }

    /// Whose end those who wait for a transaction wait for: once a subtransaction has become part of
    /// its parent, that is the end of the whole transaction, whatever is rolled back before.
    pub(crate) fn awaited(&self, xid: Xid) -> Xid {
        let entry = &self.entries[xid as usize];
        if entry.merged && entry.fate == Fate::Running { entry.top } else { xid }
    }

    pub(crate) fn abort(&mut self, xids: &[Xid]) {
        for xid in xids {
            self.entries[*xid as usize].fate = Fate::Aborted;
        }
    }

    /// The commits after a place in the log are lost.
    pub(crate) fn lose_after(&mut self, lsn: u64) {
        for entry in &mut self.entries {
            if matches!(entry.fate, Fate::Committed(_)) && entry.lsn > lsn {
                entry.fate = Fate::Aborted;
            }
        }
    }

    pub(crate) fn set_owner(&mut self, xid: Xid, owner: Owner) {
        self.entries[xid as usize].owner = owner;
    }

    /// Whose transaction it is.
    pub(crate) fn owner(&self, xid: Xid) -> Owner {
        self.entries[self.top(xid) as usize].owner
    }

    pub(crate) fn top(&self, xid: Xid) -> Xid {
        self.entries[xid as usize].top
    }

    pub(crate) fn is_running(&self, xid: Xid) -> bool {
        self.entries[xid as usize].fate == Fate::Running
    }

    pub(crate) fn is_aborted(&self, xid: Xid) -> bool {
        self.entries[xid as usize].fate == Fate::Aborted
    }

    pub(crate) fn committed(&self, xid: Xid) -> Option<Csn> {
        match self.entries[xid as usize].fate {
            Fate::Committed(csn) => Some(csn),
            Fate::Running | Fate::Aborted => None,
        }
    }

    /// The newest commit.
    pub(crate) fn newest(&self) -> Csn {
        self.newest
    }
}

/// What a statement sees: commits up to one of them, and earlier statements of its transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Snapshot {
    pub(crate) csn: Csn,
    pub(crate) cid: Cid,
    pub(crate) top: Xid,
}

impl Snapshot {
    pub(super) fn sees(&self, xid: Xid, cid: Cid, xids: &Xids) -> bool {
        if xids.is_running(xid) {
            xids.top(xid) == self.top && cid < self.cid
        } else {
            xids.committed(xid).is_some_and(|csn| csn <= self.csn)
        }
    }
}

/// A subtransaction: a savepoint, or a block with EXCEPTION.
pub(crate) struct Savepoint {
    /// Absent: a block.
    pub(crate) name: Option<u8>,
    pub(crate) xid: Xid,
    /// How many notifications there were.
    pub(crate) notifications: usize,
    pub(crate) marks: usize,
}

/// A transaction that is open or prepared.
pub(crate) struct Transaction {
    pub(crate) level: Level,
    /// All ids that it has used, the top one first.
    pub(crate) xids: Vec<Xid>,
    pub(crate) savepoints: Vec<Savepoint>,
    /// Of the whole transaction, above READ COMMITTED.
    pub(crate) csn: Option<Csn>,
    pub(crate) next_cid: Cid,
    /// Only a rollback is possible.
    pub(crate) failed: bool,
    /// `now()`.
    pub(crate) began_at: Micros,
    pub(crate) notifications: Vec<Notification>,
    /// How many notifications `notify_workers` has counted.
    pub(crate) marks: usize,
    /// Whether the commit waits until it is on disk.
    pub(crate) flush: bool,
}

impl Transaction {
    pub(crate) fn new(level: Level, xid: Xid, now: Micros) -> Self {
        Self {
            level,
            xids: vec![xid],
            savepoints: Vec::new(),
            csn: None,
            next_cid: 1,
            failed: false,
            began_at: now,
            notifications: Vec::new(),
            marks: 0,
            flush: true,
        }
    }

    pub(crate) fn top(&self) -> Xid {
        self.xids[0]
    }

    /// The id that writes.
    pub(crate) fn current(&self) -> Xid {
        self.savepoints.last().map_or(self.top(), |savepoint| savepoint.xid)
    }

    /// Fails unless statements are possible.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.failed { Err(Error::Failed) } else { Ok(()) }
    }
}
