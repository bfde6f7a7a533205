//! The health of a webhook: one word for operators, and what it is judged by.

use jiff::Timestamp;

use super::{attempt::ErrorClass, breaker::BreakerState, words::stored_words};

/// How many lanes of a webhook are looked at.
pub const LANES_SEEN_MAX: i64 = 10_000;

/// Up to how many deliveries and dead letters of a webhook are counted.
pub const COUNTED_MAX: i64 = 10_000;

stored_words! {
    /// The state of a webhook. If several fit, the first one counts.
    pub enum HealthState {
        /// It was disabled: nothing is sent until it is enabled.
        Disabled = "disabled",
        /// It was paused: nothing is sent until it is resumed.
        Paused = "paused",
        /// Its backlog is being filled. Nothing is sent yet.
        Starting = "starting",
        /// Its breaker is open: nothing is sent but probes, until one is answered.
        Open = "open",
        /// Its receiver has asked for nothing to be sent for a while.
        Holding = "holding",
        /// Every request fails.
        Failing = "failing",
        /// Requests are accepted, or there were none.
        Active = "active",
    }
}

/// How many lanes are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LaneCounts {
    /// They wait for a worker.
    pub ready: i64,
    /// A worker holds them.
    pub claimed: i64,
    /// Their head failed, and is tried again later.
    pub waiting: i64,
    /// They wait for an operator.
    pub halted: i64,
}

/// What a webhook is owed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many deliveries are owed.
    pub owed: i64,
    /// Whether there are more, or lanes that were not looked at.
    pub owed_capped: bool,
    /// When the oldest of them was published. If capped, it may be older.
    pub oldest_owed_at: Option<Timestamp>,
    /// The lanes by state.
    pub lanes: LaneCounts,
    /// How many dead letters there are.
    pub dead_letters: i64,
    /// Whether there are more.
    pub dead_letters_capped: bool,
}

impl Backlog {
    /// Adds what another webhook is owed.
    pub fn add(&mut self, other: &Self) {
        self.owed += other.owed;
        self.owed_capped |= other.owed_capped;
        self.oldest_owed_at = [self.oldest_owed_at, other.oldest_owed_at].into_iter().flatten().min();
        self.lanes.ready += other.lanes.ready;
        self.lanes.claimed += other.lanes.claimed;
        self.lanes.waiting += other.lanes.waiting;
        self.lanes.halted += other.lanes.halted;
        self.dead_letters += other.dead_letters;
        self.dead_letters_capped |= other.dead_letters_capped;
    }
}

/// What became of the last requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastRequests {
    /// Since when every request has failed; `None` if the last one was accepted.
    pub failing_since: Option<Timestamp>,
    /// When a request was accepted last.
    pub last_success_at: Option<Timestamp>,
    /// When a request failed last.
    pub last_failure_at: Option<Timestamp>,
    /// The status that was answered then.
    pub last_status_code: Option<i16>,
    /// How it failed.
    pub last_error_class: Option<ErrorClass>,
    /// Why, in words.
    pub last_error: Option<String>,
}

/// The circuit breaker of a webhook.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Breaker {
    /// Its state.
    pub state: BreakerState,
    /// When it opened; `None` while it is closed.
    pub opened_at: Option<Timestamp>,
    /// When the next probe is due; `None` while it is closed.
    pub next_probe_at: Option<Timestamp>,
}

/// The health of a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Its state.
    pub state: HealthState,
    /// Since when it is in this state, if that is known.
    pub since: Option<Timestamp>,
    /// Why it is in this state.
    pub reason: Option<String>,
    /// The last requests.
    pub last: LastRequests,
    /// What it is owed; `None` before anybody has looked.
    pub backlog: Option<Backlog>,
    /// Its circuit breaker.
    pub breaker: Breaker,
    /// How many lanes were in flight when the workers said so last.
    pub in_flight: i64,
    /// Until when its receiver has asked for nothing to be sent; `None` if that is over.
    pub hold_until: Option<Timestamp>,
    /// The job that fills its backlog.
    pub backfill_job: Option<i64>,
    /// When the backlog was counted.
    pub sampled_at: Option<Timestamp>,
}

/// What was said about a webhook.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Why it was disabled; `None` while it is enabled.
    pub disabled: Option<String>,
    /// Whether it is paused.
    pub paused: bool,
    /// Whether it is starting.
    pub starting: bool,
    /// Whether its receiver has asked for nothing to be sent.
    pub held: bool,
    /// When and why it was disabled or paused last, as the audit log says.
    pub since: Option<Timestamp>,
    /// The reason in the audit log.
    pub reason: Option<String>,
}

/// Judges: the state, since when, and why.
pub fn judge(
    said: Said,
    breaker: Breaker,
    last: &LastRequests,
) -> (HealthState, Option<Timestamp>, Option<String>) {
    if said.disabled.is_some() {
        (HealthState::Disabled, said.since, said.disabled)
    } else if said.paused {
        (HealthState::Paused, said.since, said.reason)
    } else if said.starting {
        (HealthState::Starting, None, None)
    } else if breaker.state != BreakerState::Closed {
        (HealthState::Open, breaker.opened_at, last.last_error.clone())
    } else if said.held {
        (HealthState::Holding, None, last.last_error.clone())
    } else if last.failing_since.is_some() {
        (HealthState::Failing, last.failing_since, last.last_error.clone())
    } else {
        (HealthState::Active, None, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_state_that_fits_counts() {
        let instant = Timestamp::UNIX_EPOCH;
        let failing = LastRequests {
            failing_since: Some(instant),
            last_error: Some("answered 503".to_owned()),
            ..LastRequests::default()
        };
        let mut said = Said {
            disabled: Some("gone".to_owned()),
            paused: true,
            starting: true,
            held: true,
            since: Some(instant),
            reason: Some("maintenance".to_owned()),
        };
        let open = Breaker { state: BreakerState::Open, opened_at: Some(instant), next_probe_at: None };
        let judged_with = |said: &Said, breaker, last| {
            let (state, since, reason) = judge(said.clone(), breaker, last);
            (state, since.is_some(), reason)
        };
        let judged = |said: &Said, last| judged_with(said, open, last);
        assert_eq!(judged(&said, &failing), (HealthState::Disabled, true, Some("gone".to_owned())));
        said.disabled = None;
        assert_eq!(judged(&said, &failing), (HealthState::Paused, true, Some("maintenance".to_owned())));
        said.paused = false;
        assert_eq!(judged(&said, &failing), (HealthState::Starting, false, None));
        said.starting = false;
        assert_eq!(judged(&said, &failing), (HealthState::Open, true, Some("answered 503".to_owned())));
        let judged = |said: &Said, last| judged_with(said, Breaker::default(), last);
        assert_eq!(judged(&said, &failing), (HealthState::Holding, false, Some("answered 503".to_owned())));
        said.held = false;
        assert_eq!(judged(&said, &failing), (HealthState::Failing, true, Some("answered 503".to_owned())));
        assert_eq!(judged(&said, &LastRequests::default()), (HealthState::Active, false, None));
    }
}
