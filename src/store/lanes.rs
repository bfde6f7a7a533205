//! Claims lanes, reads them, and removes those that are idle.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Store, error::StoreError, statement::sql};
use crate::domain::{lane::LaneKey, message::Message};

/// How many lanes of one webhook a worker wants.
#[derive(Debug, Clone)]
pub struct Want {
    /// The webhook.
    pub webhook_id: i64,
    /// How many lanes at most.
    pub slots: usize,
    /// Where to begin looking among the due lanes.
    pub due_after: DueAfter,
}

/// How many lanes a worker has room for when it looks at messages that notifications named.
#[derive(Debug, Clone, Default)]
pub struct Room {
    /// How many lanes at most.
    pub lanes: usize,
    /// Webhooks without room for another lane.
    pub full_webhooks: Vec<i64>,
}

/// The lower bound of a look at the due lanes. Without one, each look reads the old row versions
/// that an old snapshot keeps alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueAfter {
    /// Lanes that became due in the last 5 s.
    Recent,
    /// Lanes that became due at this instant or later.
    At(Timestamp),
    /// All due lanes.
    Beginning,
}

impl DueAfter {
    fn parameter(self) -> Option<Timestamp> {
        match self {
            Self::Recent => None,
            Self::At(instant) => Some(instant),
            Self::Beginning => Some(Timestamp::UNIX_EPOCH),
        }
    }
}

/// How much one call may read.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimits {
    /// Messages of each lane.
    pub messages_per_lane: i32,
    /// The budget: bytes of payload and headers in all.
    pub payload_bytes: i64,
}

/// A lane that was claimed, with its next messages.
#[derive(Debug)]
pub struct ClaimedLane {
    /// The lane.
    pub key: LaneKey,
    /// Since when it is due.
    pub due_at: Timestamp,
    /// The token of the claim.
    pub token: i64,
    /// Everything up to this message id has left the lane.
    pub position: i64,
    /// Its generation: how often a replay has lowered its position.
    pub generation: i32,
    /// The id of the message that `failures` belongs to.
    pub head_message_id: Option<i64>,
    /// How many attempts of that message have failed.
    pub failures: i32,
    /// Its next messages.
    pub owed: Owed,
}

/// The result of a look at messages that notifications named.
#[derive(Debug, Default)]
pub struct Looked {
    /// Lanes that were claimed.
    pub claimed: Vec<ClaimedLane>,
    /// Messages of lanes that the worker held before.
    pub followers: Vec<Follower>,
}

/// A message of a lane that the worker held before.
#[derive(Debug)]
pub struct Follower {
    /// The lane.
    pub key: LaneKey,
    /// The token of its claim.
    pub token: i64,
    /// How often a replay has lowered its position.
    pub generation: i32,
    /// The id of the last message before this one that the lane owes. If there is none, the lane's
    /// position.
    pub after: i64,
    /// The message's id.
    pub message_id: i64,
    /// The message; `None` if it is deferred: the budget was used up.
    pub message: Option<Message>,
}

/// A held lane with its next messages.
#[derive(Debug)]
pub struct ReadLane {
    /// The lane.
    pub key: LaneKey,
    /// Reading began after this message id. It is the position that the worker gave; if a replay
    /// has raised the generation since, it is the row's position.
    pub position: i64,
    /// How often a replay has lowered its position.
    pub generation: i32,
    /// Its next messages.
    pub owed: Owed,
}

/// The next messages of a lane, in order.
#[derive(Debug, Default)]
pub struct Owed {
    /// The messages by rising id.
    pub items: Vec<OwedMessage>,
    /// Whether the lane may owe more than was read.
    pub more: bool,
}

/// One message that a lane owes.
#[derive(Debug)]
pub enum OwedMessage {
    /// The message.
    Present(Message),
    /// A delivery whose message was deleted; it becomes a dead letter.
    Missing(i64),
}

impl OwedMessage {
    /// The message's id.
    pub fn id(&self) -> i64 {
        match self {
            Self::Present(message) => message.id,
            Self::Missing(id) => *id,
        }
    }
}

/// A held lane, as the calls that read or remove it need it.
#[derive(Debug, Clone, Copy)]
pub struct HeldLane {
    /// The lane.
    pub key: LaneKey,
    /// The token of its claim.
    pub token: i64,
    /// The id of the last message that was read.
    pub position: i64,
    /// The newest generation that the worker knows.
    pub generation: i32,
}

/// A message that was published lately.
#[derive(Debug, Clone, Copy)]
pub struct LaneNews {
    /// Its id.
    pub message_id: i64,
    /// Its lane. It is the same for every webhook.
    pub lane: i64,
}

/// What happened to an idle lane that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Its row was deleted.
    Removed,
    /// A replay had lowered its position, so it owes messages again. It is still held.
    Rewound,
}

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
    ) -> Result<Looked, StoreError> {
        let lanes = i32::try_from(room.lanes).unwrap_or(i32::MAX);
        let parameters: super::Parameters<'_> = &[
            &worker,
            &token,
            &message_ids,
            &room.full_webhooks,
            &lanes,
            &limits.messages_per_lane,
            &limits.payload_bytes,
        ];
        let rows = self.call(sql!("lanes/claim_messages"), parameters).await?;
        let mut looked = Looked::default();
        let mut lanes = LaneRows::new(limits.messages_per_lane);
        for row in &rows {
            if row.try_get::<_, i64>(3)? == token {
                lanes.add(row, 8, || claimed_lane(row, 4, token))?;
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
        rows.iter().map(|row| Ok(LaneNews { message_id: row.try_get(0)?, lane: row.try_get(1)? })).collect()
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

/// The lanes that one call has claimed.
fn claimed(rows: &[Row], token: i64, limits: ReadLimits) -> Result<Vec<ClaimedLane>, StoreError> {
    let mut lanes = LaneRows::new(limits.messages_per_lane);
    for row in rows {
        lanes.add(row, 7, || claimed_lane(row, 3, token))?;
    }
    Ok(lanes.finish(|lane, owed| lane.owed = owed))
}

/// A claimed lane. Column `at` holds its position.
fn claimed_lane(row: &Row, at: usize, token: i64) -> Result<ClaimedLane, StoreError> {
    Ok(ClaimedLane {
        key: lane_key(row)?,
        due_at: row.try_get(2)?,
        token,
        position: row.try_get(at)?,
        generation: row.try_get(at + 1)?,
        head_message_id: row.try_get(at + 2)?,
        failures: row.try_get(at + 3)?,
        owed: Owed::default(),
    })
}

/// A message of a lane that the worker held before.
fn follower(row: &Row) -> Result<Follower, StoreError> {
    let message = match row.try_get::<_, Option<&str>>(10)? {
        Some(_) => Some(message(row, 8, row.try_get(8)?, Arc::from(row.try_get::<_, &str>(9)?))?),
        None => None,
    };
    Ok(Follower {
        key: lane_key(row)?,
        token: row.try_get(3)?,
        generation: row.try_get(5)?,
        after: row.try_get(4)?,
        message_id: row.try_get(8)?,
        message,
    })
}

/// The message whose columns begin at `first`.
fn message(row: &Row, first: usize, id: i64, partition_key: Arc<str>) -> Result<Message, StoreError> {
    Ok(Message {
        id,
        partition_key,
        payload: row.try_get::<_, String>(first + 2)?.into(),
        headers: row.try_get(first + 3)?,
        // The trigger keeps it within the type's range. A value that was written past the trigger
        // may be out of it, and must not end the worker.
        created_at: row.try_get(first + 4).unwrap_or(Timestamp::MAX),
    })
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

fn lane_key(row: &Row) -> Result<LaneKey, StoreError> {
    Ok(LaneKey { webhook_id: row.try_get(0)?, lane: row.try_get(1)? })
}

/// The rows of one lane so far.
struct LaneRow<T> {
    lane: T,
    items: Vec<OwedMessage>,
    /// The first deferred message: one that was left out because the budget was used up.
    deferred: Option<i64>,
}

/// Gathers rows into lanes. Each row is one message. Lanes keep the order of their first rows.
struct LaneRows<T> {
    lanes: Vec<LaneRow<T>>,
    index: HashMap<LaneKey, usize>,
    /// The key of the last message, shared by messages with the same key.
    partition_key: Arc<str>,
    messages_per_lane: usize,
}

impl<T> LaneRows<T> {
    fn new(messages_per_lane: i32) -> Self {
        Self {
            lanes: Vec::new(),
            index: HashMap::new(),
            partition_key: Arc::from(""),
            messages_per_lane: usize::try_from(messages_per_lane).unwrap_or_default(),
        }
    }

    /// Adds a row. Its message's columns begin at `first`. `make` makes the lane if this is its
    /// first row.
    fn add(
        &mut self,
        row: &Row,
        first: usize,
        make: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<(), StoreError> {
        let key = lane_key(row)?;
        let at = if let Some(at) = self.index.get(&key) {
            *at
        } else {
            self.lanes.push(LaneRow { lane: make()?, items: Vec::new(), deferred: None });
            self.index.insert(key, self.lanes.len() - 1);
            self.lanes.len() - 1
        };
        let Some(id) = row.try_get::<_, Option<i64>>(first)? else {
            return Ok(());
        };
        let lane = &mut self.lanes[at];
        let item = match row.try_get(first + 5)? {
            "missing" => OwedMessage::Missing(id),
            "loaded" => {
                let key = shared(&mut self.partition_key, row.try_get(first + 1)?);
                OwedMessage::Present(message(row, first, id, key)?)
            }
            "deferred" => {
                lane.deferred = Some(lane.deferred.map_or(id, |first| first.min(id)));
                return Ok(());
            }
            other => return Err(StoreError::Unexpected(format!("message state {other:?}"))),
        };
        lane.items.push(item);
        Ok(())
    }

    fn finish(self, set: impl Fn(&mut T, Owed)) -> Vec<T> {
        self.lanes
            .into_iter()
            .map(|LaneRow { mut lane, mut items, deferred }| {
                let full = items.len() >= self.messages_per_lane;
                // The rows of a lane come in order because of the plan, but nothing promises that.
                items.sort_by_key(OwedMessage::id);
                // No message may overtake a deferred one.
                items.retain(|item| deferred.is_none_or(|first| item.id() < first));
                set(&mut lane, Owed { items, more: full || deferred.is_some() });
                lane
            })
            .collect()
    }
}

/// The key as a shared string. If it equals the last one, that one is shared.
fn shared(last: &mut Arc<str>, key: &str) -> Arc<str> {
    if **last != *key {
        *last = Arc::from(key);
    }
    last.clone()
}
