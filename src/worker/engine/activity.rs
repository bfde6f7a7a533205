//! Activity: what this worker has sent to each webhook in the last seconds, for operators.
//!
//! It is best effort: what cannot be written is left out.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::event::AttemptEnded;
use crate::{
    domain::{attempt::Outcome, latency},
    store::ActivityRow,
};

/// How often it is written.
const EVERY: Duration = Duration::from_secs(10);

/// What was sent since it was written last.
pub(super) struct Activity {
    webhooks: HashMap<i64, ActivityRow>,
    /// Webhooks whose last request failed: since when each one has failed.
    failing: HashMap<i64, Timestamp>,
    due: Instant,
    under_way: bool,
}

impl Activity {
    pub(super) fn new(now: Instant) -> Self {
        Self { webhooks: HashMap::new(), failing: HashMap::new(), due: now + EVERY, under_way: false }
    }

    fn webhook(&mut self, webhook_id: i64) -> &mut ActivityRow {
        self.webhooks
            .entry(webhook_id)
            .or_insert_with(|| ActivityRow { webhook_id, ..ActivityRow::default() })
    }

    /// A request has ended.
    pub(super) fn add(&mut self, report: &AttemptEnded) {
        let webhook_id = report.key.webhook_id;
        let ended = report.attempted_at.checked_add(report.result.duration).unwrap_or(report.attempted_at);
        if report.result.outcome == Outcome::Accepted {
            self.failing.remove(&webhook_id);
            let row = self.webhook(webhook_id);
            row.accepted += i64::try_from(report.message_ids.len()).unwrap_or(i64::MAX);
            row.last_success_at = Some(ended);
            for created_at in &report.created_at {
                let took = Duration::try_from(ended.duration_since(*created_at)).unwrap_or_default();
                let bucket = latency::bucket(took);
                if row.latency.len() <= bucket {
                    row.latency.resize(bucket + 1, 0);
                }
                row.latency[bucket] += 1;
            }
            return;
        }
        self.failing.entry(webhook_id).or_insert(ended);
        let row = self.webhook(webhook_id);
        row.failed += 1;
        row.last_failure_at = Some(ended);
        row.last_status_code = report.result.status_code.and_then(|code| i16::try_from(code).ok());
        row.last_error_class = report.result.error_class;
        row.last_error.clone_from(&report.result.error);
    }

    /// A delivery was given up.
    pub(super) fn dead(&mut self, webhook_id: i64) {
        self.webhook(webhook_id).dead += 1;
    }

    /// When it is written next.
    pub(super) fn due(&self) -> Option<Instant> {
        Some(self.due).filter(|_| !self.under_way)
    }

    /// Whether nothing waits, and nothing is being written.
    pub(super) fn is_idle(&self) -> bool {
        self.webhooks.is_empty() && !self.under_way
    }

    /// Forgets a webhook that is gone.
    pub(super) fn forget(&mut self, webhook_id: i64) {
        self.failing.remove(&webhook_id);
    }

    /// Takes what is to be written, if it is time, and how many seconds it covers. `in_flight`: how
    /// many lanes of each webhook are in flight. `last`: nothing is in flight any more, and the
    /// worker stops.
    pub(super) fn begin(
        &mut self,
        in_flight: impl Iterator<Item = (i64, usize)>,
        last: bool,
        now: Instant,
    ) -> Option<(i32, Vec<ActivityRow>)> {
        let at_once = last && !self.webhooks.is_empty();
        if self.under_way || !(at_once || now >= self.due) {
            return None;
        }
        let rows = self.take(in_flight, now);
        self.under_way = !rows.is_empty();
        let seconds = i32::try_from(EVERY.as_secs()).unwrap_or(i32::MAX);
        self.under_way.then_some((seconds, rows))
    }

    /// It was written, or left out.
    pub(super) fn ended(&mut self) {
        self.under_way = false;
    }

    fn take(&mut self, in_flight: impl Iterator<Item = (i64, usize)>, now: Instant) -> Vec<ActivityRow> {
        self.due = now + EVERY;
        for (webhook_id, used) in in_flight.filter(|(_, used)| *used > 0) {
            self.webhook(webhook_id).in_flight = i32::try_from(used).unwrap_or(i32::MAX);
        }
        let mut rows: Vec<ActivityRow> = std::mem::take(&mut self.webhooks).into_values().collect();
        for row in &mut rows {
            row.failing_since = self.failing.get(&row.webhook_id).copied();
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        attempt::{AttemptResult, ErrorClass},
        lane::LaneKey,
    };

    fn report(outcome: Outcome, second: i64) -> AttemptEnded {
        let at = |second| Timestamp::from_second(second).unwrap();
        let failed = outcome != Outcome::Accepted;
        AttemptEnded {
            replay: false,
            probe: false,
            key: LaneKey { webhook_id: 1, lane: 2 },
            message_ids: vec![7, 8],
            attempt: 1,
            result: AttemptResult {
                outcome,
                status_code: Some(if failed { 503 } else { 204 }),
                error_class: failed.then_some(ErrorClass::Status),
                error: failed.then(|| "answered 503".to_owned()),
                duration: Duration::ZERO,
                response_excerpt: None,
                retry_after: None,
            },
            attempted_at: at(second),
            created_at: vec![at(second - 1), at(second + 5)],
        }
    }

    #[test]
    fn a_webhook_fails_from_the_first_of_its_failures_to_the_next_success() {
        let now = Instant::now();
        let mut activity = Activity::new(now);
        for second in [100, 101] {
            activity.add(&report(Outcome::Failed, second));
        }
        activity.dead(1);
        let rows = activity.take([(1, 3), (2, 0)].into_iter(), now);
        let [row] = &*rows else { panic!("{rows:?}") };
        assert_eq!((row.accepted, row.failed, row.dead, row.in_flight), (0, 2, 1, 3));
        assert_eq!(row.failing_since, Timestamp::from_second(100).ok());
        assert_eq!(row.last_failure_at, Timestamp::from_second(101).ok());
        assert_eq!((row.last_status_code, row.last_error_class), (Some(503), Some(ErrorClass::Status)));
        assert!(activity.is_idle());

        // It is said again while something is in flight, also without an end of a request.
        let rows = activity.take([(1, 1)].into_iter(), now);
        assert_eq!((rows[0].failed, rows[0].failing_since), (0, Timestamp::from_second(100).ok()));

        activity.add(&report(Outcome::Accepted, 200));
        let rows = activity.take(std::iter::empty(), now);
        assert_eq!((rows[0].accepted, rows[0].failing_since), (2, None));
        assert_eq!(rows[0].latency.iter().sum::<i64>(), 2, "a message of the future counts as quick");
        assert_eq!(rows[0].latency[0], 1);
        assert!(activity.take(std::iter::empty(), now).is_empty());
    }
}
