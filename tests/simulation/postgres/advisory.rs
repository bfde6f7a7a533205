//! Advisory locks, of sessions and of transactions. Those who wait get a lock in the order in which
//! they came.

use std::collections::{HashMap, VecDeque};

use super::{
    state::{Owner, SessionId},
    transaction::Xid,
};

/// The key of a lock in the schema's class: a stripe from 0 up, a worker below 0.
pub(crate) type LockKey = i32;

/// How long a lock is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scope {
    /// To the end of the transaction or subtransaction that took it.
    Transaction(Xid),
    Session,
}

#[derive(Clone, Copy)]
struct Holding {
    owner: Owner,
    scope: Scope,
    shared: bool,
}

#[derive(Clone, Copy)]
struct Waiter {
    session: SessionId,
    scope: Scope,
    shared: bool,
}

#[derive(Default)]
struct Lock {
    holdings: Vec<Holding>,
    waiters: VecDeque<Waiter>,
}

impl Lock {
    fn holds(&self, session: SessionId) -> bool {
        self.holdings.iter().any(|holding| holding.owner == Owner::Session(session))
    }

    /// Whether nobody else holds the lock in a mode that conflicts.
    fn is_free(&self, session: SessionId, shared: bool) -> bool {
        self.holdings
            .iter()
            .all(|holding| holding.owner == Owner::Session(session) || shared && holding.shared)
    }

    /// Whether somebody waits for a mode that conflicts.
    fn is_wanted(&self, shared: bool) -> bool {
        self.waiters.iter().any(|waiter| !(shared && waiter.shared))
    }

    fn grant(&mut self) {
        while let Some(first) = self.waiters.front().copied() {
            if !self.is_free(first.session, first.shared) {
                return;
            }
            self.waiters.pop_front();
            let owner = Owner::Session(first.session);
            self.holdings.push(Holding { owner, scope: first.scope, shared: first.shared });
        }
    }
}

/// All advisory locks.
#[derive(Default)]
pub(crate) struct Advisory {
    locks: HashMap<LockKey, Lock>,
    /// Locks that an owner may hold, so that not all of them are looked at. May name too many.
    held: HashMap<Owner, Vec<LockKey>>,
}

impl Advisory {
    /// Takes the lock if it is free. A lock that conflicting others wait for is not free, except
    /// for those who hold it already.
    pub(crate) fn try_take(&mut self, session: SessionId, key: LockKey, scope: Scope, shared: bool) -> bool {
        let lock = self.locks.entry(key).or_default();
        if !lock.is_free(session, shared) || lock.is_wanted(shared) && !lock.holds(session) {
            return false;
        }
        lock.holdings.push(Holding { owner: Owner::Session(session), scope, shared });
        self.held.entry(Owner::Session(session)).or_default().push(key);
        true
    }

    /// Stands in the queue.
    pub(crate) fn queue(&mut self, session: SessionId, key: LockKey, scope: Scope, shared: bool) {
        self.locks.entry(key).or_default().waiters.push_back(Waiter { session, scope, shared });
        self.held.entry(Owner::Session(session)).or_default().push(key);
    }

    /// Whether the session stands in the queue.
    pub(crate) fn is_queued(&self, session: SessionId, key: LockKey) -> bool {
        self.locks.get(&key).is_some_and(|lock| lock.waiters.iter().any(|waiter| waiter.session == session))
    }

    /// Leaves the queue.
    pub(crate) fn leave(&mut self, session: SessionId, key: LockKey) {
        if let Some(lock) = self.locks.get_mut(&key) {
            lock.waiters.retain(|waiter| waiter.session != session);
            lock.grant();
        }
    }

    /// Those whom a waiting session waits for: holders, and earlier waiters.
    pub(crate) fn blockers(&self, session: SessionId, key: LockKey) -> Vec<Owner> {
        let Some(lock) = self.locks.get(&key) else { return Vec::new() };
        let Some(at) = lock.waiters.iter().position(|waiter| waiter.session == session) else {
            return Vec::new();
        };
        let shared = lock.waiters[at].shared;
        let holders = lock.holdings.iter().filter(|holding| !(shared && holding.shared));
        let earlier = lock.waiters.iter().take(at).filter(|waiter| !(shared && waiter.shared));
        holders
            .map(|holding| holding.owner)
            .chain(earlier.map(|waiter| Owner::Session(waiter.session)))
            .filter(|owner| *owner != Owner::Session(session))
            .collect()
    }

    /// Releases what transactions or subtransactions of an owner hold.
    pub(crate) fn release(&mut self, owner: Owner, xids: &[Xid]) {
        self.release_if(owner, |scope| matches!(scope, Scope::Transaction(xid) if xids.contains(&xid)));
    }

    /// Releases all that an owner holds.
    pub(crate) fn release_all(&mut self, owner: Owner) {
        self.release_if(owner, |_| true);
    }

    /// Releases one lock of a session. False: it does not hold it.
    pub(crate) fn unlock(&mut self, session: SessionId, key: LockKey) -> bool {
        let Some(lock) = self.locks.get_mut(&key) else { return false };
        let owner = Owner::Session(session);
        let at = lock
            .holdings
            .iter()
            .position(|holding| holding.owner == owner && holding.scope == Scope::Session);
        if let Some(at) = at {
            lock.holdings.remove(at);
            lock.grant();
        }
        at.is_some()
    }

    fn release_if(&mut self, owner: Owner, released: impl Fn(Scope) -> bool) {
        let Some(mut keys) = self.held.remove(&owner) else { return };
        keys.sort_unstable();
        keys.dedup();
        keys.retain(|key| {
            let Some(lock) = self.locks.get_mut(key) else { return false };
            lock.holdings.retain(|holding| holding.owner != owner || !released(holding.scope));
            lock.grant();
            let keeps = lock.holdings.iter().any(|holding| holding.owner == owner);
            if lock.holdings.is_empty() && lock.waiters.is_empty() {
                self.locks.remove(key);
            }
            keeps
        });
        if !keys.is_empty() {
            self.held.insert(owner, keys);
        }
    }

    /// The locks of a transaction belong to a prepared one from now on.
    pub(crate) fn hand_over(&mut self, from: Owner, to: Owner, xids: &[Xid]) {
        let Some(keys) = self.held.get(&from).cloned() else { return };
        for key in &keys {
            for holding in self.locks.get_mut(key).into_iter().flat_map(|lock| &mut lock.holdings) {
                if holding.owner == from
                    && matches!(holding.scope, Scope::Transaction(xid) if xids.contains(&xid))
                {
                    holding.owner = to;
                }
            }
        }
        self.held.entry(to).or_default().extend(keys);
    }
}
