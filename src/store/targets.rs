//! Webhooks as requests to them need them: list, get, disable.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use secrecy::SecretString;
use tokio_postgres::{Row, types::FromSql};
use uuid::Uuid;

use super::{Store, error::StoreError, statement::sql};
use crate::domain::{
    change::worker_actor,
    policy::{OnExhausted, Policy, PolicyDefaults},
    target::{Target, TargetRow, UnreadableTarget},
    webhook::Format,
};

impl Store {
    /// All webhooks. `defaults` fills in what their own policy leaves open.
    ///
    /// A row that cannot be read does not hide the others. It is listed with the reason.
    pub async fn list_targets(&self, defaults: &PolicyDefaults) -> Result<Vec<TargetRow>, StoreError> {
        let rows = self.query(sql!("webhooks/targets"), &[]).await?;
        rows.iter().map(|row| self.target_row(row, defaults)).collect()
    }

    /// One webhook, as [`Store::list_targets`] lists it; `None` if there is none.
    pub async fn get_target(
        &self,
        webhook_id: i64,
        defaults: &PolicyDefaults,
    ) -> Result<Option<TargetRow>, StoreError> {
        let row = self.query_opt(sql!("webhooks/targets", "webhooks/of_id"), &[&webhook_id]).await?;
        row.map(|row| self.target_row(&row, defaults)).transpose()
    }

    fn target_row(&self, row: &Row, defaults: &PolicyDefaults) -> Result<TargetRow, StoreError> {
        Ok(TargetRow {
            webhook_id: row.try_get(0)?,
            deliverable: row.try_get(14)?,
            version: row.try_get(15)?,
            target: target(row, defaults, &self.source),
        })
    }

    /// Disables a webhook whose receiver answered 410 Gone to a worker. Its backlog is kept.
    pub async fn disable_webhook(
        &self,
        webhook_id: i64,
        reason: &str,
        worker: Uuid,
    ) -> Result<(), StoreError> {
        self.execute(sql!("webhooks/disable"), &[&webhook_id, &reason, &worker_actor(worker)]).await?;
        Ok(())
    }

    /// Disables an unusable webhook: one that no request can be made for. Its backlog is kept.
    /// Returns whether this call disabled it.
    ///
    /// Does nothing if the webhook is disabled already, or if its row is not the version that was
    /// read. A change since then may have repaired the webhook. Workers read it again and decide
    /// anew.
    pub async fn disable_unusable_webhook(
        &self,
        webhook_id: i64,
        version: &str,
        reason: &str,
        worker: Uuid,
    ) -> Result<bool, StoreError> {
        let parameters: super::Parameters<'_> = &[&webhook_id, &version, &reason, &worker_actor(worker)];
        Ok(self.execute(sql!("webhooks/disable_unusable"), parameters).await? > 0)
    }
}

/// A webhook from its row.
fn target(row: &Row, defaults: &PolicyDefaults, source: &Arc<str>) -> Result<Target, UnreadableTarget> {
    let headers: BTreeMap<String, String> =
        serde_json::from_str(read(row, 4, "headers")?).map_err(|_| UnreadableTarget::Headers)?;
    let secrets: Vec<String> = read(row, 3, "secrets")?;
    let (format, on_exhausted) = (read(row, 5, "format")?, read(row, 11, "on_exhausted")?);
    let unknown = |column, value: &str| UnreadableTarget::Unknown { column, value: value.to_owned() };
    // A CHECK of the table keeps them above 0.
    let number = |column: usize, name| -> Result<Option<u32>, UnreadableTarget> {
        let value: Option<i32> = read(row, column, name)?;
        Ok(value.and_then(|value| u32::try_from(value).ok()))
    };
    let seconds = |column: usize, name| -> Result<Option<Duration>, UnreadableTarget> {
        Ok(number(column, name)?.map(|seconds| Duration::from_secs(seconds.into())))
    };
    Ok(Target {
        webhook_id: read(row, 0, "id")?,
        source: Arc::clone(source),
        topic: read(row, 1, "topic")?,
        ordered: read(row, 16, "ordering")?,
        url: read(row, 2, "url")?,
        secrets: secrets.into_iter().map(SecretString::from).collect(),
        headers: headers.into_iter().collect(),
        format: Format::parse(format).ok_or_else(|| unknown("format", format))?,
        batch_size: usize::try_from(read::<i32>(row, 6, "batch_size")?).unwrap_or(1).max(1),
        policy: Policy {
            max_retries: number(7, "max_retries")?.unwrap_or(defaults.max_retries),
            backoff_factor: read::<Option<f64>>(row, 8, "backoff_factor")?.unwrap_or(defaults.backoff_factor),
            max_backoff: seconds(9, "max_backoff_seconds")?.unwrap_or(defaults.max_backoff),
            timeout: seconds(10, "timeout_seconds")?.unwrap_or(defaults.timeout),
            on_exhausted: OnExhausted::parse(on_exhausted)
                .ok_or_else(|| unknown("on_exhausted", on_exhausted))?,
            max_in_flight: number(12, "max_in_flight")?,
        },
        rate_limit_per_second: read(row, 13, "rate_limit_per_second")?,
        deliverable: read(row, 14, "state")?,
    })
}

/// The value of a column. The error names the column and never shows the value.
fn read<'a, T: FromSql<'a>>(row: &'a Row, column: usize, name: &'static str) -> Result<T, UnreadableTarget> {
    row.try_get(column).map_err(|_| UnreadableTarget::Column(name))
}
