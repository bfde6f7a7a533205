//! What a snapshot shows.

use std::ops::RangeBounds;

use super::{
    Database,
    state::State,
    table::{Place, Row},
    transaction::{Snapshot, Xid},
};

impl Database {
    /// Looks at what is committed.
    pub(crate) fn peek<T>(&self, look: impl FnOnce(&View<'_>) -> T) -> T {
        let state = self.state();
        let snapshot = Snapshot { csn: state.xids.newest(), cid: 0, top: Xid::MAX };
        look(&View { state: &state, snapshot: &snapshot })
    }
}

/// What a snapshot shows.
pub(crate) struct View<'a> {
    pub(super) state: &'a State,
    pub(super) snapshot: &'a Snapshot,
}

impl View<'_> {
    /// The row with a key.
    pub(crate) fn get<R: Row>(&self, key: &R::Key) -> Option<&R> {
        self.find(key).map(|(_, row)| row)
    }

    /// The row with a key, and its place.
    pub(crate) fn find<R: Row>(&self, key: &R::Key) -> Option<(Place, &R)> {
        let table = R::table(&self.state.tables);
        let place = table.visible(key, self.snapshot, &self.state.xids)?;
        table.at(place).map(|version| (place, &version.row))
    }

    /// The row with a key of the second unique index.
    pub(crate) fn find_second<R: Row>(&self, key: &R::Second) -> Option<(Place, &R)> {
        let table = R::table(&self.state.tables);
        let place = table.second_visible(key, self.snapshot, &self.state.xids)?;
        table.at(place).map(|version| (place, &version.row))
    }

    /// The row at a place, if the snapshot shows that version.
    pub(crate) fn at<R: Row>(&self, place: Place) -> Option<&R> {
        let table = R::table(&self.state.tables);
        table
            .is_visible(place, self.snapshot, &self.state.xids)
            .then(|| table.at(place))?
            .map(|version| &version.row)
    }

    /// The rows whose keys are in a range, by key.
    pub(crate) fn range<R: Row>(
        &self,
        keys: impl RangeBounds<R::Key>,
    ) -> impl DoubleEndedIterator<Item = (Place, &R)> {
        let table = R::table(&self.state.tables);
        table.range(keys).filter_map(move |place| {
            table
                .is_visible(place, self.snapshot, &self.state.xids)
                .then(|| table.at(place))?
                .map(|version| (place, &version.row))
        })
    }
}
