//! Samples: how the leader takes them, and what is read from them.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::{LeaderStore, Store, error::StoreError, health::backlog, statement::sql};
use crate::domain::{
    breaker::BreakerState,
    health::{Breaker, COUNTED_MAX, LANES_SEEN_MAX, LastRequests, Said, judge},
    stats::{Figures, STATS_ROWS_MAX, Stats, TopicFigures, WebhookFigures},
    webhook::WebhookState,
};

/// After how long one step of sampling ends, in seconds.
const STEP_SECONDS: f64 = 0.25;

impl LeaderStore {
    /// Notes the traffic of the last minute. Returns how many webhooks had some.
    pub async fn sample_traffic(&self) -> Result<u64, StoreError> {
        let count: i64 = self.query_one(sql!("stats/sample_traffic"), &[&"leader"]).await?.try_get(0)?;
        Ok(count.unsigned_abs())
    }

    /// Notes what webhooks are owed: one step. `after`: where the last step ended; 0 begins.
    /// Returns how many webhooks it looked at, and where it ended; `None` if that was the end.
    pub async fn sample_backlogs(&self, after: i64) -> Result<(u64, Option<i64>), StoreError> {
        let parameters: super::Parameters<'_> = &[&after, &LANES_SEEN_MAX, &COUNTED_MAX, &STEP_SECONDS];
        let row = self.query_one(sql!("stats/sample_backlogs"), parameters).await?;
        Ok((row.try_get::<_, i64>(0)?.unsigned_abs(), row.try_get(1)?))
    }
}

impl Store {
    /// The figures of the last minute, of all topics or of one.
    pub async fn get_stats(&self, topic_id: Option<i64>) -> Result<Stats, StoreError> {
        let most = i64::try_from(STATS_ROWS_MAX + 1).unwrap_or(i64::MAX);
        let of_topic: super::Parameters<'_> = &[&topic_id];
        let most_rows: super::Parameters<'_> = &[&topic_id, &most];
        let (total, topics, webhooks) = tokio::try_join!(
            self.query_one(sql!("stats/sum_all"), of_topic),
            self.query(sql!("stats/list_topics"), most_rows),
            self.query(sql!("stats/list_webhooks"), most_rows),
        )?;
        Ok(Stats {
            sampled_at: total.try_get("sampled_at")?,
            totals: figures(&total)?,
            topics: topics.iter().take(STATS_ROWS_MAX).map(topic_figures).collect::<Result<_, _>>()?,
            webhooks: webhooks.iter().take(STATS_ROWS_MAX).map(webhook_figures).collect::<Result<_, _>>()?,
            truncated: topics.len() > STATS_ROWS_MAX || webhooks.len() > STATS_ROWS_MAX,
        })
    }
}

impl Store {
    /// The figures of all webhooks, as they were sampled last.
    pub(super) async fn list_webhook_figures(&self) -> Result<Vec<WebhookFigures>, StoreError> {
        let rows = self.query(sql!("stats/list_webhooks"), &[&None::<i64>, &i64::MAX]).await?;
        rows.iter().map(webhook_figures).collect()
    }
}

fn figures(row: &Row) -> Result<Figures, StoreError> {
    Ok(Figures {
        backlog: backlog(row)?,
        in_flight: row.try_get("in_flight")?,
        published_per_second: row.try_get("published_per_second")?,
        accepted: row.try_get("accepted")?,
        failed: row.try_get("failed")?,
        latency: row.try_get("latency")?,
    })
}

fn topic_figures(row: &Row) -> Result<TopicFigures, StoreError> {
    Ok(TopicFigures { topic: row.try_get("topic")?, figures: figures(row)? })
}

fn webhook_figures(row: &Row) -> Result<WebhookFigures, StoreError> {
    let said = Said {
        disabled: row.try_get("disabled_reason")?,
        paused: row.try_get("paused")?,
        starting: row.try_get::<_, &str>("state")? == WebhookState::Starting.as_str(),
        held: row.try_get::<_, Option<Timestamp>>("hold_until")?.is_some(),
        ..Said::default()
    };
    let last = LastRequests { failing_since: row.try_get("failing_since")?, ..LastRequests::default() };
    let state = super::word(row, "breaker_state", BreakerState::parse)?;
    let (state, ..) = judge(said, Breaker { state, ..Breaker::default() }, &last);
    Ok(WebhookFigures {
        webhook_id: row.try_get("webhook_id")?,
        webhook: row.try_get("webhook")?,
        topic: row.try_get("topic")?,
        state,
        figures: figures(row)?,
    })
}
