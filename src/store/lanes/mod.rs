//! Claims lanes, reads them, and removes those that are idle.
//!
//! | file | what it holds |
//! |---|---|
//! | `types` | what is asked of lanes, and what is known of them |
//! | `rows` | rows of messages, gathered into lanes |

mod rows;
mod types;

use std::collections::HashMap;

use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use self::rows::{LaneRows, claimed, claimed_lane, follower, lane_key};
pub use self::types::*;
use super::{Store, error::StoreError, statement::sql, topics::like};
use crate::domain::{lane::LaneKey, scope::TopicScope};

impl Store {
    /// Claims the earliest due lanes of each webhook, and reads their next messages. With `sweep`
    /// it also claims lanes whose holder has no row in `workers` or is gone.
    ///
    /// # Errors
    /// SQLSTATE 55000 if the worker is not registered any more ([`StoreError::is_not_registered`]).
    pub async fn claim_lanes(
        &self,
        worker: Uuid,
        token: i64,
        wants: &[Want],
        sweep: bool,
        limits: ReadLimits,
    ) -> Result<Vec<ClaimedLane>, StoreError> {
        let columns = WantColumns::new(wants);
        let parameters: super::Parameters<'_> = &[
            &worker,
            &token,
            &columns.webhook_ids,
            &columns.slots,
            &columns.due_after,
            &sweep,
            &limits.messages_per_lane,
            &limits.payload_bytes,
        ];
        claimed(&self.call(sql!("lanes/claim"), parameters).await?, token, limits)
    }

    /// The same, lane by lane and without reading. Lanes that cannot be claimed are passed over.
    ///
    /// # Errors
    /// As [`Store::claim_lanes`].
    pub async fn claim_lanes_singly(
        &self,
        worker: Uuid,
        token: i64,
        wants: &[Want],
        sweep: bool,
    ) -> Result<Vec<ClaimedLane>, StoreError> {
        let columns = WantColumns::new(wants);
        let parameters: super::Parameters<'_> =
            &[&worker, &token, &columns.webhook_ids, &columns.slots, &columns.due_after, &sweep];
        let limits = ReadLimits { messages_per_lane: 0, payload_bytes: 0 };
        claimed(&self.call(sql!("lanes/claim_singly"), parameters).await?, token, limits)
    }

    /// Claims the lanes of messages that notifications named, and reads their next messages. If the
    /// worker holds the lane already, only the message is read.
    ///
    /// # Errors
    /// As [`Store::claim_lanes`].
    pub async fn claim_messages(
        &self,
        worker: Uuid,
        token: i64,
        message_ids: &[i64],
        room: &Room,
        limits: ReadLimits,
        topics: &TopicScope,
    ) -> Result<Looked, StoreError> {
        let lanes = i32::try_from(room.lanes).unwrap_or(i32::MAX);
        let parameters: super::Parameters<'_> = &[
            &worker,
            &token,
            &message_ids,
            &room.full_webhooks,
            &like(topics),
            &lanes,
            &limits.messages_per_lane,
            &limits.payload_bytes,
        ];
        let rows = self.call(sql!("lanes/claim_messages"), parameters).await?;
        let mut looked = Looked::default();
        let mut lanes = LaneRows::new(limits.messages_per_lane);
        for row in &rows {
            if row.try_get::<_, i64>(3)? == token {
                lanes.add(row, 11, || claimed_lane(row, 4, token))?;
            } else {
                looked.followers.push(follower(row)?);
            }
        }
        looked.claimed = lanes.finish(|lane, owed| lane.owed = owed);
        Ok(looked)
    }

    /// Reads the next messages of held lanes. The first message is read whatever its size. Lanes
    /// that the worker does not hold any more are missing in the answer.
    pub async fn read_lanes(
        &self,
        worker: Uuid,
        held: &[HeldLane],
        limits: ReadLimits,
    ) -> Result<Vec<ReadLane>, StoreError> {
        let columns = HeldColumns::new(held);
        let positions: Vec<i64> = held.iter().map(|lane| lane.position).collect();
        let rows = self
            .call(
                sql!("lanes/read"),
                &[
                    &worker,
                    &columns.webhook_ids,
                    &columns.lanes,
                    &columns.tokens,
                    &positions,
                    &columns.generations,
                    &limits.messages_per_lane,
                    &limits.payload_bytes,
                ],
            )
            .await?;
        let mut lanes = LaneRows::new(limits.messages_per_lane);
        for row in &rows {
            lanes.add(row, 4, || {
                Ok(ReadLane {
                    key: lane_key(row)?,
                    position: row.try_get(2)?,
                    generation: row.try_get(3)?,
                    owed: Owed::default(),
                })
            })?;
        }
        Ok(lanes.finish(|lane, owed| lane.owed = owed))
    }

    /// The tail read: the messages above `after`, at most `limit`, by rising id, and then those of
    /// `missing` that exist by now. If `after` is `None`, it begins at the newest message.
    pub async fn list_news(
        &self,
        after: Option<i64>,
        missing: &[i64],
        limit: i64,
    ) -> Result<Vec<LaneNews>, StoreError> {
        let rows = self.call(sql!("lanes/list_news"), &[&after, &missing, &limit]).await?;
        let news = |row: &Row| {
            Ok(LaneNews { message_id: row.try_get(0)?, lane: row.try_get(1)?, step: row.try_get(2)? })
        };
        rows.iter().map(news).collect()
    }

    /// Deletes the rows of held lanes that owe nothing. Lanes that are missing in the answer stay
    /// as they are.
    pub async fn remove_idle_lanes(
        &self,
        worker: Uuid,
        held: &[HeldLane],
    ) -> Result<HashMap<LaneKey, Removal>, StoreError> {
        let columns = HeldColumns::new(held);
        let rows = self
            .call(
                sql!("lanes/remove_idle"),
                &[&worker, &columns.webhook_ids, &columns.lanes, &columns.tokens, &columns.generations],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let outcome = match row.try_get(2)? {
                    "removed" => Removal::Removed,
                    "rewound" => Removal::Rewound,
                    other => return Err(StoreError::Unexpected(format!("removal {other:?}"))),
                };
                Ok((lane_key(row)?, outcome))
            })
            .collect()
    }
}

/// The wants of a claim as arrays.
struct WantColumns {
    webhook_ids: Vec<i64>,
    slots: Vec<i32>,
    due_after: Vec<Option<Timestamp>>,
}

impl WantColumns {
    fn new(wants: &[Want]) -> Self {
        Self {
            webhook_ids: wants.iter().map(|want| want.webhook_id).collect(),
            slots: wants.iter().map(|want| i32::try_from(want.slots).unwrap_or(i32::MAX)).collect(),
            due_after: wants.iter().map(|want| want.due_after.parameter()).collect(),
        }
    }
}

/// Held lanes as arrays.
struct HeldColumns {
    webhook_ids: Vec<i64>,
    lanes: Vec<i64>,
    tokens: Vec<i64>,
    generations: Vec<i32>,
}

impl HeldColumns {
    fn new(held: &[HeldLane]) -> Self {
        Self {
            webhook_ids: held.iter().map(|lane| lane.key.webhook_id).collect(),
            lanes: held.iter().map(|lane| lane.key.lane).collect(),
            tokens: held.iter().map(|lane| lane.token).collect(),
            generations: held.iter().map(|lane| lane.generation).collect(),
        }
    }
}
