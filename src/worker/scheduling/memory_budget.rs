//! How many bytes of payload and headers each webhook may hold in this worker.
//!
//! Promises:
//! - All webhooks together hold no more than [`BYTES_MAX`], and one message more.
//! - A webhook that is slow cannot take the bytes that others need: it may hold at most
//!   [`BYTES_SHARE`] times as many as are free (Choudhury and Hahne, "Dynamic queue length
//!   thresholds", 1998).

use std::collections::HashMap;

use super::super::tuning::{BYTES_MAX, BYTES_SHARE, READ_BYTES};

/// The bytes that are held, by webhook.
#[derive(Debug, Default)]
pub(crate) struct MemoryBudget {
    held: HashMap<i64, usize>,
    total: usize,
}

impl MemoryBudget {
    /// What these lanes hold: each one's webhook, and its bytes.
    pub(crate) fn of(lanes: impl Iterator<Item = (i64, usize)>) -> Self {
        let mut budget = Self::default();
        lanes.for_each(|(webhook_id, bytes)| budget.add(webhook_id, bytes));
        budget
    }

    fn add(&mut self, webhook_id: i64, bytes: usize) {
        *self.held.entry(webhook_id).or_default() += bytes;
        self.total += bytes;
    }

    fn free(&self) -> usize {
        BYTES_MAX.saturating_sub(self.total)
    }

    /// Whether something more may be read for this webhook.
    pub(crate) fn allows(&self, webhook_id: i64) -> bool {
        let held = self.held.get(&webhook_id).copied().unwrap_or_default();
        self.free() > 0 && held <= self.free().saturating_mul(BYTES_SHARE)
    }

    /// How many bytes the next answer may hold.
    pub(crate) fn answer(&self) -> usize {
        self.free().min(READ_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_webhook_leaves_bytes_to_others() {
        let mut budget = MemoryBudget::default();
        while budget.allows(1) {
            budget.add(1, 1 << 20);
        }
        let share = BYTES_MAX * BYTES_SHARE / (BYTES_SHARE + 1);
        assert!(budget.total >= share && budget.total <= share + (2 << 20), "{}", budget.total);
        assert!(budget.allows(2) && budget.answer() == READ_BYTES);
        while budget.allows(2) {
            budget.add(2, 1 << 20);
        }
        assert!(budget.held[&2] >= 8 << 20);
        assert!(budget.total <= BYTES_MAX);
        for id in 3..1000 {
            if budget.allows(id) {
                budget.add(id, 1 << 20);
            }
        }
        assert!(budget.total <= BYTES_MAX + (2 << 20), "one message more");
    }
}
