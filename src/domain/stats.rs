//! What goes through: figures of the last minute, in all, by topic and by webhook.

use jiff::Timestamp;

use super::health::{Backlog, HealthState};

/// The time that rates are about, in seconds.
pub const WINDOW_SECONDS: i64 = 60;

/// The most rows of topics and of webhooks.
pub const STATS_ROWS_MAX: usize = 1000;

/// Figures of a webhook, of a topic or of all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// What is owed.
    pub backlog: Backlog,
    /// How many lanes are in flight.
    pub in_flight: i64,
    /// How many messages are published a second; `None` if that is not known: for a webhook with a
    /// filter or types.
    pub published_per_second: Option<f64>,
    /// How many deliveries were accepted in the window.
    pub accepted: i64,
    /// How many requests failed in the window.
    pub failed: i64,
    /// How long after its publication each delivery was accepted: see [`super::latency`].
    pub latency: Vec<i64>,
}

/// Figures of a topic.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicFigures {
    /// Its name.
    pub topic: String,
    /// Its figures.
    pub figures: Figures,
}

/// Figures of a webhook.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookFigures {
    /// Its id.
    pub webhook_id: i64,
    /// Its name.
    pub webhook: String,
    /// Its topic's name.
    pub topic: String,
    /// Its state.
    pub state: HealthState,
    /// Its figures.
    pub figures: Figures,
}

/// All figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Stats {
    /// When everything was looked at last; `None` if no worker has led yet.
    pub sampled_at: Option<Timestamp>,
    /// Of all topics, or of the one that was asked for.
    pub totals: Figures,
    /// By topic, most owed first.
    pub topics: Vec<TopicFigures>,
    /// By webhook, most owed first.
    pub webhooks: Vec<WebhookFigures>,
    /// Whether topics or webhooks were left out.
    pub truncated: bool,
}
