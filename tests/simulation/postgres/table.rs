//! A table: row versions, and the entries of its unique indexes.
//!
//! A version stands at a place (`ctid`). Places of versions that nobody can see are used again, as
//! PostgreSQL does when it prunes a page.

use std::{collections::BTreeMap, fmt::Debug, ops::RangeBounds};

use super::{
    row_lock::RowLock,
    tables::{TableName, Tables},
    transaction::{Cid, Csn, Snapshot, Xid, Xids},
};

/// Where a row version stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct Place(u32);

/// A row of one of the tables.
pub(crate) trait Row: Clone + PartialEq + Debug + 'static {
    const TABLE: TableName;
    /// Of the primary key.
    type Key: Ord + Clone + Debug;
    /// Of the second unique index, if there is one.
    type Second: Ord + Clone + Debug;

    fn key(&self) -> Self::Key;
    fn second(&self) -> Option<Self::Second>;
    fn table(tables: &Tables) -> &Table<Self>;
    fn table_mut(tables: &mut Tables) -> &mut Table<Self>;
}

/// How a version ended: by an update or a delete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) xid: Xid,
    pub(crate) cid: Cid,
    /// The version that an update made.
    pub(crate) next: Option<Place>,
    /// The row lock that this needed.
    pub(crate) lock: RowLock,
}

/// A row version.
#[derive(Clone, Debug)]
pub(crate) struct Version<R> {
    pub(crate) row: R,
    pub(crate) xmin: Xid,
    pub(crate) cmin: Cid,
    pub(crate) end: Option<End>,
    pub(crate) lockers: Vec<(Xid, RowLock)>,
}

/// A table.
pub(crate) struct Table<R: Row> {
    versions: Vec<Option<Version<R>>>,
    free: Vec<Place>,
    keys: BTreeMap<R::Key, Vec<Place>>,
    second: BTreeMap<R::Second, Vec<Place>>,
}

impl<R: Row> Default for Table<R> {
    fn default() -> Self {
        Self { versions: Vec::new(), free: Vec::new(), keys: BTreeMap::new(), second: BTreeMap::new() }
    }
}

/// How many versions of a key are kept before dead ones are removed.
const KEPT: usize = 4;

impl<R: Row> Table<R> {
    pub(crate) fn at(&self, place: Place) -> Option<&Version<R>> {
        self.versions[place.0 as usize].as_ref()
    }

    pub(crate) fn at_mut(&mut self, place: Place) -> Option<&mut Version<R>> {
        self.versions[place.0 as usize].as_mut()
    }

    /// All versions of a key.
    pub(crate) fn places(&self, key: &R::Key) -> &[Place] {
        self.keys.get(key).map_or(&[], Vec::as_slice)
    }

    /// All versions of a key of the second unique index.
    pub(crate) fn second_places(&self, key: &R::Second) -> &[Place] {
        self.second.get(key).map_or(&[], Vec::as_slice)
    }

    /// All versions whose key is in a range, by key.
    pub(crate) fn range(&self, keys: impl RangeBounds<R::Key>) -> impl DoubleEndedIterator<Item = Place> {
        self.keys.range(keys).flat_map(|(_, places)| places.iter().copied())
    }

    /// The version of a key that a snapshot shows.
    pub(crate) fn visible(&self, key: &R::Key, snapshot: &Snapshot, xids: &Xids) -> Option<Place> {
        self.find_visible(self.places(key), snapshot, xids)
    }

    /// The same, by the second unique index.
    pub(crate) fn second_visible(&self, key: &R::Second, snapshot: &Snapshot, xids: &Xids) -> Option<Place> {
        self.find_visible(self.second_places(key), snapshot, xids)
    }

    fn find_visible(&self, places: &[Place], snapshot: &Snapshot, xids: &Xids) -> Option<Place> {
        places.iter().copied().rev().find(|place| self.is_visible(*place, snapshot, xids))
    }

    /// Whether a snapshot shows the version at a place.
    pub(crate) fn is_visible(&self, place: Place, snapshot: &Snapshot, xids: &Xids) -> bool {
        self.at(place).is_some_and(|version| {
            snapshot.sees(version.xmin, version.cmin, xids)
                && !version.end.is_some_and(|end| snapshot.sees(end.xid, end.cid, xids))
        })
    }

    /// Adds a version. Versions of its key that nobody can see any more are removed.
    pub(crate) fn add(&mut self, row: R, xmin: Xid, cmin: Cid, xids: &Xids, oldest: Csn) -> Place {
        if self.places(&row.key()).len() >= KEPT {
            self.prune(&row.key(), xids, oldest);
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.versions.push(None);
            Place(u32::try_from(self.versions.len() - 1).unwrap_or(u32::MAX))
        });
        self.keys.entry(row.key()).or_default().push(place);
        if let Some(second) = row.second() {
            self.second.entry(second).or_default().push(place);
        }
        self.versions[place.0 as usize] = Some(Version { row, xmin, cmin, end: None, lockers: Vec::new() });
        place
    }

    /// Removes the versions of all keys that nobody can see any more.
    pub(crate) fn vacuum(&mut self, xids: &Xids, oldest: Csn) {
        let keys: Vec<R::Key> = self.keys.keys().cloned().collect();
        for key in &keys {
            self.prune(key, xids, oldest);
        }
    }

    fn prune(&mut self, key: &R::Key, xids: &Xids, oldest: Csn) {
        let dead: Vec<Place> = self
            .places(key)
            .iter()
            .copied()
            .filter(|place| self.at(*place).is_some_and(|version| version.is_dead(xids, oldest)))
            .collect();
        for place in dead {
            let Some(version) = self.versions[place.0 as usize].take() else { continue };
            remove(&mut self.keys, key, place);
            if let Some(second) = version.row.second() {
                remove(&mut self.second, &second, place);
            }
            self.free.push(place);
        }
    }

    /// Removes all rows, as a crash does with an unlogged table.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

fn remove<K: Ord>(index: &mut BTreeMap<K, Vec<Place>>, key: &K, place: Place) {
    if let Some(places) = index.get_mut(key) {
        places.retain(|other| *other != place);
        if places.is_empty() {
            index.remove(key);
        }
    }
}

impl<R> Version<R> {
    fn is_dead(&self, xids: &Xids, oldest: Csn) -> bool {
        xids.is_aborted(self.xmin)
            || self.end.is_some_and(|end| xids.committed(end.xid).is_some_and(|csn| csn <= oldest))
    }
}
