//! Webhooks as requests to them need them: list, get, disable.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use secrecy::SecretString;
use tokio_postgres::{Row, types::FromSql};
use uuid::Uuid;

use jiff::Timestamp;

use super::{Store, error::StoreError, rows_under_parent, statement::sql};
use crate::domain::{
    breaker::BreakerPolicy,
    change::worker_actor,
    known_targets::{KnownTargets, TargetVersion, TargetVersions},
    policy::{OnExhausted, Policy, PolicyDefaults},
    target::{Target, TargetRow, UnreadableTarget},
    webhook::Format,
};

/// Which webhooks to compare with those that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Those that changed since the last look, and a while before
    /// ([`OVERLAP`](crate::domain::known_targets::OVERLAP)). All of them, if their number shows that
    /// this is not enough.
    Changed,
    /// All of them.
    All,
}

/// What became of the webhooks since the last look.
#[derive(Debug)]
pub struct ChangedTargets {
    /// Those that are new or have changed.
    pub changed: Vec<TargetRow>,
    /// Those that were deleted.
    pub gone: Vec<i64>,
}

impl Store {
    /// Reads the webhooks that are new or have changed, and notes in `known` which versions were
    /// read. The first look is at all of them. If it fails, `known` stays as it was.
    pub async fn list_changed_targets(
        &self,
        known: &mut KnownTargets,
        look: Look,
        defaults: &PolicyDefaults,
    ) -> Result<ChangedTargets, StoreError> {
        let mut seen = None;
        if let (Look::Changed, Some(since)) = (look, known.unknown_since()) {
            let changed = self.target_versions(sql!("webhooks/list_changed"), &[&since]).await?;
            seen = Some(changed).filter(|changed| known.would_be_complete(changed));
        }
        let (seen, mut gone) = if let Some(seen) = seen {
            (seen, Vec::new())
        } else {
            let all = self.target_versions(sql!("webhooks/list_versions"), &[]).await?;
            let gone = known.gone(&all.listed);
            (all, gone)
        };
        let differing = known.differing(&seen.listed);
        let mut changed = Vec::new();
        if !differing.is_empty() {
            let rows = self.query(sql!("webhooks/targets", "webhooks/of_ids"), &[&differing]).await?;
            changed = rows.iter().map(|row| self.target_row(row, defaults)).collect::<Result<_, _>>()?;
            // What was deleted in between is not read.
            let read: HashSet<i64> = changed.iter().map(|row: &TargetRow| row.webhook_id).collect();
            gone.extend(differing.into_iter().filter(|id| !read.contains(id)));
        }
        known.take_in(seen.looked_at, &changed, &gone);
        Ok(ChangedTargets { changed, gone })
    }

    async fn target_versions(
        &self,
        statement: &'static str,
        parameters: super::Parameters<'_>,
    ) -> Result<TargetVersions, StoreError> {
        let rows = self.query(statement, parameters).await?;
        let nothing = || StoreError::Unexpected("no row of webhooks".to_owned());
        let first = rows.first().ok_or_else(nothing)?;
        let version = |row: &Row| {
            let (webhook_id, version, deliverable) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            Ok(TargetVersion { webhook_id, version, deliverable })
        };
        Ok(TargetVersions {
            looked_at: first.try_get::<_, Timestamp>("looked_at")?,
            count: usize::try_from(first.try_get::<_, i64>("webhooks")?).unwrap_or_default(),
            listed: rows_under_parent(&rows, "webhook_id", version)?.unwrap_or_default(),
        })
    }

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

    /// Tells all workers to send nothing to a webhook for a while. A hold is never shortened.
    pub async fn hold_webhook(&self, webhook_id: i64, hold: Duration) -> Result<(), StoreError> {
        self.execute(sql!("webhooks/hold"), &[&webhook_id, &hold.as_secs_f64()]).await?;
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
    let breaker = read(row, 21, "breaker")?;
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
        name: row.try_get("webhook").map_err(|_| UnreadableTarget::Column("name"))?,
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
            retry_schedule: numbers(row, 17, "retry_schedule", |seconds: u32| {
                Duration::from_secs(seconds.into())
            })?,
            permanent_statuses: numbers(row, 18, "permanent_statuses", |status: u16| status)?,
            timeout: seconds(10, "timeout_seconds")?.unwrap_or(defaults.timeout),
            on_exhausted: OnExhausted::parse(on_exhausted)
                .ok_or_else(|| unknown("on_exhausted", on_exhausted))?,
            max_in_flight: number(12, "max_in_flight")?,
            max_age: seconds(20, "max_age_seconds")?,
            latest_only: read(row, 22, "on_overflow")?,
        },
        rate_limit_per_second: read(row, 13, "rate_limit_per_second")?,
        held_for: read::<Option<f64>>(row, 19, "hold_until")?
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        breaker: BreakerPolicy::parse(breaker).ok_or_else(|| unknown("breaker", breaker))?,
        deliverable: read(row, 14, "state")?,
    })
}

/// The value of a column. The error names the column and never shows the value.
fn read<'a, T: FromSql<'a>>(row: &'a Row, column: usize, name: &'static str) -> Result<T, UnreadableTarget> {
    row.try_get(column).map_err(|_| UnreadableTarget::Column(name))
}

/// The numbers in a column; none if it is null.
fn numbers<N: TryFrom<i32>, T>(
    row: &Row,
    column: usize,
    name: &'static str,
    from: impl Fn(N) -> T,
) -> Result<Vec<T>, UnreadableTarget> {
    let numbers = read::<Option<Vec<i32>>>(row, column, name)?.unwrap_or_default();
    let number = |number| N::try_from(number).map(&from).map_err(|_| UnreadableTarget::Column(name));
    numbers.into_iter().map(number).collect()
}
