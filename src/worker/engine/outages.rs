//! Outages: what the log and the audit log say of webhooks that fail.
//!
//! Promised: one line when a webhook begins to fail and one when it has recovered, with what the
//! outage cost; a summary of all that fail each [`SUMMARY_EVERY`]; and never a line for each
//! message. If many webhooks fail at once, some of these lines are left out and counted. The audit
//! log (`changes`) gets a row for each line about a single webhook, also for those that are left out.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tracing::{info, warn};

use crate::domain::change::OutageChange;

/// How often a summary comes. A webhook that has recovered and fails again is not named again
/// before this time has passed.
const SUMMARY_EVERY: Duration = Duration::from_secs(10);

/// The same while the breakers of all webhooks that fail are open: only probes tell of them.
const SUMMARY_OPEN_EVERY: Duration = Duration::from_mins(1);

/// A webhook has recovered if a request was accepted, and none has failed for this long.
const STEADY_FOR: Duration = Duration::from_secs(1);

/// The most lines about single webhooks in [`SUMMARY_EVERY`].
const LINES_MAX: u32 = 20;

/// The most webhooks that a summary names.
const NAMED_MAX: usize = 10;

/// What an outage has cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Cost {
    failed_attempts: u64,
    dead_letters: u64,
    halted_lanes: u64,
}

/// What became of the messages of a request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// They are tried again.
    None,
    /// One became a dead letter.
    DeadLetter,
    /// Their lane was halted.
    Halted,
}

/// The outage of one webhook.
#[derive(Debug)]
struct Outage {
    topic: String,
    began: Instant,
    last_failed: Instant,
    /// When the first request after the last failed one was accepted; `None` while it fails.
    accepted: Option<Instant>,
    cost: Cost,
    error: String,
    /// Whether its breaker is open.
    open: bool,
    /// Whether the log says that it fails.
    told: bool,
    /// No line about it comes before this instant.
    quiet_until: Instant,
}

/// A line for the log.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Failing { webhook_id: i64, topic: String, error: String, left_out: u64 },
    Recovered { webhook_id: i64, topic: String, lasted: Duration, cost: Cost, left_out: u64 },
    Summary { webhook_ids: Vec<i64>, webhooks: usize, lasted: Duration, cost: Cost },
}

/// The outages of all webhooks, as this worker sees them.
#[derive(Default)]
pub(super) struct Outages {
    webhooks: HashMap<i64, Outage>,
    /// When the next summary is due, and what was lost since the last one.
    next_summary: Option<Instant>,
    summed_up: Option<Instant>,
    since_summary: Cost,
    /// Since when lines about single webhooks are counted, how many there were, and how many were
    /// left out.
    window: Option<Instant>,
    lines: u32,
    left_out: u64,
    /// What the audit log is to be told.
    changes: Vec<OutageChange>,
}

impl Outage {
    /// From when on it counts as recovered; `None` while it fails.
    fn steady_at(&self) -> Option<Instant> {
        self.accepted.map(|_| self.last_failed + STEADY_FOR)
    }
}

impl Cost {
    fn add(&mut self, loss: Loss) {
        self.failed_attempts += 1;
        self.dead_letters += u64::from(loss == Loss::DeadLetter);
        self.halted_lanes += u64::from(loss == Loss::Halted);
    }

    /// The end of an outage that has cost this, for the audit log.
    fn change(&self, webhook_id: i64, lasted: Duration) -> OutageChange {
        let Self { failed_attempts, dead_letters, halted_lanes } = self;
        let reason = format!(
            "after {:.1} s: {failed_attempts} failed attempts, {dead_letters} dead letters, {halted_lanes} halted lanes",
            lasted.as_secs_f64()
        );
        OutageChange { webhook_id, recovered: true, reason }
    }
}

impl Outages {
    /// A request has failed.
    pub(super) fn failed(&mut self, webhook_id: i64, topic: &str, error: &str, loss: Loss, now: Instant) {
        let outage = self.webhooks.entry(webhook_id).or_insert_with(|| Outage {
            topic: topic.to_owned(),
            began: now,
            last_failed: now,
            accepted: None,
            cost: Cost::default(),
            error: error.to_owned(),
            open: false,
            told: false,
            quiet_until: now,
        });
        if outage.cost == Cost::default() {
            outage.began = now;
        }
        outage.last_failed = now;
        outage.accepted = None;
        outage.cost.add(loss);
        self.since_summary.add(loss);
        error.clone_into(&mut outage.error);
    }

    /// A request was accepted.
    pub(super) fn accepted(&mut self, webhook_id: i64, now: Instant) {
        if let Some(outage) = self.webhooks.get_mut(&webhook_id) {
            outage.accepted.get_or_insert(now);
            outage.open = false;
        }
    }

    /// The breaker of a webhook has opened.
    pub(super) fn opened(&mut self, webhook_id: i64) {
        if let Some(outage) = self.webhooks.get_mut(&webhook_id) {
            outage.open = true;
        }
    }

    /// Forgets a webhook that nothing is sent to any more.
    pub(super) fn forget(&mut self, webhook_id: i64) {
        self.webhooks.remove(&webhook_id);
    }

    /// Logs what is due. Returns what the audit log is to be told.
    pub(super) fn tell(&mut self, now: Instant) -> Vec<OutageChange> {
        self.lines(now).into_iter().for_each(Line::log);
        std::mem::take(&mut self.changes)
    }

    /// When to call [`Outages::lines`] next; `None` while nothing fails.
    pub(super) fn due(&self) -> Option<Instant> {
        let next = |outage: &Outage| {
            if outage.told { outage.steady_at() } else { Some(outage.quiet_until) }
        };
        self.webhooks.values().filter_map(next).chain(self.next_summary).min()
    }

    /// The lines that are due.
    fn lines(&mut self, now: Instant) -> Vec<Line> {
        if self.due().is_none_or(|due| now < due) {
            return Vec::new();
        }
        let mut lines = Vec::new();
        let mut webhooks = std::mem::take(&mut self.webhooks);
        webhooks.retain(|id, outage| {
            if outage.cost == Cost::default() {
                return now < outage.quiet_until;
            }
            if !outage.told && now < outage.quiet_until {
                return true;
            }
            let (webhook_id, topic) = (*id, outage.topic.clone());
            let steady = outage.steady_at().is_some_and(|at| now >= at);
            if let Some(accepted) = outage.accepted.filter(|_| steady) {
                let lasted = accepted.duration_since(outage.began);
                let cost = std::mem::take(&mut outage.cost);
                self.changes.push(cost.change(webhook_id, lasted));
                (outage.told, outage.quiet_until) = (false, now + SUMMARY_EVERY);
                let line = |left_out| Line::Recovered { webhook_id, topic, lasted, cost, left_out };
                lines.extend(self.allowed(now).map(line));
            } else if !outage.told {
                outage.told = true;
                let error = outage.error.clone();
                let reason = error.clone();
                self.changes.push(OutageChange { webhook_id, recovered: false, reason });
                let line = |left_out| Line::Failing { webhook_id, topic, error, left_out };
                lines.extend(self.allowed(now).map(line));
            }
            true
        });
        self.webhooks = webhooks;
        lines.extend(self.summary(now));
        lines
    }

    fn summary(&mut self, now: Instant) -> Option<Line> {
        let failing = self.webhooks.iter().filter(|(_, outage)| outage.told);
        let every =
            if failing.clone().all(|(_, outage)| outage.open) { SUMMARY_OPEN_EVERY } else { SUMMARY_EVERY };
        let mut webhook_ids: Vec<i64> = failing.map(|(id, _)| *id).collect();
        let Some(next) = self.next_summary.filter(|_| !webhook_ids.is_empty()) else {
            self.summed_up = (!webhook_ids.is_empty()).then_some(now);
            self.next_summary = (!webhook_ids.is_empty()).then(|| now + every);
            self.since_summary = Cost::default();
            return None;
        };
        if now < next {
            return None;
        }
        self.next_summary = Some(now + every);
        let lasted = now.duration_since(self.summed_up.replace(now).unwrap_or(now));
        let cost = std::mem::take(&mut self.since_summary);
        let webhooks = webhook_ids.len();
        webhook_ids.sort_unstable();
        webhook_ids.truncate(NAMED_MAX);
        Some(Line::Summary { webhook_ids, webhooks, lasted, cost })
    }

    /// Whether there may be one more line about a single webhook: how many were left out before it.
    fn allowed(&mut self, now: Instant) -> Option<u64> {
        if self.window.is_none_or(|since| now >= since + SUMMARY_EVERY) {
            self.window = Some(now);
            self.lines = 0;
        }
        if self.lines >= LINES_MAX {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl Line {
    fn log(self) {
        match self {
            Self::Failing { webhook_id, topic, error, left_out } => {
                warn!(webhook_id, topic, error, left_out, "a webhook fails");
            }
            Self::Recovered { webhook_id, topic, lasted, cost, left_out } => {
                let Cost { failed_attempts, dead_letters, halted_lanes } = cost;
                info!(
                    webhook_id,
                    topic,
                    lasted_ms = u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX),
                    failed_attempts,
                    dead_letters,
                    halted_lanes,
                    left_out,
                    "a webhook has recovered"
                );
            }
            Self::Summary { webhook_ids, webhooks, lasted, cost } => {
                let Cost { failed_attempts, dead_letters, halted_lanes } = cost;
                warn!(
                    webhooks,
                    ?webhook_ids,
                    failed_attempts,
                    dead_letters,
                    halted_lanes,
                    "webhooks fail; these are the last {} s",
                    lasted.as_secs()
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Calls `lines` as the engine does, until `end`.
    fn until(outages: &mut Outages, end: Instant) -> Vec<Line> {
        let mut lines = Vec::new();
        while let Some(due) = outages.due().filter(|due| *due <= end) {
            lines.extend(outages.lines(due));
        }
        lines
    }

    fn failed(outages: &mut Outages, webhook_id: i64, loss: Loss, now: Instant) {
        outages.failed(webhook_id, "orders", "503", loss, now);
    }

    fn failing(webhook_id: i64) -> Line {
        Line::Failing { webhook_id, topic: "orders".to_owned(), error: "503".to_owned(), left_out: 0 }
    }

    fn recovered(seconds: u32, cost: [u64; 3]) -> Line {
        let [failed_attempts, dead_letters, halted_lanes] = cost;
        Line::Recovered {
            webhook_id: 1,
            topic: "orders".to_owned(),
            lasted: SECOND * seconds,
            cost: Cost { failed_attempts, dead_letters, halted_lanes },
            left_out: 0,
        }
    }

    #[test]
    fn an_outage_of_many_messages_is_a_line_at_each_end_and_a_summary_each_ten_seconds() {
        let start = Instant::now();
        let mut outages = Outages::default();
        let mut lines = Vec::new();
        for tenth in 0..250_u32 {
            let now = start + SECOND / 10 * tenth;
            let loss = if tenth % 2 == 0 { Loss::DeadLetter } else { Loss::None };
            failed(&mut outages, 1, loss, now);
            lines.extend(until(&mut outages, now));
        }
        outages.accepted(1, start + SECOND * 25);
        lines.extend(until(&mut outages, start + SECOND * 60));
        let summary = |failed_attempts| Line::Summary {
            webhook_ids: vec![1],
            webhooks: 1,
            lasted: SECOND * 10,
            cost: Cost { failed_attempts, dead_letters: failed_attempts / 2, halted_lanes: 0 },
        };
        assert_eq!(lines, [failing(1), summary(100), summary(100), recovered(25, [250, 125, 0])]);
        assert_eq!(outages.due(), None, "it is forgotten");
    }

    #[test]
    fn one_request_that_is_accepted_among_others_that_fail_is_no_recovery() {
        let start = Instant::now();
        let mut outages = Outages::default();
        let mut lines = Vec::new();
        for half in 0..=10_u32 {
            let now = start + SECOND / 2 * half;
            failed(&mut outages, 1, if half == 10 { Loss::Halted } else { Loss::None }, now);
            lines.extend(until(&mut outages, now));
            outages.accepted(1, now);
        }
        assert_eq!(lines, [failing(1)]);
        assert_eq!(until(&mut outages, start + SECOND * 6), [recovered(5, [11, 0, 1])]);
    }

    #[test]
    fn a_webhook_that_fails_now_and_then_is_two_lines_in_ten_seconds_and_nothing_is_lost() {
        let start = Instant::now();
        let mut outages = Outages::default();
        let mut lines = Vec::new();
        for second in (0..20_u32).step_by(2) {
            let now = start + SECOND * second;
            failed(&mut outages, 1, Loss::DeadLetter, now);
            lines.extend(until(&mut outages, now));
            outages.accepted(1, now + SECOND / 10);
            lines.extend(until(&mut outages, now + SECOND));
        }
        lines.extend(until(&mut outages, start + SECOND * 60));
        assert!(lines.len() <= 6, "{lines:?}");
        let told: u64 = lines
            .iter()
            .map(|line| match line {
                Line::Recovered { cost, .. } => cost.dead_letters,
                _ => 0,
            })
            .sum();
        assert_eq!(told, 10);
    }

    #[test]
    fn many_webhooks_that_fail_at_once_are_some_lines_and_a_count() {
        let start = Instant::now();
        let mut outages = Outages::default();
        (1..=1000).for_each(|id| failed(&mut outages, id, Loss::None, start));
        assert_eq!(until(&mut outages, start).len(), LINES_MAX as usize);
        let lines = until(&mut outages, start + SECOND * 10);
        let [Line::Summary { webhook_ids, webhooks, cost, .. }] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!((webhook_ids.len(), *webhooks, cost.failed_attempts), (NAMED_MAX, 1000, 0));
        failed(&mut outages, 1001, Loss::None, start + SECOND * 11);
        let lines = until(&mut outages, start + SECOND * 11);
        let [Line::Failing { left_out, .. }] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!(*left_out, 980);
    }
}
