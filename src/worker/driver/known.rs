//! Which versions of the webhooks were read. While a read of the webhooks is under way, the read
//! holds them. A webhook that is to be forgotten at that time is forgotten when the read has ended.

use crate::domain::known_targets::KnownTargets;

#[derive(Default)]
pub(super) struct Known {
    /// `None` while a read has it.
    targets: Option<KnownTargets>,
    /// What to forget when it is back.
    forgotten: Vec<i64>,
}

impl Known {
    /// A read begins: it takes along what is known.
    pub(super) fn lend(&mut self) -> KnownTargets {
        self.targets.take().unwrap_or_default()
    }

    /// The read has ended.
    pub(super) fn take_back(&mut self, mut targets: KnownTargets) {
        for webhook_id in self.forgotten.drain(..) {
            targets.forget(webhook_id);
        }
        self.targets = Some(targets);
    }

    /// Makes the next read that begins include this webhook, whatever its version.
    pub(super) fn forget(&mut self, webhook_id: i64) {
        match &mut self.targets {
            Some(targets) => targets.forget(webhook_id),
            None => self.forgotten.push(webhook_id),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::{
        known_targets::TargetVersion,
        target::{TargetRow, UnreadableTarget},
    };

    fn read() -> KnownTargets {
        let target = Err(UnreadableTarget::Headers);
        let row = TargetRow { webhook_id: 1, deliverable: true, version: "a".to_owned(), target };
        let mut targets = KnownTargets::default();
        targets.take_in(Timestamp::UNIX_EPOCH, &[row], &[]);
        targets
    }

    fn differing(known: &mut Known) -> Vec<i64> {
        let listed = [TargetVersion { webhook_id: 1, version: "a".to_owned(), deliverable: true }];
        known.lend().differing(&listed)
    }

    #[test]
    fn a_webhook_that_is_forgotten_is_read_next_time_also_if_a_read_was_under_way() {
        let mut known = Known::default();
        known.take_back(read());
        assert_eq!(differing(&mut known), [0i64; 0], "it was read");
        known.forget(1);
        known.take_back(read());
        assert_eq!(differing(&mut known), [1], "forgotten while the read was under way");
        known.take_back(read());
        known.forget(1);
        assert_eq!(differing(&mut known), [1], "forgotten between two reads");
    }
}
