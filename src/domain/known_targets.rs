//! Which version of each webhook a process knows, so that it reads only what has changed.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use jiff::Timestamp;

use super::target::TargetRow;

/// How far a look at what changed reaches back before the last one. A transaction may commit so
/// long after it has written a row. What commits later is found by a look at all webhooks.
pub const OVERLAP: Duration = Duration::from_mins(1);

/// A webhook that the database has, and which version of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetVersion {
    /// The webhook.
    pub webhook_id: i64,
    /// As in [`TargetRow`].
    pub version: String,
    /// As in [`TargetRow`]. A topic that is put on hold changes only this.
    pub deliverable: bool,
}

/// What a look has found.
#[derive(Debug, Clone)]
pub struct TargetVersions {
    /// When it looked, by the clock of the database.
    pub looked_at: Timestamp,
    /// How many webhooks there are in all.
    pub count: usize,
    /// All webhooks, or those that may have changed.
    pub listed: Vec<TargetVersion>,
}

/// The versions that a process knows.
#[derive(Debug, Clone, Default)]
pub struct KnownTargets {
    versions: HashMap<i64, (String, bool)>,
    /// When it looked last, by the clock of the database.
    looked_at: Option<Timestamp>,
}

impl KnownTargets {
    /// From when on a change may be unknown; `None` if nothing is known yet.
    pub fn unknown_since(&self) -> Option<Timestamp> {
        self.looked_at?.checked_sub(OVERLAP).ok()
    }

    /// Which of the listed webhooks are unknown, or known in another version.
    pub fn differing(&self, listed: &[TargetVersion]) -> Vec<i64> {
        let known = |found: &&TargetVersion| {
            let known = self.versions.get(&found.webhook_id);
            known.is_some_and(|(version, deliverable)| {
                *version == found.version && *deliverable == found.deliverable
            })
        };
        listed.iter().filter(|found| !known(found)).map(|found| found.webhook_id).collect()
    }

    /// Whether a look at what changed has seen everything: then as many webhooks are known as there
    /// are. Otherwise one was deleted, or one came with a transaction that was open for longer than
    /// [`OVERLAP`].
    pub fn would_be_complete(&self, seen: &TargetVersions) -> bool {
        let new = seen.listed.iter().filter(|found| !self.versions.contains_key(&found.webhook_id));
        self.versions.len() + new.count() == seen.count
    }

    /// Which known webhooks a list of all of them does not name.
    pub fn gone(&self, all: &[TargetVersion]) -> Vec<i64> {
        let listed: HashSet<i64> = all.iter().map(|found| found.webhook_id).collect();
        self.versions.keys().filter(|id| !listed.contains(id)).copied().collect()
    }

    /// Makes the next look read a webhook again, whatever its version.
    pub fn forget(&mut self, webhook_id: i64) {
        if let Some((version, _)) = self.versions.get_mut(&webhook_id) {
            version.clear();
        }
        // The row may not have changed for long.
        self.looked_at = None;
    }

    /// Takes in what was read after a look at `looked_at`.
    pub fn take_in(&mut self, looked_at: Timestamp, read: &[TargetRow], gone: &[i64]) {
        for id in gone {
            self.versions.remove(id);
        }
        let version = |row: &TargetRow| (row.webhook_id, (row.version.clone(), row.deliverable));
        self.versions.extend(read.iter().map(version));
        self.looked_at = Some(looked_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::target::UnreadableTarget;

    fn row(webhook_id: i64, version: &str) -> TargetRow {
        let target = Err(UnreadableTarget::Headers);
        TargetRow { webhook_id, deliverable: true, version: version.to_owned(), target }
    }

    fn found(webhook_id: i64, version: &str, deliverable: bool) -> TargetVersion {
        TargetVersion { webhook_id, version: version.to_owned(), deliverable }
    }

    fn known() -> KnownTargets {
        let mut known = KnownTargets::default();
        known.take_in(Timestamp::UNIX_EPOCH, &[row(1, "a"), row(2, "b")], &[]);
        known
    }

    #[test]
    fn what_is_new_or_another_version_is_read() {
        let listed = [found(1, "a", true), found(2, "c", true), found(3, "d", true)];
        assert_eq!(known().differing(&listed), [2, 3]);
        assert_eq!(known().differing(&[found(1, "a", false)]), [1], "its topic is on hold");
        assert_eq!(KnownTargets::default().differing(&listed), [1, 2, 3]);
    }

    #[test]
    fn a_count_that_does_not_fit_tells_of_a_webhook_that_is_gone_or_was_not_listed() {
        let seen = |count, listed: &[_]| TargetVersions {
            looked_at: Timestamp::now(),
            count,
            listed: listed.into(),
        };
        let new = [found(1, "z", true), found(3, "d", true)];
        assert!(known().would_be_complete(&seen(2, &[])));
        assert!(known().would_be_complete(&seen(3, &new)));
        assert!(!known().would_be_complete(&seen(1, &[])));
        assert!(!known().would_be_complete(&seen(2, &new)), "one came and one went");
    }

    #[test]
    fn what_a_whole_list_leaves_out_is_gone() {
        let mut known = known();
        assert_eq!(known.gone(&[found(2, "b", true), found(3, "c", true)]), [1]);
        known.take_in(Timestamp::UNIX_EPOCH, &[row(3, "c")], &[1]);
        assert_eq!(known.gone(&[]).len(), 2);
    }

    #[test]
    fn looks_at_changes_overlap() {
        assert_eq!(KnownTargets::default().unknown_since(), None);
        assert_eq!(known().unknown_since(), Some(Timestamp::UNIX_EPOCH - OVERLAP));
    }
}
