//! Activity: what workers sent.

use jiff::Timestamp;
use uuid::Uuid;

use super::{LeaderStore, Store, error::StoreError, statement::sql};
use crate::domain::attempt::ErrorClass;

/// How many rows one step merges or deletes at most.
const PORTION: i64 = 10_000;

/// What a worker sent to a webhook in some seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActivityRow {
    /// The webhook.
    pub webhook_id: i64,
    /// How many deliveries were accepted.
    pub accepted: i64,
    /// How many requests failed.
    pub failed: i64,
    /// How many deliveries were given up.
    pub dead: i64,
    /// How many lanes are in flight now.
    pub in_flight: i32,
    /// How long after its publication each delivery was accepted, in buckets.
    pub latency: Vec<i64>,
    /// When a request was accepted last.
    pub last_success_at: Option<Timestamp>,
    /// When a request failed last.
    pub last_failure_at: Option<Timestamp>,
    /// If the last request failed: since when each one has failed.
    pub failing_since: Option<Timestamp>,
    /// The status that was answered to the last failure.
    pub last_status_code: Option<i16>,
    /// How it failed.
    pub last_error_class: Option<ErrorClass>,
    /// Why, in words.
    pub last_error: Option<String>,
}

impl Store {
    /// Writes what a worker sent in the last seconds.
    pub async fn append_activity(
        &self,
        worker: Uuid,
        seconds: i32,
        rows: &[ActivityRow],
    ) -> Result<(), StoreError> {
        fn column<T>(rows: &[ActivityRow], value: impl Fn(&ActivityRow) -> T) -> Vec<T> {
            rows.iter().map(value).collect()
        }
        let latency = column(rows, |row| {
            let numbers: Vec<String> = row.latency.iter().map(ToString::to_string).collect();
            format!("{{{}}}", numbers.join(","))
        });
        let parameters: super::Parameters<'_> = &[
            &worker,
            &seconds,
            &column(rows, |row| row.webhook_id),
            &column(rows, |row| row.accepted),
            &column(rows, |row| row.failed),
            &column(rows, |row| row.dead),
            &column(rows, |row| row.in_flight),
            &latency,
            &column(rows, |row| row.last_success_at),
            &column(rows, |row| row.last_failure_at),
            &column(rows, |row| row.failing_since),
            &column(rows, |row| row.last_status_code),
            &column(rows, |row| row.last_error_class.map(ErrorClass::as_str)),
            &column(rows, |row| row.last_error.clone()),
        ];
        self.execute(sql!("activity/append"), parameters).await?;
        Ok(())
    }
}

impl LeaderStore {
    /// Merges rows of activity into rows of longer spans, if they are old enough: one step.
    /// Returns how many rows it took.
    pub async fn merge_activity(
        &self,
        from: i32,
        to: i32,
        older_than_seconds: f64,
    ) -> Result<u64, StoreError> {
        let parameters: super::Parameters<'_> = &[&from, &to, &older_than_seconds, &PORTION];
        let taken: i64 = self.query_one(sql!("activity/merge"), parameters).await?.try_get(0)?;
        Ok(taken.unsigned_abs())
    }

    /// Deletes activity that is older than some days: one step. Returns how many rows.
    pub async fn delete_old_activity(&self, kept_days: u32) -> Result<u64, StoreError> {
        self.execute(sql!("activity/delete_old"), &[&f64::from(kept_days), &PORTION]).await
    }
}
