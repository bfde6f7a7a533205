//! A tail: what happens now, as somebody watches it. It is a view: above [`RATE`] it shows a
//! sample, and says so.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use uuid::Uuid;

use super::attempt::{ErrorClass, Outcome};

/// How many items a second a tail shows.
pub const RATE: u32 = 100;
/// How many tails a process may have open.
pub const TAILS_MAX: usize = 100;

/// One item of a tail.
#[derive(Debug, Clone, PartialEq)]
pub enum TailItem {
    /// A message was published.
    Message(TailMessage),
    /// A request was made.
    Attempt(TailAttempt),
    /// Not everything is shown.
    LeftOut(LeftOut),
}

/// A message that was published. A tail shows no payloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailMessage {
    /// Its id.
    pub id: i64,
    /// Its partition key.
    pub partition_key: String,
    /// Its type.
    pub r#type: Option<String>,
    /// When it was published.
    pub created_at: Timestamp,
    /// Bytes of its payload and headers.
    pub size_bytes: i32,
}

/// A request for a message, and how it ended.
#[derive(Debug, Clone, PartialEq)]
pub struct TailAttempt {
    /// The message.
    pub message_id: i64,
    /// The number of the attempt; 1 is the first.
    pub attempt: i32,
    /// How it ended.
    pub outcome: Outcome,
    /// The HTTP status, if an answer came.
    pub status_code: Option<i16>,
    /// The kind of failure; `None` if it was accepted.
    pub error_class: Option<ErrorClass>,
    /// Why it failed; `None` if it was accepted.
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// The worker that made it.
    pub worker_id: Uuid,
    /// When it began.
    pub attempted_at: Timestamp,
}

/// How much of what has happened is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut {
    /// How many items follow.
    pub shown: usize,
    /// How many there were.
    pub of: usize,
    /// Whether there were more that were never seen.
    pub at_least: bool,
}

/// Where an item stands: a group, and a place in it. Places rise in a group.
pub type Place = (i64, i64);

/// The newest places at the last look. With it the next look tells what is new.
#[derive(Debug, Clone)]
pub struct Seen {
    places: BTreeSet<Place>,
    /// Whether there were older places, which the look left out.
    is_full: bool,
}

impl Seen {
    /// What was seen at the first look.
    pub fn new(places: impl IntoIterator<Item = Place>, is_full: bool) -> Self {
        Self { places: places.into_iter().collect(), is_full }
    }

    /// Takes in the places of the next look. Returns which of them are new, and whether some may
    /// have come and gone between the two looks.
    pub fn take_in(&mut self, next: Self) -> (BTreeSet<Place>, bool) {
        let of = |group: i64| self.places.range((group, i64::MIN)..=(group, i64::MAX));
        let is_new = |(group, place): &Place| {
            // What a full look has left out is not new only because others have gone.
            let is_old = self.is_full && of(*group).next().is_some_and(|(_, oldest)| place < oldest);
            !is_old && !self.places.contains(&(*group, *place))
        };
        let new: BTreeSet<Place> = next.places.iter().filter(|place| is_new(place)).copied().collect();
        // A group was overrun if nothing of it that was seen is still there.
        let known: BTreeSet<i64> = next.places.difference(&new).map(|(group, _)| *group).collect();
        let is_overrun = |(group, _): &Place| !known.contains(group) && of(*group).next().is_some();
        let is_gap = next.is_full && new.iter().any(is_overrun);
        *self = next;
        (new, is_gap)
    }
}

/// How many items a tail may show now: [`RATE`] a second, and as many at once.
#[derive(Debug, Clone, Copy)]
pub struct Allowance(f64);

impl Default for Allowance {
    fn default() -> Self {
        Self(f64::from(RATE))
    }
}

impl Allowance {
    /// Which of `count` items are shown, when this much time has passed since the last call. They
    /// lie evenly among all.
    pub fn sample(&mut self, count: usize, passed: Duration) -> Vec<usize> {
        let rate = f64::from(RATE);
        self.0 = passed.as_secs_f64().mul_add(rate, self.0).min(rate);
        let mut shown = 0;
        while shown < count && self.0 >= 1.0 {
            self.0 -= 1.0;
            shown += 1;
        }
        (0..shown).map(|index| index * count / shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Looks at the newest `window` of rising places, as they are after each step.
    fn watch(window: usize, steps: &[usize]) -> (usize, bool) {
        let mut table: Vec<Place> = vec![(0, 1)];
        let newest = |table: &[Place]| table[table.len().saturating_sub(window)..].to_vec();
        let mut seen = Seen::new(newest(&table), table.len() > window);
        let (mut shown, mut gaps) = (0, false);
        for step in steps {
            let last = table.last().unwrap().1;
            table.extend((1..).take(*step).map(|more| (0, last + more)));
            let (new, gap) = seen.take_in(Seen::new(newest(&table), table.len() > window));
            shown += new.len();
            gaps |= gap;
        }
        (shown, gaps)
    }

    proptest! {
        #[test]
        fn what_comes_is_seen_once_or_a_gap_is_told(steps in prop::collection::vec(0usize..12, 1..30)) {
            let (shown, gap) = watch(8, &steps);
            let came: usize = steps.iter().sum();
            prop_assert!(shown <= came);
            prop_assert_eq!(shown < came, steps.iter().any(|step| *step > 8));
            prop_assert!(shown == came || gap);
        }

        #[test]
        fn no_more_is_shown_than_the_rate_allows(counts in prop::collection::vec(0usize..300, 1..50), pause in 1u64..2000) {
            let mut allowance = Allowance::default();
            let mut shown = 0;
            for count in &counts {
                let sample = allowance.sample(*count, Duration::from_millis(pause));
                prop_assert!(sample.len() <= RATE as usize);
                prop_assert!(sample.iter().all(|index| index < count));
                prop_assert!(sample.is_sorted_by(|one, next| one < next), "{:?}", sample);
                shown += sample.len();
            }
            let milliseconds = u128::from(pause) * counts.len() as u128;
            prop_assert!(1000 * shown as u128 <= u128::from(RATE) * (milliseconds + 1000));
        }
    }

    #[test]
    fn a_late_commit_is_seen_and_what_was_deleted_brings_nothing_back() {
        let mut seen = Seen::new([(0, 5), (0, 8), (0, 9)], true);
        let mut new = |places: &[Place]| {
            let (new, _) = seen.take_in(Seen::new(places.iter().copied(), true));
            new.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(new(&[(0, 5), (0, 7), (0, 8), (0, 9)]), [(0, 7)]);
        assert_eq!(new(&[(0, 3), (0, 5), (0, 9), (1, 1)]), [(1, 1)]);
        // A look that was not full has left nothing out.
        let mut seen = Seen::new([(0, 5)], false);
        assert_eq!(seen.take_in(Seen::new([(0, 3), (0, 5)], false)).0, BTreeSet::from([(0, 3)]));
    }

    #[test]
    fn few_items_are_all_shown() {
        let mut allowance = Allowance::default();
        for _ in 0..100 {
            assert_eq!(allowance.sample(20, Duration::from_millis(250)), (0..20).collect::<Vec<_>>());
        }
    }
}
