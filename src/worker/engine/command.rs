//! What the engine asks its driver to do.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    domain::{batch::Batching, change::OutageChange, lane::LaneKey, message::Message},
    store::{
        ActivityRow, AttemptRow, HeldLane, ProbeEnd, ProbeTurn, ProbeWant, ReadLimits, Room, Settlement,
        ShareAsk, Want,
    },
};

/// What the driver is to do. A command that is answered names the [`Event`](super::event::Event)
/// that answers it.
#[derive(Debug)]
pub enum Command {
    /// Read the webhooks that have changed; answered by `Webhooks`.
    LoadWebhooks {
        /// Whether to look at all webhooks. A change that was committed late is found only then.
        all: bool,
    },
    /// Ask which webhooks have due lanes; answered by `DueWebhooks`.
    ListDueWebhooks {
        /// The webhook to begin after; `None`: begin at the first one.
        after: Option<i64>,
        /// Whether lanes count whose holder is gone.
        sweep: bool,
    },
    /// Claim due lanes; answered by `Claimed`.
    Claim {
        /// A token that was never used before.
        token: i64,
        /// Which webhooks, how many lanes of each, and where to begin.
        wants: Vec<Want>,
        /// Whether to claim also lanes whose holder is gone.
        sweep: bool,
        /// How much to read of them.
        limits: ReadLimits,
    },
    /// Claim the lanes of named messages; answered by `MessagesClaimed`.
    ClaimMessages {
        /// A token that was never used before.
        token: i64,
        /// The messages, by rising id.
        message_ids: Vec<i64>,
        /// What there is room for.
        room: Room,
        /// How much to read of them.
        limits: ReadLimits,
    },
    /// Read what held lanes owe; answered by `Read`.
    Read {
        /// The lanes.
        lanes: Vec<HeldLane>,
        /// How much to read of them.
        limits: ReadLimits,
    },
    /// Read which messages were published lately; answered by `TailRead`.
    ReadTail {
        /// All messages above this id; `None`: only the newest one.
        after: Option<i64>,
        /// And these ids.
        missing: Vec<i64>,
    },
    /// Write outcomes, then remove idle lanes; answered by `Settled`.
    Settle {
        /// The outcomes.
        settlement: Arc<Settlement>,
        /// Whether they could not be written before.
        again: bool,
        /// The lanes to remove, in primary-key order.
        remove: Vec<HeldLane>,
    },
    /// Append to the attempt log; answered by `AttemptsLogged`.
    LogAttempts {
        /// The rows.
        rows: Vec<AttemptRow>,
        /// How many statements may fail because of a row.
        refusals_max: usize,
    },
    /// Write the activity; answered by `ActivityWritten`.
    WriteActivity {
        /// How many seconds it covers.
        seconds: i32,
        /// The rows.
        rows: Vec<ActivityRow>,
    },
    /// Ask for shares of the limits of webhooks; answered by `Shares`.
    ShareLimits {
        /// The webhooks.
        asks: Vec<ShareAsk>,
        /// The webhooks whose shares are given back.
        done: Vec<i64>,
    },
    /// From now on start at most this many requests a second to a webhook. Nothing answers.
    SetRate {
        /// The webhook.
        webhook_id: i64,
        /// The rate.
        per_second: f64,
    },
    /// Record outages in the audit log. Nothing answers.
    RecordOutages(Vec<OutageChange>),
    /// Suppress publishers' notifications. Nothing answers.
    SuppressNotifications {
        /// Whether to tell the other workers at once.
        announce: bool,
    },
    /// Disable a webhook whose receiver is gone; answered only if it fails, by `NotDisabled`. Then the
    /// next read of the webhooks brings it back.
    Disable {
        /// The webhook.
        webhook_id: i64,
    },
    /// Tell all workers to send nothing to a webhook for a while. Nothing answers.
    Hold {
        /// The webhook.
        webhook_id: i64,
        /// For how long.
        hold: Duration,
    },
    /// Disable a webhook that no request can be made for; answered only if it fails, by
    /// `NotDisabled`.
    DisableUnusable(Unusable),
    /// Ask that a breaker be opened; answered by `BreakerAsked`.
    OpenBreaker {
        /// The webhook.
        webhook_id: i64,
        /// The epoch in which its requests have failed.
        epoch: i64,
        /// Why they fail.
        reason: String,
    },
    /// Say that requests to these webhooks are accepted, since another worker suspects them. Nothing
    /// answers.
    NoteSuccess(Vec<i64>),
    /// Take the turn to probe webhooks, with a lane of each; answered by `ProbesTaken`.
    TakeProbes {
        /// A token that was never used before.
        token: i64,
        /// How many, and for how long.
        want: ProbeWant,
        /// How much to read of the lanes.
        limits: ReadLimits,
    },
    /// Give a turn back; answered by `ProbeTurnEnded`.
    EndProbe {
        /// The turn.
        turn: ProbeTurn,
        /// Whether the breaker closes.
        end: ProbeEnd,
    },
    /// Make lanes due that wait for the end of a back-off; answered by `LanesWoken`.
    WakeLanes {
        /// The webhook.
        webhook_id: i64,
    },
    /// A webhook was deleted: what it was owed is to be deleted soon. Nothing answers.
    DeleteOrphans,
    /// Send messages of a lane, one request after another; answered by `Attempt` for each request,
    /// then by `BurstEnded`.
    StartBurst(Burst),
    /// The lane's burst must start no further request.
    StopBurst(LaneKey),
    /// The lane's burst is to end before its next request, but sends at least one.
    YieldBurst(LaneKey),
    /// Bursts of this webhook must start no further request.
    StopWebhook(i64),
}

/// The messages of one lane that are sent one after another.
#[derive(Debug)]
pub struct Burst {
    /// The lane.
    pub key: LaneKey,
    /// The messages, by rising id.
    pub messages: Vec<Message>,
    /// How they are put into requests.
    pub batching: Batching,
    /// Failed attempts of the first request.
    pub failures: u32,
    /// If it is a probe: it makes one request, which must have ended by then.
    pub probe_until: Option<Instant>,
}

/// A webhook that no request can be made for: its row was written in SQL, past the API's checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// The webhook.
    pub webhook_id: i64,
    /// Which version of the row was read (its `xmin`).
    pub version: String,
    /// Why, in one line. It shows no secret.
    pub reason: String,
}
