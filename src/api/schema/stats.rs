//! The bodies and queries of stats.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{HealthState, LaneCounts};
use crate::domain::{latency::quantile, stats};

/// Which figures to give.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StatsQuery {
    /// Only those of this topic: its id or its name.
    #[serde(default)]
    pub(crate) topic: Option<String>,
}

/// How long after its publication a delivery was accepted, in milliseconds; null if none was. At
/// most 41 % off.
#[derive(Serialize, utoipa::ToSchema)]
struct Latency {
    /// Half of all deliveries were quicker.
    p50: Option<f64>,
    /// 99 % of all deliveries were quicker.
    p99: Option<f64>,
}

/// Figures of the last minute.
#[derive(Serialize, utoipa::ToSchema)]
struct Figures {
    /// How many deliveries are owed. Each webhook counts with 10000 at most.
    owed: i64,
    /// Whether there are more.
    owed_capped: bool,
    /// When the oldest message that is owed was published. If `owed_capped`, it may be older.
    oldest_owed_at: Option<Timestamp>,
    /// How many lanes are in flight.
    in_flight: i64,
    /// The lanes by state.
    lanes: LaneCounts,
    /// How many dead letters there are. Each webhook counts with 10000 at most.
    dead_letters: i64,
    /// How many messages are published a second. Above 2000 a minute it is an estimate. Null for a
    /// webhook with a filter or types: the figure is that of the topic, and nobody counts how much
    /// of it such a webhook gets.
    published_per_second: Option<f64>,
    /// How many deliveries are accepted a second.
    delivered_per_second: f64,
    /// How many requests fail a second.
    failed_per_second: f64,
    /// How long deliveries take.
    latency_ms: Latency,
}

/// How many a second, of so many in the window.
fn per_second(count: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let rate = count as f64 / stats::WINDOW_SECONDS as f64;
    rate
}

impl From<stats::Figures> for Figures {
    fn from(figures: stats::Figures) -> Self {
        let stats::Figures { backlog, in_flight, published_per_second, accepted, failed, latency } = figures;
        Self {
            owed: backlog.owed,
            owed_capped: backlog.owed_capped,
            oldest_owed_at: backlog.oldest_owed_at,
            in_flight,
            lanes: backlog.lanes.into(),
            dead_letters: backlog.dead_letters,
            published_per_second,
            delivered_per_second: per_second(accepted),
            failed_per_second: per_second(failed),
            latency_ms: Latency { p50: quantile(&latency, 0.5), p99: quantile(&latency, 0.99) },
        }
    }
}

/// Figures of a topic.
#[derive(Serialize, utoipa::ToSchema)]
struct TopicFigures {
    /// Its name.
    topic: String,
    #[serde(flatten)]
    figures: Figures,
}

/// Figures of a webhook.
#[derive(Serialize, utoipa::ToSchema)]
struct WebhookFigures {
    /// Its id.
    webhook_id: i64,
    /// Its name.
    webhook: String,
    /// Its topic's name.
    topic: String,
    /// Its state.
    state: HealthState,
    #[serde(flatten)]
    figures: Figures,
}

/// What goes through.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Stats {
    /// When a worker looked at everything last; null if none has yet. Then all counts are 0.
    sampled_at: Option<Timestamp>,
    /// The time that rates and latencies are about, in seconds.
    window_seconds: i64,
    /// All of it, or all of the topic that was asked for.
    totals: Figures,
    /// By topic, most owed first; at most 1000.
    topics: Vec<TopicFigures>,
    /// By webhook, most owed first; at most 1000.
    webhooks: Vec<WebhookFigures>,
    /// Whether topics or webhooks were left out.
    truncated: bool,
}

impl From<stats::Stats> for Stats {
    fn from(stats: stats::Stats) -> Self {
        let stats::Stats { sampled_at, totals, topics, webhooks, truncated } = stats;
        let topic = |stats::TopicFigures { topic, figures }| TopicFigures { topic, figures: figures.into() };
        let webhook = |stats::WebhookFigures { webhook_id, webhook, topic, state, figures }| WebhookFigures {
            webhook_id,
            webhook,
            topic,
            state: state.into(),
            figures: figures.into(),
        };
        Self {
            sampled_at,
            window_seconds: stats::WINDOW_SECONDS,
            totals: totals.into(),
            topics: topics.into_iter().map(topic).collect(),
            webhooks: webhooks.into_iter().map(webhook).collect(),
            truncated,
        }
    }
}
