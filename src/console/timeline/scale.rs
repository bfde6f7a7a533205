//! Where a time is, from left to right.

use jiff::Timestamp;

/// Where times are. Long gaps between events are drawn shorter: a gap of t seconds is as wide as
/// ln(1 + t).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scale {
    /// Events with their places, both rising.
    knots: Vec<(Timestamp, f64)>,
}

impl Scale {
    /// The scale on which these events reach from `left` to `right`.
    pub(super) fn of(mut events: Vec<Timestamp>, left: f64, right: f64) -> Self {
        events.sort_unstable();
        events.dedup();
        let weight = |pair: &[Timestamp]| pair[1].duration_since(pair[0]).as_secs_f64().ln_1p();
        let whole: f64 = events.windows(2).map(weight).sum();
        let mut knots: Vec<(Timestamp, f64)> =
            events.first().map(|first| (*first, left)).into_iter().collect();
        let mut sum = 0.0;
        for pair in events.windows(2) {
            sum += weight(pair);
            knots.push((pair[1], left + (right - left) * sum / whole));
        }
        Self { knots }
    }

    /// The place of a time. What is earlier than all events is at the left, what is later at the
    /// right.
    pub(super) fn x(&self, at: Timestamp) -> f64 {
        let next = self.knots.partition_point(|(known, _)| *known < at);
        let (Some(after), before) =
            (self.knots.get(next), next.checked_sub(1).and_then(|one| self.knots.get(one)))
        else {
            return self.knots.last().map_or(0.0, |(_, x)| *x);
        };
        let Some(before) = before else { return after.1 };
        let whole = after.0.duration_since(before.0).as_secs_f64();
        let part = at.duration_since(before.0).as_secs_f64();
        before.1 + (after.1 - before.1) * part / whole
    }

    /// Events that are at least `apart` from one another, from left to right.
    pub(super) fn ticks(&self, apart: f64) -> Vec<(Timestamp, f64)> {
        let mut ticks: Vec<(Timestamp, f64)> = Vec::new();
        for knot in &self.knots {
            if ticks.last().is_none_or(|last| knot.1 - last.1 >= apart) {
                ticks.push(*knot);
            }
        }
        ticks
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn long_gaps_are_shorter_and_single_events_are_at_the_left() {
        let scale = Scale::of(vec![at(0), at(1), at(86_400)], 0.0, 100.0);
        assert!(scale.x(at(1)) > 5.0 && scale.x(at(86_400)) == 100.0, "{scale:?}");
        assert_eq!(Scale::of(vec![at(5), at(5)], 10.0, 100.0).x(at(5)), 10.0);
        assert_eq!(Scale::of(Vec::new(), 10.0, 100.0).x(at(5)), 0.0);
        assert_eq!(scale.ticks(50.0).len(), 2);
    }

    proptest! {
        #[test]
        fn what_is_later_is_further_right(events in proptest::collection::vec(0i64..1_000_000, 1..30), a in 0i64..1_000_000, b in 0i64..1_000_000) {
            let scale = Scale::of(events.into_iter().map(at).collect(), 10.0, 900.0);
            let (xa, xb) = (scale.x(at(a)), scale.x(at(b)));
            prop_assert!((10.0..=900.001).contains(&xa));
            prop_assert!(a > b || xa <= xb);
        }
    }
}
