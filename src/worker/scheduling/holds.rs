//! Webhooks whose receivers have asked for nothing to be sent for a while, and until when.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

/// How much longer a hold must be than the one that is known. Many requests may be in flight when a
/// receiver begins to ask for a pause. Each of them is answered a little later than the one before.
const LONGER: Duration = Duration::from_secs(1);

/// The holds that one worker knows of.
#[derive(Default)]
pub(in super::super) struct Holds {
    until: HashMap<i64, Instant>,
    ends: BTreeSet<(Instant, i64)>,
}

impl Holds {
    /// Holds a webhook until this instant. Does nothing, and says so, if it is held about as long
    /// already.
    pub(in super::super) fn hold(&mut self, webhook_id: i64, until: Instant) -> bool {
        if self.until.get(&webhook_id).is_some_and(|known| until < *known + LONGER) {
            return false;
        }
        self.forget(webhook_id);
        self.until.insert(webhook_id, until);
        self.ends.insert((until, webhook_id));
        true
    }

    /// Whether nothing may be sent to a webhook.
    pub(in super::super) fn is_held(&self, webhook_id: i64) -> bool {
        self.until.contains_key(&webhook_id)
    }

    /// When the next hold ends.
    pub(in super::super) fn next_end(&self) -> Option<Instant> {
        self.ends.first().map(|(until, _)| *until)
    }

    /// Ends the holds that are over. Says whether there were any.
    pub(in super::super) fn end(&mut self, now: Instant) -> bool {
        let before = self.ends.len();
        while let Some((_, webhook_id)) = self.ends.first().filter(|(until, _)| *until <= now).copied() {
            self.forget(webhook_id);
        }
        self.ends.len() < before
    }

    /// Forgets a webhook.
    pub(in super::super) fn forget(&mut self, webhook_id: i64) {
        if let Some(until) = self.until.remove(&webhook_id) {
            self.ends.remove(&(until, webhook_id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_ends_at_its_instant_and_is_only_made_longer() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut holds = Holds::default();
        assert!(holds.hold(1, start + 5 * second) && holds.hold(2, start + 3 * second));
        assert!(!holds.hold(1, start + 2 * second), "shorter");
        assert!(!holds.hold(1, start + 5 * second + second / 2), "about the same");
        assert!(holds.hold(1, start + 6 * second));
        assert!(holds.is_held(1) && holds.is_held(2) && !holds.is_held(3));
        assert_eq!(holds.next_end(), Some(start + 3 * second));
        assert!(!holds.end(start + 2 * second));
        assert!(holds.end(start + 3 * second));
        assert!(holds.is_held(1) && !holds.is_held(2));
        assert!(!holds.end(start + 5 * second), "its first end does not count any more");
        holds.forget(1);
        assert_eq!((holds.is_held(1), holds.next_end()), (false, None));
    }
}
