//! The health of a webhook.

use jiff::Timestamp;
use serde::Serialize;

use super::ErrorClass;
use crate::domain::health;

words! {
    /// The state of a webhook. If several fit, the first one counts.
    #[serde(rename_all = "lowercase")]
    HealthState of health::HealthState {
        /// It was disabled: nothing is sent until it is enabled.
        Disabled,
        /// It was paused: nothing is sent until it is resumed.
        Paused,
        /// Its backlog is being filled. Nothing is sent yet.
        Starting,
        /// Its receiver has asked for nothing to be sent until `hold_until`.
        Holding,
        /// Every request fails.
        Failing,
        /// Requests are accepted, or there were none.
        Active,
    }
}

/// How many lanes are in each state.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct LaneCounts {
    /// They wait for a worker.
    ready: i64,
    /// A worker holds them.
    claimed: i64,
    /// Their head failed, and is tried again later.
    waiting: i64,
    /// They wait for an operator.
    halted: i64,
}

impl From<health::LaneCounts> for LaneCounts {
    fn from(health::LaneCounts { ready, claimed, waiting, halted }: health::LaneCounts) -> Self {
        Self { ready, claimed, waiting, halted }
    }
}

/// The state of a circuit breaker.
#[derive(Clone, Copy, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum BreakerState {
    /// Requests are sent.
    Closed,
}

/// The circuit breaker of a webhook. There is none yet: it is always closed.
#[derive(Serialize, utoipa::ToSchema)]
struct Breaker {
    /// Its state.
    state: BreakerState,
    /// When it was opened.
    opened_at: Option<Timestamp>,
    /// When it sends the next probe.
    next_probe_at: Option<Timestamp>,
}

/// The health of a webhook. Counts are those of the last sample (`sampled_at`), which a worker
/// takes every ten seconds; of a single webhook they are counted at once. They are null before the
/// first sample.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Health {
    /// Its state.
    state: HealthState,
    /// Since when it is in this state; null if that is not known.
    since: Option<Timestamp>,
    /// Why it is in this state.
    reason: Option<String>,
    /// Since when every request has failed; null if the last one was accepted.
    failing_since: Option<Timestamp>,
    /// When a request was accepted last.
    last_success_at: Option<Timestamp>,
    /// When a request failed last.
    last_failure_at: Option<Timestamp>,
    /// The HTTP status that was answered then; null if no answer came.
    last_status_code: Option<i16>,
    /// How it failed.
    last_error_class: Option<ErrorClass>,
    /// Why it failed.
    last_error: Option<String>,
    /// How many deliveries are owed. Exact up to 10000.
    owed: Option<i64>,
    /// Whether there are more than `owed` says. At most 10000 lanes are looked at.
    owed_capped: Option<bool>,
    /// When the oldest message that is owed was published. If `owed_capped`, it may be older.
    oldest_owed_at: Option<Timestamp>,
    /// How many lanes are in flight, as the workers said every ten seconds.
    in_flight: i64,
    /// The lanes by state.
    lanes: Option<LaneCounts>,
    /// How many dead letters there are, without those that were canceled or superseded. Exact up
    /// to 10000.
    dead_letters: Option<i64>,
    /// Whether there are more than `dead_letters` says.
    dead_letters_capped: Option<bool>,
    /// The circuit breaker.
    breaker: Breaker,
    /// Until when the receiver has asked for nothing to be sent.
    hold_until: Option<Timestamp>,
    /// The job that fills its backlog.
    backfill_job: Option<i64>,
    /// When the counts were taken.
    sampled_at: Option<Timestamp>,
}

impl From<health::Health> for Health {
    fn from(health: health::Health) -> Self {
        let health::Health {
            state,
            since,
            reason,
            last,
            backlog,
            in_flight,
            hold_until,
            backfill_job,
            sampled_at,
        } = health;
        let health::LastRequests {
            failing_since,
            last_success_at,
            last_failure_at,
            last_status_code,
            last_error_class,
            last_error,
        } = last;
        Self {
            state: state.into(),
            since,
            reason,
            failing_since,
            last_success_at,
            last_failure_at,
            last_status_code,
            last_error_class: last_error_class.map(Into::into),
            last_error,
            owed: backlog.map(|backlog| backlog.owed),
            owed_capped: backlog.map(|backlog| backlog.owed_capped),
            oldest_owed_at: backlog.and_then(|backlog| backlog.oldest_owed_at),
            in_flight,
            lanes: backlog.map(|backlog| backlog.lanes.into()),
            dead_letters: backlog.map(|backlog| backlog.dead_letters),
            dead_letters_capped: backlog.map(|backlog| backlog.dead_letters_capped),
            breaker: Breaker { state: BreakerState::Closed, opened_at: None, next_probe_at: None },
            hold_until,
            backfill_job,
            sampled_at,
        }
    }
}
