//! The lanes that wait for a slot, webhook by webhook (round robin).
//!
//! Webhooks wait in two lines. In one stand those that answer. In the other stand those that do not
//! answer, or have not answered yet: they share a part of the slots (`concurrency_limit`), and
//! however many they are, nobody walks over them to find one that answers.

use std::collections::{HashMap, VecDeque};

use crate::domain::lane::LaneKey;

/// Lanes that wait for a slot.
#[derive(Debug, Default)]
pub(crate) struct FairQueue {
    lanes: HashMap<i64, VecDeque<LaneKey>>,
    /// Webhooks with lanes that wait, in the order of their turns.
    lines: [VecDeque<i64>; 2],
}

/// A line of webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// Webhooks that answer.
    Answering = 0,
    /// Webhooks that do not answer, or have not answered yet.
    Doubtful = 1,
}

impl FairQueue {
    /// Adds a lane. If it is the first one of its webhook, the webhook joins this line.
    pub(crate) fn push(&mut self, key: LaneKey, line: Line) {
        let lanes = self.lanes.entry(key.webhook_id).or_default();
        if lanes.is_empty() {
            self.lines[line as usize].push_back(key.webhook_id);
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
        if self.has(webhook_id) {
            self.lines[line as usize].push_back(webhook_id);
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
        if !self.has(webhook_id) {
            return;
        }
        let from = if to == Line::Answering { Line::Doubtful } else { Line::Answering };
        let from = &mut self.lines[from as usize];
        if let Some(at) = from.iter().position(|id| *id == webhook_id) {
            from.remove(at);
            self.lines[to as usize].push_back(webhook_id);
        }
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
            queue.push(key(1, lane), Line::Answering);
        }
        queue.push(key(2, 0), Line::Answering);
        let mut order = Vec::new();
        while let Some(webhook_id) = queue.next_webhook(Line::Answering) {
            order.extend(queue.pop(webhook_id));
            queue.come_back(webhook_id, Line::Answering);
        }
        assert_eq!(order, [key(1, 0), key(2, 0), key(1, 1), key(1, 2)]);
        assert!(queue.is_empty());
    }

    proptest! {
        /// Each webhook with lanes that wait stands in exactly one line, and no other stands in any.
        #[test]
        fn each_webhook_that_waits_stands_in_one_line(
            steps in prop::collection::vec((0i64..4, 0u8..5), 0..200),
        ) {
            let mut queue = FairQueue::default();
            for (number, (webhook_id, step)) in (0..).zip(steps) {
                let line = if step % 2 == 0 { Line::Answering } else { Line::Doubtful };
                match step {
                    0 | 1 => queue.push(key(webhook_id, number), line),
                    2 | 3 => queue.change_line(webhook_id, line),
                    _ => for line in [Line::Answering, Line::Doubtful] {
                        if let Some(webhook_id) = queue.next_webhook(line) {
                            queue.pop(webhook_id);
                            queue.come_back(webhook_id, line);
                        }
                    },
                }
                let mut standing: Vec<i64> = queue.line(Line::Answering).chain(queue.line(Line::Doubtful)).collect();
                standing.sort_unstable();
                let mut waiting: Vec<i64> = queue.webhooks().collect();
                waiting.sort_unstable();
                prop_assert_eq!(standing, waiting);
            }
        }
    }
}
