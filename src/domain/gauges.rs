//! What is told of the database at a scrape.

use jiff::Timestamp;

use super::{stats::WebhookFigures, words::stored_words, worker::WorkerState};

stored_words! {
    /// A number of the database, of the server, or of one of a few things.
    pub enum GaugeWord {
        /// How many rows were inserted into `messages`.
        MessagesInserted = "messages_inserted",
        /// How full the notification queue is, 0 to 1.
        NotificationQueue = "notification_queue",
        /// How many seconds the oldest transaction has run that holds back vacuum.
        OldestSnapshot = "oldest_snapshot",
        /// How many seconds the oldest transaction has run that holds a partition.
        OldestPublisher = "oldest_publisher",
        /// How many jobs of a kind are in a state.
        Jobs = "jobs",
        /// How many dead rows a table has.
        DeadTuples = "dead_tuples",
        /// How many seconds ago a piece of background work ran.
        BackgroundRun = "background_run",
    }
}

/// One of these numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct GaugeValue {
    /// What it is.
    pub word: GaugeWord,
    /// Of what it is: for example a kind and a state. There are few of them.
    pub of: Vec<String>,
    /// The number.
    pub value: f64,
}

/// What is told of the database.
#[derive(Debug, Clone, PartialEq)]
pub struct Gauges {
    /// When it was read, by the clock of the database.
    pub read_at: Timestamp,
    /// The webhooks, as they were sampled last.
    pub webhooks: Vec<WebhookFigures>,
    /// The workers.
    pub workers: Vec<WorkerState>,
    /// The rest.
    pub values: Vec<GaugeValue>,
}
