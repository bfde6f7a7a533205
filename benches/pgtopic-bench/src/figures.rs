//! Arithmetic of measurements.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are far below 2^52 and places in a list are not negative"
)]

use std::time::Duration;

use super::tally::Journey;

/// A count in a time, as a rate a second.
pub(super) fn rate(count: u64, time: Duration) -> f64 {
    ratio(count as f64, time.as_secs_f64())
}

/// An amount for each of this many.
pub(super) fn each(amount: f64, count: u64) -> f64 {
    ratio(amount, count as f64)
}

/// A part of this many.
pub(super) fn share(part: u64, whole: u64) -> f64 {
    each(part as f64, whole)
}

/// A counter's growth as an amount.
pub(super) fn float(count: i64) -> f64 {
    count as f64
}

/// A ratio. It is 0 if there is nothing to divide by.
pub(super) fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// The median of the ratios of the rounds: what happens in one round happens to both.
pub(super) fn median_ratio(parts: &[f64], wholes: &[f64]) -> f64 {
    median(&parts.iter().zip(wholes).map(|(part, whole)| ratio(*part, *whole)).collect::<Vec<_>>())
}

/// The median; 0 of no values.
pub(super) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value that this part of all values does not exceed, between its two neighbours; 0 of no
/// values.
pub(super) fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = part * last as f64;
    let below = sorted[place.floor() as usize];
    let above = sorted[place.ceil() as usize];
    below + (above - below) * place.fract()
}

/// Latencies of messages in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Latency {
    pub(super) messages: u64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

impl Latency {
    pub(super) fn of<'a>(journeys: impl IntoIterator<Item = &'a Journey>) -> Self {
        let values: Vec<f64> = journeys.into_iter().map(|journey| journey.milliseconds).collect();
        Self {
            messages: values.len() as u64,
            p50: quantile(&values, 0.5),
            p90: quantile(&values, 0.9),
            p99: quantile(&values, 0.99),
            max: quantile(&values, 1.0),
        }
    }
}

/// How a count grew.
#[derive(Debug, Default)]
pub(super) struct Samples(Vec<(Duration, u64)>);

impl FromIterator<(Duration, u64)> for Samples {
    fn from_iter<I: IntoIterator<Item = (Duration, u64)>>(samples: I) -> Self {
        Self(samples.into_iter().collect())
    }
}

impl Samples {
    pub(super) fn add(&mut self, at: Duration, count: u64) {
        self.0.push((at, count));
    }

    /// The rates of equal parts of all that was counted, in order.
    pub(super) fn rates_of_parts(&self, parts: u64) -> Vec<f64> {
        let total = self.0.last().map_or(0, |(_, count)| *count);
        let reached: Vec<f64> = (0..=parts).map(|part| self.reached(total * part / parts)).collect();
        let counts = (0..parts).map(|part| total * (part + 1) / parts - total * part / parts);
        reached
            .windows(2)
            .zip(counts)
            .map(|(times, count)| ratio(count as f64, times[1] - times[0]))
            .collect()
    }

    /// The count at an instant.
    pub(super) fn at(&self, instant: Duration) -> u64 {
        self.0.iter().take_while(|(at, _)| *at <= instant).last().map_or(0, |(_, count)| *count)
    }

    /// When the count was reached, in seconds, between two samples. At the first sample nothing is
    /// reached.
    fn reached(&self, count: u64) -> f64 {
        let seconds = |place: usize| self.0[place].0.as_secs_f64();
        if count == 0 {
            let last_empty = self.0.iter().rposition(|(_, reached)| *reached == 0);
            return if self.0.is_empty() { 0.0 } else { seconds(last_empty.unwrap_or_default()) };
        }
        match self.0.iter().position(|(_, reached)| *reached >= count) {
            None => self.0.len().checked_sub(1).map_or(0.0, seconds),
            Some(0) => seconds(0),
            Some(next) => {
                let (less, more) = (self.0[next - 1].1, self.0[next].1);
                let part = ratio((count - less) as f64, (more - less) as f64);
                seconds(next - 1) + (seconds(next) - seconds(next - 1)) * part
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-6
    }

    #[test]
    fn quantiles_lie_between_values() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert!(close(median(&values), 2.5));
        assert!(close(quantile(&values, 1.0), 4.0));
        assert!(close(median(&[]), 0.0));
    }

    #[test]
    fn parts_of_a_count_have_rates_of_their_own() {
        let mut samples = Samples::default();
        for (seconds, count) in [(0, 0), (1, 10), (2, 20), (4, 30), (6, 40)] {
            samples.add(Duration::from_secs(seconds), count);
        }
        let rates = samples.rates_of_parts(2);
        assert!(close(rates[0], 10.0) && close(rates[1], 5.0), "{rates:?}");
        assert_eq!(samples.at(Duration::from_millis(4500)), 30);
    }
}
