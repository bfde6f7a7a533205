//! Webhooks as workers need them.

use std::{collections::BTreeMap, time::Duration};

use secrecy::SecretString;
use tokio_postgres::Row;

use super::{Store, error::StoreError, statement::sql};
use crate::{
    config::DeliveryConfig,
    domain::webhook::{Format, OnExhausted, Policy, Target},
};

impl Store {
    /// All webhooks; what their own policy leaves open is filled in from `defaults`.
    pub async fn list_targets(&self, defaults: &DeliveryConfig) -> Result<Vec<Target>, StoreError> {
        let rows = self.query(sql!("webhooks/targets"), &[]).await?;
        let targets = rows.iter().filter_map(|row| match target(row, defaults) {
            Ok(target) => Some(target),
            Err(error) => {
                // Written past the API's checks. It must not stop the others.
                tracing::error!(webhook_id = row.get::<_, i64>(0), %error, "webhook cannot be delivered to");
                None
            }
        });
        Ok(targets.collect())
    }

    /// Stops requests to a webhook whose receiver said it is gone. Its backlog is kept.
    pub async fn disable_webhook(&self, webhook_id: i64, reason: &str) -> Result<(), StoreError> {
        self.execute(sql!("webhooks/disable"), &[&webhook_id, &reason]).await?;
        Ok(())
    }
}

/// A webhook as it stands in the table.
fn target(row: &Row, defaults: &DeliveryConfig) -> Result<Target, StoreError> {
    let unexpected = |what: &str| StoreError::Unexpected(format!("webhooks.{what}"));
    let headers: BTreeMap<String, String> =
        serde_json::from_str(row.try_get(4)?).map_err(|_| unexpected("headers"))?;
    let secrets: Vec<String> = row.try_get(3)?;
    let number = |column: usize, default: u64| -> Result<u64, StoreError> {
        Ok(row
            .try_get::<_, Option<i32>>(column)?
            .and_then(|value| u64::try_from(value).ok())
            .unwrap_or(default))
    };
    Ok(Target {
        webhook_id: row.try_get(0)?,
        topic: row.try_get(1)?,
        url: row.try_get(2)?,
        secrets: secrets.into_iter().map(SecretString::from).collect(),
        headers: headers.into_iter().collect(),
        format: Format::parse(row.try_get(5)?).ok_or_else(|| unexpected("format"))?,
        batch_size: usize::try_from(row.try_get::<_, i32>(6)?).unwrap_or(1).max(1),
        policy: Policy {
            max_retries: u32::try_from(number(7, defaults.max_retries.into())?).unwrap_or(u32::MAX),
            backoff_factor: row.try_get::<_, Option<f64>>(8)?.unwrap_or(defaults.backoff_factor),
            max_backoff: Duration::from_secs(number(9, defaults.max_backoff_seconds)?),
            timeout: Duration::from_secs(number(10, defaults.timeout_seconds)?),
            on_exhausted: OnExhausted::parse(row.try_get(11)?).ok_or_else(|| unexpected("on_exhausted"))?,
            max_in_flight: row.try_get::<_, Option<i32>>(12)?.and_then(|value| u32::try_from(value).ok()),
        },
        rate_limit_per_second: row.try_get(13)?,
        deliverable: row.try_get(14)?,
    })
}
