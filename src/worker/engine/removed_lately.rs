//! Lanes that were removed lately. If such a lane is claimed again, messages keep arriving for it.

use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

use super::super::tuning::{REMEMBER_REMOVED, REMEMBER_REMOVED_MAX};
use crate::domain::lane::LaneKey;

/// Lanes that were removed lately.
#[derive(Default)]
pub(super) struct RemovedLately {
    at: HashMap<LaneKey, Instant>,
    /// In the order of removal. A lane that was removed twice stands here twice.
    order: VecDeque<(LaneKey, Instant)>,
}

impl RemovedLately {
    pub(super) fn contains(&self, key: LaneKey, now: Instant) -> bool {
        self.at.get(&key).is_some_and(|at| now.duration_since(*at) < REMEMBER_REMOVED)
    }

    pub(super) fn add(&mut self, key: LaneKey, now: Instant) {
        self.at.insert(key, now);
        self.order.push_back((key, now));
        while let Some((key, at)) = self.order.front().copied()
            && (self.order.len() > REMEMBER_REMOVED_MAX || now.duration_since(at) >= REMEMBER_REMOVED)
        {
            self.order.pop_front();
            if self.at.get(&key) == Some(&at) {
                self.at.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_latest_removals_are_remembered_for_a_while() {
        let key = |lane| LaneKey { webhook_id: 1, lane };
        let start = Instant::now();
        let mut removed = RemovedLately::default();
        for lane in 0..10_000 {
            removed.add(key(lane), start);
        }
        assert!(!removed.contains(key(10_000 - 4097), start));
        assert!(removed.contains(key(10_000 - 4096), start));
        assert_eq!((removed.at.len(), removed.order.len()), (REMEMBER_REMOVED_MAX, REMEMBER_REMOVED_MAX));

        // Removed again: only the first time is forgotten.
        let later = start + Duration::from_millis(2_999);
        removed.add(key(9_999), later);
        let end = start + REMEMBER_REMOVED;
        assert!(!removed.contains(key(9_998), end));
        removed.add(key(1), end);
        assert!(removed.contains(key(9_999), end));
        assert_eq!((removed.at.len(), removed.order.len()), (2, 2));
    }
}
