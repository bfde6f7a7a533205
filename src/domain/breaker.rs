//! Circuit breakers: what the row of a webhook's breaker says, and what became of its changes.

use super::words::stored_words;

stored_words! {
    /// Whether a webhook's breaker may open.
    #[derive(Default)]
    pub enum BreakerPolicy {
        /// It opens if nothing but failures comes back, and closes when a probe is answered.
        #[default]
        Auto = "auto",
        /// It never opens.
        Off = "off",
    }
}

stored_words! {
    /// The state of a webhook's breaker.
    #[derive(Default)]
    pub enum BreakerState {
        /// All is sent.
        #[default]
        Closed = "closed",
        /// Nothing is sent but probes.
        Open = "open",
        /// It is open, and a probe is under way.
        HalfOpen = "half_open",
    }
}

/// A breaker as its row shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerRow {
    /// The webhook.
    pub webhook_id: i64,
    /// Whether it is open.
    pub open: bool,
    /// It rises each time the breaker opens or closes.
    pub epoch: i64,
    /// Whether a worker suspects the webhook, and wants to know whether others succeed.
    pub suspected: bool,
    /// Whether lanes are still to be made due after it has closed.
    pub wakes: bool,
}

/// What the database said to the question whether a breaker may open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// It is open. This epoch has begun.
    Opened(i64),
    /// The other workers were asked.
    Asked,
    /// Another worker's requests are accepted.
    Refused,
    /// The breaker is another one than the worker knew: it has this epoch.
    Outdated(i64),
    /// It never opens, or the webhook is gone.
    Off,
}

/// What became of a probe's turn that was given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnEnd {
    /// It was given back. The breaker is open.
    Ended,
    /// It was given back, and the webhook was disabled.
    Disabled,
    /// The breaker is closed. This epoch has begun.
    Closed(i64),
    /// It was not the worker's turn any more: nothing was written.
    Lost,
}

/// What a step that makes lanes due has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waking {
    /// Further lanes follow.
    More,
    /// This was the last step.
    Done,
    /// There is nothing to do, or another worker is at it.
    Nothing,
}
