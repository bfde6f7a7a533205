//! All metrics: each is described once, here.
//!
//! `docs/operations.md` shows the same table; a test compares the two.

use std::fmt;

use self::{
    Kind::{Counter, Gauge, Histogram},
    Source::{Database, Process},
};

/// How the value of a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// It only rises. It begins at 0 with each process.
    Counter,
    /// It rises and falls.
    Gauge,
    /// It counts values by size: how many are at most this large.
    Histogram(&'static [f64]),
}

/// What a value is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// This process.
    Process,
    /// The database: the value is the same in all processes.
    Database,
}

/// What a value is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// Seconds.
    Seconds,
    /// A part of a whole, 0 to 1.
    Ratio,
}

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// How its value behaves.
    pub kind: Kind,
    /// What it is measured in.
    pub unit: Unit,
    /// Its labels. `webhook` may be left out: see `metrics.per_webhook`.
    pub labels: &'static [&'static str],
    /// What it is about.
    pub source: Source,
    /// What it means.
    pub help: &'static str,
}

/// The names of topics and webhooks, and words of which there are few. Never a key, a URL or an id.
pub const LABELS: [&str; 12] = [
    "topic", "webhook", "result", "outcome", "error", "reused", "source", "state", "kind", "table", "piece",
    "version",
];

const REQUEST: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0];
const LATENCY: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0,
    21_600.0, 86_400.0,
];
const STATEMENT: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
const BATCH: &[f64] = &[1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0];

/// Declares the metrics, and a list of all.
macro_rules! metrics {
    ($($constant:ident = $name:literal $kind:expr, $unit:ident, [$($label:literal),*], $source:ident, $help:literal;)+) => {
        $(
            pub(super) const $constant: Metric = Metric {
                name: concat!("pgtopic_", $name),
                kind: $kind,
                unit: Unit::$unit,
                labels: &[$($label),*],
                source: $source,
                help: $help,
            };
        )+
        /// All metrics.
        pub const ALL: &[Metric] = &[$($constant),+];
    };
}

metrics! {
    PUBLISH_REQUESTS = "publish_requests_total" Counter, Count, ["topic", "result"], Process,
        "Requests to publish over HTTP, by result: published, repeated, refused or failed. Topic is empty if the topic is not known.";
    MESSAGES_INSERTED = "messages_inserted_total" Counter, Count, [], Database,
        "Rows that were inserted into messages, those of rolled back transactions too, as PostgreSQL counts them.";
    ATTEMPTS = "attempts_total" Counter, Count, ["topic", "webhook", "outcome", "error"], Process,
        "Requests to webhooks that have ended, by outcome (accepted, failed, gone) and kind of error.";
    DELIVERIES_SETTLED = "deliveries_settled_total" Counter, Count, ["topic", "webhook", "result"], Process,
        "Deliveries whose end this worker has written: delivered, or the reason of the dead letter.";
    REQUEST_DURATION = "request_duration_seconds" Histogram(REQUEST), Seconds, ["topic", "outcome"], Process,
        "How long requests to webhooks took, from connecting to the end of the answer.";
    DELIVERY_LATENCY = "delivery_latency_seconds" Histogram(LATENCY), Seconds, ["topic"], Process,
        "How long after its publication each delivery was accepted.";
    CONNECTIONS = "connections_total" Counter, Count, ["reused"], Process,
        "Requests to webhooks by connection: a kept one (reused=true) or a new one.";
    DELIVERIES_OWED = "deliveries_owed" Gauge, Count, ["topic", "webhook"], Database,
        "Deliveries that are owed, 10000 a webhook at most.";
    OLDEST_OWED_AGE = "oldest_owed_age_seconds" Gauge, Seconds, ["topic", "webhook"], Database,
        "How long ago the oldest message that is owed was published; 0 if none is owed.";
    LANES = "lanes" Gauge, Count, ["topic", "webhook", "state"], Database,
        "Lanes by state: ready, claimed, waiting or halted, 10000 a webhook at most.";
    DEAD_LETTERS = "dead_letters" Gauge, Count, ["topic", "webhook"], Database,
        "Dead letters, 10000 a webhook at most, without canceled and superseded ones.";
    WEBHOOK_STATE = "webhook_state" Gauge, Count, ["topic", "webhook", "state"], Database,
        "How many webhooks are in this state: disabled, paused, starting, open, holding, failing or active. A state of none is left out.";
    CLAIM_DURATION = "claim_duration_seconds" Histogram(STATEMENT), Seconds, [], Process,
        "How long statements took that claim lanes.";
    SETTLE_DURATION = "settle_duration_seconds" Histogram(STATEMENT), Seconds, [], Process,
        "How long it took to write the outcomes that had gathered.";
    SETTLE_BATCH_SIZE = "settle_batch_size" Histogram(BATCH), Count, [], Process,
        "How many outcomes were written at once.";
    WAKEUPS = "wakeups_total" Counter, Count, ["source"], Process,
        "Statements that look for what is to be sent, by what led to them: notification, poll, sweep or tail.";
    TAKEOVERS = "takeovers_total" Counter, Count, [], Process,
        "Workers that were dead or hung, whose lanes this worker has freed.";
    STALE_SETTLES = "stale_settles_total" Counter, Count, [], Process,
        "Claims whose outcomes were not written: the lane was no longer this worker's.";
    SLOTS = "slots" Gauge, Count, [], Process,
        "How many lanes this worker may have in flight.";
    SLOTS_IN_USE = "slots_in_use" Gauge, Count, [], Process,
        "How many lanes this worker has in flight.";
    WORKERS = "workers" Gauge, Count, ["state"], Database,
        "Workers by state: live, stale or stopping.";
    JOBS = "jobs" Gauge, Count, ["kind", "state"], Database,
        "Jobs that have not ended, by kind and state. None is left out.";
    POOL_CONNECTIONS = "pool_connections" Gauge, Count, ["state"], Process,
        "Connections to the database in the pools of this process: in_use or idle.";
    NOTIFICATION_QUEUE_USAGE = "notification_queue_usage_ratio" Gauge, Ratio, [], Database,
        "How full the notification queue of the server is.";
    OLDEST_SNAPSHOT_AGE = "oldest_snapshot_age_seconds" Gauge, Seconds, [], Database,
        "How long the oldest transaction of this database has run that holds back vacuum.";
    OLDEST_PUBLISHER_AGE = "oldest_publisher_age_seconds" Gauge, Seconds, [], Database,
        "How long the oldest transaction has run that holds a partition.";
    TABLE_DEAD_TUPLES = "table_dead_tuples" Gauge, Count, ["table"], Database,
        "Dead rows of the tables that change all the time, as PostgreSQL estimates them.";
    BACKGROUND_RUN_AGE = "background_run_age_seconds" Gauge, Seconds, ["piece", "result"], Database,
        "How long ago each piece of background work ran last, and whether that run is done or failed.";
    LOG_LINES_DROPPED = "log_lines_dropped_total" Counter, Count, [], Process,
        "Lines of the log that were lost: standard error did not take them.";
    BUILD_INFO = "build_info" Gauge, Count, ["version"], Process,
        "Always 1. The label is the version of pgtopic.";
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Counter => "counter",
            Gauge => "gauge",
            Histogram(_) => "histogram",
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Process => "process",
            Database => "database",
        })
    }
}
