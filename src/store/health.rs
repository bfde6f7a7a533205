//! The health of webhooks, as rows show it.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::{Store, error::StoreError, statement::sql};
use crate::domain::{
    attempt::ErrorClass,
    health::{Backlog, COUNTED_MAX, Health, LANES_SEEN_MAX, LaneCounts, LastRequests, Said, judge},
    webhook::WebhookState,
};

impl Store {
    /// What a webhook is owed now, and when that was.
    pub async fn count_webhook_backlog(&self, id: i64) -> Result<(Backlog, Timestamp), StoreError> {
        let parameters: super::Parameters<'_> = &[&id, &LANES_SEEN_MAX, &COUNTED_MAX];
        let row = self.query_one(sql!("webhooks/count_backlog"), parameters).await?;
        Ok((backlog(&row)?, row.try_get("sampled_at")?))
    }
}

/// What is owed.
pub(super) fn backlog(row: &Row) -> Result<Backlog, StoreError> {
    Ok(Backlog {
        owed: row.try_get("owed")?,
        owed_capped: row.try_get("owed_capped")?,
        oldest_owed_at: row.try_get("oldest_owed_at")?,
        lanes: LaneCounts {
            ready: row.try_get("ready")?,
            claimed: row.try_get("claimed")?,
            waiting: row.try_get("waiting")?,
            halted: row.try_get("halted")?,
        },
        dead_letters: row.try_get("dead_letters")?,
        dead_letters_capped: row.try_get("dead_letters_capped")?,
    })
}

/// The health in a row of a webhook.
pub(super) fn health(row: &Row) -> Result<Health, StoreError> {
    let class: Option<&str> = row.try_get("last_error_class")?;
    let last = LastRequests {
        failing_since: row.try_get("failing_since")?,
        last_success_at: row.try_get("last_success_at")?,
        last_failure_at: row.try_get("last_failure_at")?,
        last_status_code: row.try_get("last_status_code")?,
        last_error_class: class.and_then(ErrorClass::parse),
        last_error: row.try_get("last_error")?,
    };
    let hold_until: Option<Timestamp> = row.try_get("hold_until")?;
    let said = Said {
        disabled: row.try_get("disabled_reason")?,
        paused: row.try_get("paused")?,
        starting: row.try_get::<_, &str>("state")? == WebhookState::Starting.as_str(),
        held: hold_until.is_some(),
        since: row.try_get("said_at")?,
        reason: row.try_get("said_why")?,
    };
    let (state, since, reason) = judge(said, &last);
    let sampled_at: Option<Timestamp> = row.try_get("sampled_at")?;
    Ok(Health {
        state,
        since,
        reason,
        last,
        backlog: sampled_at.map(|_| backlog(row)).transpose()?,
        in_flight: row.try_get("in_flight")?,
        hold_until,
        backfill_job: row.try_get("backfill_job")?,
        sampled_at,
    })
}
