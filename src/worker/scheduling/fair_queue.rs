//! The lanes that wait for a slot, webhook by webhook (round robin).
//!
//! Webhooks wait in three lines: those that answer, those that were never tried and have just come,
//! and all others. The last two share a part of the slots (`concurrency_limit`). However many stand
//! in one line, nobody walks over them to find one of another line.

use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

use super::super::tuning::NEWCOMER_WEBHOOK_FOR;
use crate::domain::lane::LaneKey;

/// Lanes that wait for a slot.
#[derive(Debug, Default)]
pub(crate) struct FairQueue {
    lanes: HashMap<i64, VecDeque<LaneKey>>,
    /// Webhooks with lanes that wait, in the order of their turns.
    lines: [VecDeque<i64>; 3],
    /// When each webhook that stands in the line of the newcomers has come.
    came: HashMap<i64, Instant>,
}

/// A line of webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// Webhooks that answer.
    Answering = 0,
    /// Webhooks that were never tried and have come within [`NEWCOMER_WEBHOOK_FOR`].
    Newcomers = 1,
    /// Webhooks that do not answer, or have not answered yet.
    Doubtful = 2,
}

impl Line {
    /// All lines, in the order in which they are served.
    pub(crate) const ALL: [Self; 3] = [Self::Answering, Self::Newcomers, Self::Doubtful];
}

impl FairQueue {
    /// Adds a lane. If it is the first one of its webhook, the webhook joins this line.
    pub(crate) fn push(&mut self, key: LaneKey, line: Line, now: Instant) {
        let lanes = self.lanes.entry(key.webhook_id).or_default();
        if lanes.is_empty() {
            self.lines[line as usize].push_back(key.webhook_id);
            if line == Line::Newcomers {
                self.came.insert(key.webhook_id, now);
            }
        }
        lanes.push_back(key);
    }

    /// Whether no lane waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Whether lanes of this webhook wait.
    pub(crate) fn has(&self, webhook_id: i64) -> bool {
        self.lanes.contains_key(&webhook_id)
    }

    /// Webhooks with lanes that wait.
    pub(crate) fn webhooks(&self) -> impl Iterator<Item = i64> {
        self.lanes.keys().copied()
    }

    /// The webhooks of a line, in the order of their turns.
    pub(crate) fn line(&self, line: Line) -> impl ExactSizeIterator<Item = i64> {
        self.lines[line as usize].iter().copied()
    }

    /// The lane of this webhook that has waited longest.
    pub(crate) fn first(&self, webhook_id: i64) -> Option<LaneKey> {
        self.lanes.get(&webhook_id)?.front().copied()
    }

    /// The webhook whose turn it is leaves the line. It must come back by [`FairQueue::come_back`].
    pub(crate) fn next_webhook(&mut self, line: Line) -> Option<i64> {
        self.lines[line as usize].pop_front()
    }

    /// A webhook that has left its line joins this one, if lanes of it wait.
    pub(crate) fn come_back(&mut self, webhook_id: i64, line: Line) {
        if line != Line::Newcomers || !self.has(webhook_id) {
            self.came.remove(&webhook_id);
        }
        if self.has(webhook_id) {
            self.lines[line as usize].push_back(webhook_id);
        }
    }

    /// Newcomers that have come too long ago join the line of the others.
    pub(crate) fn age_newcomers(&mut self, now: Instant) {
        let new = |came: &Instant| now.duration_since(*came) < NEWCOMER_WEBHOOK_FOR;
        for webhook_id in std::mem::take(&mut self.lines[Line::Newcomers as usize]) {
            let line =
                if self.came.get(&webhook_id).is_some_and(new) { Line::Newcomers } else { Line::Doubtful };
            self.come_back(webhook_id, line);
        }
    }

    /// Takes the lane of this webhook that has waited longest.
    pub(crate) fn pop(&mut self, webhook_id: i64) -> Option<LaneKey> {
        let lanes = self.lanes.get_mut(&webhook_id)?;
        let key = lanes.pop_front();
        if lanes.is_empty() {
            self.lanes.remove(&webhook_id);
        }
        key
    }

    /// Takes the lane of this webhook that has waited for the shortest time, unless it is the only
    /// one.
    pub(crate) fn pop_last(&mut self, webhook_id: i64) -> Option<LaneKey> {
        self.lanes.get_mut(&webhook_id).filter(|lanes| lanes.len() > 1)?.pop_back()
    }

    /// A webhook answers now, or no longer: it changes the line.
    pub(crate) fn change_line(&mut self, webhook_id: i64, to: Line) {
        if !self.has(webhook_id) || self.lines[to as usize].contains(&webhook_id) {
            return;
        }
        for line in &mut self.lines {
            line.retain(|id| *id != webhook_id);
        }
        self.come_back(webhook_id, to);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(webhook_id: i64, lane: i64) -> LaneKey {
        LaneKey { webhook_id, lane }
    }

    #[test]
    fn webhooks_take_turns_and_their_lanes_come_in_order() {
        let mut queue = FairQueue::default();
        for lane in 0..3 {
            queue.push(key(1, lane), Line::Answering, Instant::now());
        }
        queue.push(key(2, 0), Line::Answering, Instant::now());
        let mut order = Vec::new();
        while let Some(webhook_id) = queue.next_webhook(Line::Answering) {
            order.extend(queue.pop(webhook_id));
            queue.come_back(webhook_id, Line::Answering);
        }
        assert_eq!(order, [key(1, 0), key(2, 0), key(1, 1), key(1, 2)]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_newcomer_is_new_for_a_second() {
        let (mut queue, now) = (FairQueue::default(), Instant::now());
        queue.push(key(1, 0), Line::Newcomers, now);
        queue.push(key(2, 0), Line::Newcomers, now + NEWCOMER_WEBHOOK_FOR / 2);
        queue.age_newcomers(now + NEWCOMER_WEBHOOK_FOR);
        assert_eq!(queue.line(Line::Newcomers).collect::<Vec<_>>(), [2]);
        assert_eq!(queue.line(Line::Doubtful).collect::<Vec<_>>(), [1]);
    }

    proptest! {
        /// Each webhook with lanes that wait stands in exactly one line, and no other stands in any.
        #[test]
        fn each_webhook_that_waits_stands_in_one_line(
            steps in prop::collection::vec((0i64..4, 0u8..8), 0..200),
        ) {
            let mut queue = FairQueue::default();
            let mut now = Instant::now();
            for (number, (webhook_id, step)) in (0..).zip(steps) {
                let line = Line::ALL[usize::from(step) % 3];
                match step {
                    0..3 => queue.push(key(webhook_id, number), line, now),
                    3..6 => queue.change_line(webhook_id, line),
                    6 => {
                        now += NEWCOMER_WEBHOOK_FOR / 2;
                        queue.age_newcomers(now);
                    }
                    _ => for line in Line::ALL {
                        if let Some(webhook_id) = queue.next_webhook(line) {
                            queue.pop(webhook_id);
                            queue.come_back(webhook_id, line);
                        }
                    },
                }
                let mut standing: Vec<i64> = Line::ALL.into_iter().flat_map(|line| queue.line(line)).collect();
                standing.sort_unstable();
                let mut waiting: Vec<i64> = queue.webhooks().collect();
                waiting.sort_unstable();
                prop_assert_eq!(standing, waiting);
            }
        }
    }
}
