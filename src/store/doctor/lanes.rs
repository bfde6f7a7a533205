//! Lanes that do not move, rows that lack another one, and webhooks.

use tokio_postgres::Row;

use crate::{
    domain::doctor::{ITEMS_MAX, LaneRowsFacts, LaneSeen, WebhookSeen},
    store::{Store, error::StoreError, statement::sql},
};

/// How many things are looked for. [`ITEMS_MAX`] are shown.
const MOST: i64 = 20;
const _: () = assert!(ITEMS_MAX == 20, "as many as are shown");

/// How many ready lanes of one webhook are looked at. The first ones may owe nothing any more.
const READY_OF_WEBHOOK: i64 = 5;
/// At how many lanes the look for missing rows stops.
const LANES_SEEN: i32 = 10_000;
/// A lane that owes nothing is claimed and removed within seconds. After so many it stays.
const IDLE_SECONDS: f64 = 300.0;
/// How many webhooks are looked at.
pub(super) const WEBHOOKS_SEEN: i64 = 10_000;

impl Store {
    /// Lanes that are halted, 20 at most.
    pub async fn diagnose_halted_lanes(&self) -> Result<Vec<LaneSeen>, StoreError> {
        self.ask(sql!("doctor/list_halted_lanes"), &[&MOST]).await?.iter().map(lane).collect()
    }

    /// Lanes that have failed and wait, and lanes that are ready; 20 of each at most.
    pub async fn diagnose_waiting_lanes(&self) -> Result<(Vec<LaneSeen>, Vec<LaneSeen>), StoreError> {
        let failing = self.ask(sql!("doctor/list_failing_lanes"), &[&MOST]).await?;
        let ready = self.ask(sql!("doctor/list_ready_lanes"), &[&MOST, &READY_OF_WEBHOOK]).await?;
        let read = |rows: Vec<Row>| rows.iter().map(lane).collect::<Result<Vec<_>, _>>();
        Ok((read(failing)?, read(ready)?))
    }

    /// Rows of lanes and deliveries that lack each other.
    pub async fn diagnose_lane_rows(&self) -> Result<LaneRowsFacts, StoreError> {
        let owing = self.ask(sql!("doctor/list_deliveries_without_lane"), &[&LANES_SEEN, &MOST]).await?;
        let parameters: super::Parameters<'_> = &[&i64::from(LANES_SEEN), &MOST, &IDLE_SECONDS];
        let idle = self.ask(sql!("doctor/list_lanes_without_delivery"), parameters).await?;
        let mut facts = LaneRowsFacts { schema: self.schema.quoted().to_owned(), ..LaneRowsFacts::default() };
        for row in owing.iter().chain(&idle) {
            facts.capped |= row.try_get::<_, i64>("looked_at")? >= i64::from(LANES_SEEN);
        }
        for row in &owing {
            if let Some(webhook) = row.try_get("webhook_id")? {
                facts.without_lane.push((webhook, row.try_get("lane")?, row.try_get("message_id")?));
            }
        }
        for row in &idle {
            if let Some(webhook) = row.try_get("webhook_id")? {
                facts.without_delivery.push((webhook, row.try_get("lane")?));
            }
        }
        Ok(facts)
    }

    /// The webhooks, and how many were looked for.
    pub async fn diagnose_webhooks(&self) -> Result<(Vec<WebhookSeen>, usize), StoreError> {
        let rows = self.ask(sql!("doctor/list_webhooks"), &[&WEBHOOKS_SEEN]).await?;
        let webhook = |row: &Row| {
            Ok(WebhookSeen {
                webhook: row.try_get("webhook")?,
                url: row.try_get("url")?,
                disabled_reason: row.try_get("disabled_reason")?,
                paused: row.try_get("paused")?,
                opened_at: row.try_get("opened_at")?,
                failing_since: row.try_get("failing_since")?,
                last_error: row.try_get("last_error")?,
                invalid: None,
            })
        };
        let webhooks = rows.iter().map(webhook).collect::<Result<_, StoreError>>()?;
        Ok((webhooks, usize::try_from(WEBHOOKS_SEEN).unwrap_or(usize::MAX)))
    }
}

fn lane(row: &Row) -> Result<LaneSeen, StoreError> {
    Ok(LaneSeen {
        webhook: row.try_get("webhook")?,
        partition_key: row.try_get("partition_key")?,
        message_id: row.try_get("message_id")?,
        unordered: row.try_get("unordered")?,
        failures: row.try_get("failures")?,
        last_error: row.try_get("last_error")?,
        since: row.try_get("since")?,
    })
}
