//! Lanes, as operators see them: list, find, try again.

use tokio_postgres::Row;

use super::{Store, error::StoreError, optional_word, scanned_page_by, statement::sql};
use crate::domain::{
    attempt::ErrorClass,
    lane::{FoundLane, Lane, LaneFilter, LaneHead, LaneKey, LaneName, LaneState},
    operation::StripeHolder,
    page::{Items, List, Page},
};

/// How many lanes one page looks at.
const SCANNED: i64 = 10_000;

/// Where counting stops what a lane owes: one more than the largest count that is shown.
const OWED_TO: i64 = 101;

impl Store {
    /// A page of a webhook's lanes, the earliest due first.
    pub async fn list_lanes(
        &self,
        webhook_id: i64,
        filter: &LaneFilter,
        page: Page,
    ) -> Result<Items<Lane>, StoreError> {
        self.lanes(webhook_id, filter, None, page).await
    }

    /// One lane, if it has a row. On an unordered topic a message names it.
    pub async fn get_lane(&self, webhook_id: i64, name: &LaneName) -> Result<Option<Lane>, StoreError> {
        let filter = LaneFilter { state: None, partition_key: name.partition_key.clone() };
        let page = Page::first(List::Lanes, 1);
        let found = self.lanes(webhook_id, &filter, name.message_id, page).await?.items;
        // On an unordered topic many lanes may have the key, and on an ordered one the message names
        // none.
        Ok(found.into_iter().find(|lane| name.partition_key.is_some() || lane.message_id == name.message_id))
    }

    /// A page of lanes; on an unordered topic only the lane with this number, if one is given.
    async fn lanes(
        &self,
        webhook_id: i64,
        filter: &LaneFilter,
        number: Option<i64>,
        page: Page,
    ) -> Result<Items<Lane>, StoreError> {
        let parameters: super::Parameters<'_> = &[
            &webhook_id,
            &filter.state.map(LaneState::as_str),
            &filter.partition_key,
            &page.after.map(|(due, _)| due),
            &page.after.map(|(_, lane)| lane),
            &page.limit,
            &SCANNED,
            &OWED_TO,
            &number,
        ];
        let rows = self.query(sql!("lanes/list"), parameters).await?;
        let child = |row: &Row| Ok((row.try_get::<_, i64>("cursor_due")?, lane(row)?));
        let items = super::rows_under_parent(&rows, "lane", child)?.unwrap_or_default();
        let columns = ["scanned_due", "scanned_lane"];
        let keys = |(due, lane): &(i64, Lane)| (*due, lane.key.lane);
        Ok(scanned_page_by(&rows, items, page, columns, keys)?.map(|(_, lane)| lane))
    }

    /// A lane by its name; `None` if there is no such webhook.
    pub async fn find_lane(&self, webhook_id: i64, name: &LaneName) -> Result<Option<FoundLane>, StoreError> {
        let parameters: super::Parameters<'_> = &[&webhook_id, &name.partition_key, &name.message_id];
        let row = self.query_opt(sql!("lanes/find"), parameters).await?;
        row.map(|row| {
            Ok(FoundLane {
                is_ordered: row.try_get("is_ordered")?,
                lane: row.try_get("lane")?,
                partition_key: row.try_get("partition_key")?,
            })
        })
        .transpose()
    }

    /// Some lanes of a webhook that wait or are halted, or are in one of these two states.
    pub async fn list_held_up_lanes(
        &self,
        webhook_id: i64,
        state: Option<LaneState>,
        limit: i64,
    ) -> Result<Vec<i64>, StoreError> {
        let parameters: super::Parameters<'_> = &[&webhook_id, &state.map(LaneState::as_str), &limit];
        let rows = self.query(sql!("lanes/list_held_up"), parameters).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// Makes lanes due now, at most 1,000 of them. Returns how many were changed.
    pub async fn retry_lanes(&self, webhook_id: i64, lanes: &[i64], actor: &str) -> Result<i64, StoreError> {
        Ok(self.query_one(sql!("lanes/retry"), &[&webhook_id, &lanes, &actor]).await?.try_get(0)?)
    }

    /// Who holds a partition; `None` if nobody does.
    pub async fn find_stripe_holder(
        &self,
        topic_id: i64,
        partition_key: &str,
    ) -> Result<Option<StripeHolder>, StoreError> {
        let row = self.query_opt(sql!("locks/find_stripe_holder"), &[&topic_id, &partition_key]).await?;
        row.map(|row| {
            Ok(StripeHolder {
                pid: row.try_get("pid")?,
                application_name: row.try_get("application_name")?,
                since: row.try_get("since")?,
            })
        })
        .transpose()
    }
}

fn lane(row: &Row) -> Result<Lane, StoreError> {
    let head_id: Option<i64> = row.try_get("head_id")?;
    let head = match head_id {
        Some(message_id) => Some(LaneHead {
            message_id,
            message_type: row.try_get("head_type")?,
            created_at: row.try_get("head_created_at")?,
        }),
        None => None,
    };
    let owed: i64 = row.try_get("owed")?;
    Ok(Lane {
        key: LaneKey { webhook_id: row.try_get("webhook_id")?, lane: row.try_get("lane")? },
        webhook: row.try_get("webhook")?,
        topic: row.try_get("topic")?,
        partition_key: row.try_get("partition_key")?,
        message_id: row.try_get("message_id")?,
        state: super::word(row, "state", LaneState::parse)?,
        head,
        owed: owed.min(OWED_TO - 1),
        owed_capped: owed >= OWED_TO,
        failures: row.try_get("failures")?,
        last_status_code: row.try_get("last_status_code")?,
        last_error_class: optional_word(row, "last_error_class", ErrorClass::parse)?,
        last_error: row.try_get("last_error")?,
        due_at: row.try_get("due_at")?,
        worker: row.try_get("claimed_by")?,
    })
}
