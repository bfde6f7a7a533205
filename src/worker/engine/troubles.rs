//! Statements that fail: how long to wait before the next try, and what the log says.
//!
//! Each kind of statement counts for itself. So the wait of one that fails grows, however well the
//! others do.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::{super::tuning::FAILED_WAIT, failure::Failure};
use crate::telemetry::LogThrottle;

/// A kind of statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    LoadWebhooks,
    ListDueWebhooks,
    Claim,
    ClaimMessages,
    Read,
    ReadTail,
    Settle,
    RemoveIdle,
    ShareLimits,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::LoadWebhooks,
        Self::ListDueWebhooks,
        Self::Claim,
        Self::ClaimMessages,
        Self::Read,
        Self::ReadTail,
        Self::Settle,
        Self::RemoveIdle,
        Self::ShareLimits,
    ];

    /// What is said to have failed.
    fn text(self) -> &'static str {
        match self {
            Self::LoadWebhooks => "reading webhooks",
            Self::ListDueWebhooks => "listing webhooks with due lanes",
            Self::Claim | Self::ClaimMessages => "claim",
            Self::Read => "reading lanes",
            Self::ReadTail => "reading what is new",
            Self::Settle => "settle",
            Self::RemoveIdle => "removing idle lanes",
            Self::ShareLimits => "sharing limits",
        }
    }
}

/// The statements that fail.
#[derive(Debug)]
pub(super) struct Troubles {
    /// How often each kind has failed in a row.
    failed: [u32; Kind::ALL.len()],
    /// The latest failure, for the worker's row.
    latest: Option<String>,
    said: LogThrottle,
    /// Whether to log it when all succeed again.
    tell_recovery: bool,
}

impl Troubles {
    pub(super) fn new() -> Self {
        Self { failed: [0; Kind::ALL.len()], latest: None, said: LogThrottle::new(), tell_recovery: false }
    }

    /// A statement has failed. Returns how long to wait before the next one of its kind: longer
    /// each time. Logs the first failure in a row, but not too often.
    pub(super) fn failed(&mut self, kind: Kind, failure: &Failure, now: Instant) -> Duration {
        let failed = &mut self.failed[kind as usize];
        *failed = failed.saturating_add(1);
        let [first, longest] = FAILED_WAIT;
        let wait = first.saturating_mul(1 << (*failed - 1).min(16)).min(longest);
        if *failed == 1
            && let Some(left_out) = self.said.say(now)
        {
            warn!(error = failure.text, left_out, "{} failed; trying again", kind.text());
            self.tell_recovery = true;
        }
        self.latest = Some(format!("{} failed: {failure}", kind.text()));
        wait
    }

    /// A statement has succeeded.
    pub(super) fn succeeded(&mut self, kind: Kind) {
        if std::mem::take(&mut self.failed[kind as usize]) == 0 || self.failed.iter().any(|count| *count > 0)
        {
            return;
        }
        self.latest = None;
        if std::mem::take(&mut self.tell_recovery) {
            info!("statements succeed again");
        }
    }

    /// Which statement fails, in words; `None` if all succeed.
    pub(super) fn text(&self) -> Option<&str> {
        self.latest.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::failure::Effect, *};

    #[test]
    fn the_wait_of_one_kind_grows_while_others_succeed() {
        let (mut troubles, now) = (Troubles::new(), Instant::now());
        let failure = Failure { effect: Effect::Nothing, text: "locked".to_owned() };
        let mut waits = Vec::new();
        for _ in 0..6 {
            waits.push(troubles.failed(Kind::Settle, &failure, now).as_millis());
            troubles.succeeded(Kind::Claim);
            troubles.succeeded(Kind::Read);
        }
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 1_600]);
        assert_eq!(troubles.text(), Some("settle failed: locked"));
        assert_eq!(troubles.failed(Kind::Claim, &failure, now).as_millis(), 100);
        troubles.succeeded(Kind::Settle);
        assert!(troubles.text().is_some(), "claims still fail");
        troubles.succeeded(Kind::Claim);
        assert_eq!(troubles.text(), None);
        assert_eq!(troubles.failed(Kind::Settle, &failure, now).as_millis(), 100, "it begins anew");
    }
}
