//! One SQL statement: what it reads by its snapshot, and the rows that it locks and changes.
//!
//! Each row that is locked or changed is a point where other sessions may come between. Rows that
//! somebody has changed since the snapshot are treated as READ COMMITTED does (the condition is
//! checked again on the newest version), or refused as REPEATABLE READ does.

use super::{
    error::{Error, Result},
    row_lock::{Locked, RowLock},
    session::Session,
    state::{State, Wait},
    table::{End, Place, Row},
    transaction::{Level, Snapshot, Xid},
    view::View,
};

/// A statement of a session.
pub(crate) struct Statement {
    session: Session,
    snapshot: Snapshot,
}

/// Whether a row may be locked or changed now.
enum Look {
    Free,
    /// Somebody has it, to the end of this transaction. I may have a weaker lock of it.
    Busy {
        xid: Xid,
        is_locked_by_me: bool,
    },
    Updated(Place),
    Deleted,
    /// This very statement has changed it.
    Own,
}

/// What became of the wait for a row.
enum Got {
    /// The row at this place may be changed before anybody else runs.
    Row(Place),
    /// The newest version does not meet the condition.
    Other(Place),
    Nothing,
}

impl Statement {
    pub(super) fn new(session: Session, snapshot: Snapshot) -> Self {
        Self { session, snapshot }
    }

    /// Reads what the snapshot shows.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&View<'_>) -> T) -> T {
        let state = self.session.database().state();
        look(&View { state: &state, snapshot: &self.snapshot })
    }

    /// SELECT ... FOR UPDATE and the like, for one row that the snapshot shows. Returns the row as it
    /// is now, and its place; nothing if it is gone, or skipped, or meets the condition no more.
    pub(crate) async fn lock<R: Row>(
        &self,
        place: Place,
        mode: RowLock,
        locked: Locked,
        condition: impl Fn(&R) -> bool,
    ) -> Result<Option<(Place, R)>> {
        let got = self.acquire(place, mode, locked, &condition).await?;
        let (Got::Row(place) | Got::Other(place)) = got else { return Ok(None) };
        let state = &mut *self.session.database().state();
        let xid = self.current(state)?;
        let mut at = Some(place);
        while let Some(version) = at.and_then(|place| R::table_mut(&mut state.tables).at_mut(place)) {
            if !version.lockers.contains(&(xid, mode)) {
                version.lockers.push((xid, mode));
            }
            // A lock that goes with an update under way is needed on the version that it makes, too.
            at = version.end.and_then(|end| end.next);
        }
        let row = R::table(&state.tables).at(place).map(|version| version.row.clone());
        Ok(row.filter(|_| matches!(got, Got::Row(_))).map(|row| (place, row)))
    }

    /// UPDATE of one row that the snapshot shows at a place. `change` returns the new row, or nothing
    /// if the condition is not met; it is asked again if somebody else has changed the row.
    pub(crate) async fn update<R: Row>(
        &self,
        place: Place,
        mut change: impl FnMut(&R) -> Option<R>,
    ) -> Result<Option<R>> {
        let wanted = self.read(|view| view.at::<R>(place).and_then(&mut change));
        let Some(wanted) = wanted else { return Ok(None) };
        let keeps_keys = |old: &R, new: &R| old.key() == new.key() && old.second() == new.second();
        let mode = match self.read(|view| view.at::<R>(place).map(|old| keeps_keys(old, &wanted))) {
            Some(true) => RowLock::NoKeyUpdate,
            Some(false) | None => RowLock::Update,
        };
        let got = self.acquire::<R>(place, mode, Locked::Wait, &|_| true).await?;
        let Got::Row(place) = got else { return Ok(None) };
        let new = {
            let state = self.session.database().state();
            R::table(&state.tables).at(place).and_then(|version| change(&version.row))
        };
        if let Some(new) = &new {
            self.replace(place, new.clone(), mode)?;
        }
        Ok(new)
    }

    /// An UPDATE of the newest version of a row, whether the snapshot shows it or not. No function of
    /// ours does this: it stands for a guard that was removed.
    pub(crate) async fn update_newest<R: Row>(
        &self,
        place: Place,
        change: impl Fn(&R) -> R,
    ) -> Result<Option<R>> {
        let got = self.acquire::<R>(place, RowLock::NoKeyUpdate, Locked::Wait, &|_| true).await?;
        let Got::Row(place) = got else { return Ok(None) };
        let new = {
            let state = self.session.database().state();
            R::table(&state.tables).at(place).map(|version| change(&version.row))
        };
        if let Some(new) = &new {
            self.replace(place, new.clone(), RowLock::NoKeyUpdate)?;
        }
        Ok(new)
    }

    fn replace<R: Row>(&self, place: Place, new: R, lock: RowLock) -> Result<()> {
        let state = &mut *self.session.database().state();
        let xid = self.current(state)?;
        let oldest = state.oldest();
        let table = R::table_mut(&mut state.tables);
        let next = table.add(new, xid, self.snapshot.cid, &state.xids, oldest);
        let Some(old) = table.at_mut(place) else { return Ok(()) };
        old.end = Some(End { xid, cid: self.snapshot.cid, next: Some(next), lock });
        let lockers: Vec<_> =
            old.lockers.iter().copied().filter(|(by, _)| state.xids.is_running(*by)).collect();
        if let Some(version) = table.at_mut(next) {
            version.lockers = lockers;
        }
        Ok(())
    }

    /// DELETE of one row that the snapshot shows at a place.
    pub(crate) async fn delete<R: Row>(
        &self,
        place: Place,
        condition: impl Fn(&R) -> bool,
    ) -> Result<Option<R>> {
        if !self.read(|view| view.at::<R>(place).is_some_and(&condition)) {
            return Ok(None);
        }
        let got = self.acquire(place, RowLock::Update, Locked::Wait, &condition).await?;
        let Got::Row(place) = got else { return Ok(None) };
        let state = &mut *self.session.database().state();
        let xid = self.current(state)?;
        let Some(version) = R::table_mut(&mut state.tables).at_mut(place) else { return Ok(None) };
        version.end = Some(End { xid, cid: self.snapshot.cid, next: None, lock: RowLock::Update });
        Ok(Some(version.row.clone()))
    }

    /// INSERT. A key that is there is an error.
    pub(crate) async fn insert<R: Row>(&self, row: R) -> Result<()> {
        match self.find_conflict(&row).await? {
            Some(_) => Err(Error::Unique),
            None => self.add(row),
        }
    }

    /// INSERT ... ON CONFLICT DO NOTHING. Whether the row was inserted.
    pub(crate) async fn insert_or_ignore<R: Row>(&self, row: R) -> Result<bool> {
        let Some(place) = self.find_conflict(&row).await? else {
            self.add(row)?;
            return Ok(true);
        };
        self.check_seen::<R>(place)?;
        Ok(false)
    }

    /// INSERT ... ON CONFLICT DO UPDATE. Returns the row as it was changed or inserted.
    pub(crate) async fn upsert<R: Row>(&self, row: R, change: impl Fn(&R) -> R) -> Result<R> {
        loop {
            let Some(place) = self.find_conflict(&row).await? else {
                self.add(row.clone())?;
                return Ok(row);
            };
            let mode = RowLock::NoKeyUpdate;
            match self.acquire::<R>(place, mode, Locked::Wait, &|_| false).await? {
                Got::Row(place) => {
                    self.check_seen::<R>(place)?;
                    let new = {
                        let state = self.session.database().state();
                        R::table(&state.tables).at(place).map(|version| change(&version.row))
                    };
                    if let Some(new) = new {
                        self.replace(place, new.clone(), mode)?;
                        return Ok(new);
                    }
                }
                // Somebody has changed or deleted it meanwhile: look again.
                Got::Other(_) | Got::Nothing => {}
            }
        }
    }

    /// Above READ COMMITTED, a row that stops an insert must be in the snapshot.
    fn check_seen<R: Row>(&self, place: Place) -> Result<()> {
        if self.session.level() == Level::ReadCommitted {
            return Ok(());
        }
        let state = self.session.database().state();
        let version = R::table(&state.tables).at(place);
        let seen = version.is_none_or(|version| {
            state.xids.top(version.xmin) == self.snapshot.top
                || state.xids.committed(version.xmin).is_some_and(|csn| csn <= self.snapshot.csn)
        });
        if seen { Ok(()) } else { Err(Error::Serialization) }
    }

    fn add<R: Row>(&self, row: R) -> Result<()> {
        let state = &mut *self.session.database().state();
        let xid = self.current(state)?;
        let oldest = state.oldest();
        R::table_mut(&mut state.tables).add(row, xid, self.snapshot.cid, &state.xids, oldest);
        Ok(())
    }

    fn current(&self, state: &mut State) -> Result<Xid> {
        let transaction = state.session(self.session.id()).transaction.as_ref();
        transaction.map(super::transaction::Transaction::current).ok_or(Error::ConnectionLost)
    }

    /// Looks for a row with the same key, and waits for those who insert, change or delete one. None:
    /// the row may be inserted before anybody else runs.
    async fn find_conflict<R: Row>(&self, row: &R) -> Result<Option<Place>> {
        self.session.pass().await?;
        loop {
            let busy = {
                let state = self.session.database().state();
                let table = R::table(&state.tables);
                let second = row.second();
                let places = table.places(&row.key()).iter();
                let mut conflict = None;
                let mut busy = None;
                for place in places.chain(second.iter().flat_map(|key| table.second_places(key))) {
                    let Some(version) = table.at(*place) else { continue };
                    if state.xids.is_aborted(version.xmin) {
                        continue;
                    }
                    let own = |xid| state.xids.top(xid) == self.snapshot.top;
                    if state.xids.is_running(version.xmin) && !own(version.xmin) {
                        busy = Some(version.xmin);
                        break;
                    }
                    match version.end {
                        Some(end) if state.xids.is_aborted(end.xid) => conflict = Some(*place),
                        Some(end) if state.xids.is_running(end.xid) && !own(end.xid) => {
                            busy = Some(end.xid);
                            break;
                        }
                        Some(_) => {}
                        None => conflict = Some(*place),
                    }
                }
                match busy {
                    Some(xid) => xid,
                    None => return Ok(conflict),
                }
            };
            self.session.wait(Wait::Xid(busy)).await?;
        }
    }

    /// Gets a row for a lock, an update or a delete. Nobody else runs between the return and what the
    /// caller does with the row.
    async fn acquire<R: Row>(
        &self,
        place: Place,
        mode: RowLock,
        locked: Locked,
        condition: &dyn Fn(&R) -> bool,
    ) -> Result<Got> {
        self.session.pass().await?;
        let got = self.acquire_newest(place, mode, locked, condition).await;
        let mut state = self.session.database().state();
        if state.session(self.session.id()).turn.is_some() {
            state.leave_turn(self.session.id());
        }
        got
    }

    async fn acquire_newest<R: Row>(
        &self,
        first: Place,
        mode: RowLock,
        locked: Locked,
        condition: &dyn Fn(&R) -> bool,
    ) -> Result<Got> {
        let mut place = first;
        loop {
            let look = self.look::<R>(place, mode);
            let changed = matches!(look, Look::Updated(_) | Look::Deleted);
            if changed && self.session.level() != Level::ReadCommitted {
                return Err(Error::Serialization);
            }
            match look {
                Look::Free if place == first => return Ok(Got::Row(place)),
                Look::Free => {
                    let state = self.session.database().state();
                    let version = R::table(&state.tables).at(place);
                    let meets = version.is_some_and(|version| condition(&version.row));
                    return Ok(if meets { Got::Row(place) } else { Got::Other(place) });
                }
                Look::Own | Look::Deleted => return Ok(Got::Nothing),
                Look::Updated(next) => {
                    self.session.database().state().leave_turn(self.session.id());
                    place = next;
                }
                Look::Busy { xid, is_locked_by_me } => match locked {
                    Locked::Skip => return Ok(Got::Nothing),
                    Locked::Refuse => return Err(Error::LockNotAvailable),
                    Locked::Wait => {
                        let turn = self.session.database().state().session(self.session.id()).turn;
                        // Who holds a weaker lock of the row waits outside the queue, as in PostgreSQL:
                        // the first of the queue may wait for that lock's end.
                        if turn.is_none() && !is_locked_by_me {
                            self.session.database().state().take_turn(self.session.id(), R::TABLE, place);
                            self.session.wait(Wait::Turn(R::TABLE, place)).await?;
                        }
                        self.session.wait(Wait::Xid(xid)).await?;
                    }
                },
            }
        }
    }

    fn look<R: Row>(&self, place: Place, mode: RowLock) -> Look {
        let state = self.session.database().state();
        let Some(version) = R::table(&state.tables).at(place) else { return Look::Deleted };
        let xids = &state.xids;
        let own = |xid| xids.top(xid) == self.snapshot.top;
        let is_locked_by_me = version.lockers.iter().any(|(by, _)| xids.is_running(*by) && own(*by));
        if let Some(end) = version.end {
            if xids.committed(end.xid).is_some() || xids.is_running(end.xid) && own(end.xid) {
                return match end.next {
                    _ if own(end.xid) && end.cid >= self.snapshot.cid => Look::Own,
                    Some(next) => Look::Updated(next),
                    None => Look::Deleted,
                };
            }
            if xids.is_running(end.xid) && end.lock.conflicts(mode) {
                return Look::Busy { xid: end.xid, is_locked_by_me };
            }
        }
        let other = version
            .lockers
            .iter()
            .find(|(by, held)| xids.is_running(*by) && !own(*by) && held.conflicts(mode));
        other.map_or(Look::Free, |(by, _)| Look::Busy { xid: *by, is_locked_by_me })
    }
}
