//! How long deliveries took: counts in buckets, and what they say.
//!
//! The first bucket is below 1 ms. The bounds of the others are half powers of two: 1, 1.4, 2, 2.8,
//! 4 ms and so on. So a figure that is read from the buckets is at most 41 % off.

use std::time::Duration;

/// How many buckets there are. The last one begins at 18 hours.
pub const BUCKETS: usize = 54;

/// The bucket of a latency.
pub fn bucket(latency: Duration) -> usize {
    let milliseconds = latency.as_secs_f64() * 1000.0;
    if milliseconds < 1.0 {
        return 0;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 128, and the rest is cut off"
    )]
    let bucket = (milliseconds.log2() * 2.0) as usize + 1;
    bucket.min(BUCKETS - 1)
}

/// The lower bound of a bucket, in milliseconds.
fn bound(bucket: usize) -> f64 {
    let halves = i32::try_from(bucket).unwrap_or(i32::MAX);
    if bucket == 0 { 0.0 } else { f64::from(halves - 1).mul_add(0.5, 0.0).exp2() }
}

/// The latency below which this part of all is, in milliseconds; `None` if there are none. `counts`
/// may end early.
pub fn quantile(counts: &[i64], part: f64) -> Option<f64> {
    let total: i64 = counts.iter().sum();
    if total <= 0 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let number = |count: i64| count as f64;
    let wanted = number(total) * part;
    let mut below = 0.0;
    for (bucket, count) in counts.iter().enumerate() {
        let count = number(*count);
        if count > 0.0 && below + count >= wanted {
            let (from, to) = (bound(bucket), bound(bucket + 1));
            return Some((to - from).mul_add((wanted - below) / count, from));
        }
        below += count;
    }
    None
}

/// Adds counts to others.
pub fn add(sum: &mut Vec<i64>, counts: &[i64]) {
    if sum.len() < counts.len() {
        sum.resize(counts.len(), 0);
    }
    for (sum, count) in sum.iter_mut().zip(counts) {
        *sum += count;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_have_their_bounds() {
        for (microseconds, expected) in
            [(0, 0), (999, 0), (1000, 1), (1400, 1), (1500, 2), (2001, 3), (4001, 5), (1_024_001, 21)]
        {
            assert_eq!(bucket(Duration::from_micros(microseconds)), expected, "{microseconds}");
        }
        assert_eq!(bucket(Duration::from_hours(17)), BUCKETS - 2);
        assert_eq!(bucket(Duration::from_hours(19)), BUCKETS - 1);
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
        assert!((bound(BUCKETS - 1) - 18.6 * 3_600_000.0).abs() < 360_000.0, "{}", bound(BUCKETS - 1));
    }

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[0, 0], 0.99), None);
    }

    proptest! {
        #[test]
        fn a_quantile_is_near_the_truth(mut all in prop::collection::vec(1_000u64..10_000_000, 1..200), part in 0.01f64..1.0) {
            let mut counts = vec![0; BUCKETS];
            for latency in &all {
                counts[bucket(Duration::from_micros(*latency))] += 1;
            }
            all.sort_unstable();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let index = ((all.len() as f64 * part).ceil() as usize).clamp(1, all.len()) - 1;
            #[allow(clippy::cast_precision_loss)]
            let truth = all[index] as f64 / 1000.0;
            let found = quantile(&counts, part).unwrap();
            prop_assert!(found / truth < 1.42 && truth / found < 1.42, "{} instead of {}", found, truth);
        }
    }

    #[test]
    fn counts_of_several_lengths_add_up() {
        let mut sum = vec![1];
        add(&mut sum, &[1, 2, 3]);
        add(&mut sum, &[1]);
        assert_eq!(sum, [3, 2, 3]);
    }
}
