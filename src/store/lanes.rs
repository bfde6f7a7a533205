//! Claiming and reading lanes, and retiring those that ran dry.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Store, error::StoreError, statement::sql};
use crate::domain::{lane::LaneKey, message::Message};

/// What a worker wants of one webhook.
#[derive(Debug, Clone)]
pub struct Want {
    /// The webhook.
    pub webhook_id: i64,
    /// How many lanes at most.
    pub slots: usize,
    /// Where to begin looking among the due lanes.
    pub due_after: DueAfter,
}

/// The lower bound of a look at the due lanes: without one, each look walks over what a held snapshot left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueAfter {
    /// The lanes that became due in the last few seconds.
    Recent,
    /// Not before this instant.
    At(Timestamp),
    /// All of them.
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
    /// Bytes of payload in all.
    pub payload_bytes: i64,
}

/// A lane as it was claimed, with its next messages.
#[derive(Debug)]
pub struct ClaimedLane {
    /// The lane.
    pub key: LaneKey,
    /// Since when it was due.
    pub due_at: Timestamp,
    /// The token of the claim: negative where the lane was handed over.
    pub token: i64,
    /// Everything up to here has left the lane.
    pub position: i64,
    /// How often the lane was rewound.
    pub rewinds: i32,
    /// Failed attempts of its head.
    pub failures: i32,
    /// What comes next.
    pub owed: Owed,
}

/// A held lane as it was read on.
#[derive(Debug)]
pub struct ReadLane {
    /// The lane.
    pub key: LaneKey,
    /// Where reading began, unless a replay moved that.
    pub position: i64,
    /// How often the lane was rewound.
    pub rewinds: i32,
    /// What comes next.
    pub owed: Owed,
}

/// The next messages of a lane, in order.
#[derive(Debug, Default)]
pub struct Owed {
    /// In order of their ids.
    pub items: Vec<OwedMessage>,
    /// Whether there may be more than was read.
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

/// A held lane, as reading and retiring name it.
#[derive(Debug, Clone, Copy)]
pub struct HeldLane {
    /// The lane.
    pub key: LaneKey,
    /// The token of its claim.
    pub token: i64,
    /// The last message that was read.
    pub position: i64,
    /// The newest count of rewinds that is known.
    pub rewinds: i32,
}

/// A message that was published lately.
#[derive(Debug, Clone, Copy)]
pub struct LaneNews {
    /// Its id.
    pub message_id: i64,
    /// Its lane, of whatever webhook.
    pub lane: i64,
}

/// What became of a lane that was to be retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retirement {
    /// Its row is gone.
    Retired,
    /// A replay has rewound it: it owes again.
    Rewound,
}

impl Store {
    /// Takes the earliest due lanes of each webhook, with their next messages; with `handed`, the tokens of the lanes that were
    /// handed over to this worker and arrived, also lanes that were handed over and did not arrive.
    ///
    /// Fails with SQLSTATE 55000 where the worker is not registered any more.
    pub async fn claim_lanes(
        &self,
        worker: Uuid,
        token: i64,
        wants: &[Want],
        limits: ReadLimits,
        handed: Option<&[i64]>,
    ) -> Result<Vec<ClaimedLane>, StoreError> {
        let webhook_ids: Vec<i64> = wants.iter().map(|want| want.webhook_id).collect();
        let slots: Vec<i32> =
            wants.iter().map(|want| i32::try_from(want.slots).unwrap_or(i32::MAX)).collect();
        let due_after: Vec<Option<Timestamp>> = wants.iter().map(|want| want.due_after.parameter()).collect();
        let rows = self
            .call(
                sql!("lanes/claim"),
                &[
                    &worker,
                    &token,
                    &webhook_ids,
                    &slots,
                    &due_after,
                    &limits.messages_per_lane,
                    &limits.payload_bytes,
                    &handed,
                ],
            )
            .await?;
        let mut lanes = LaneRows::new(limits.messages_per_lane);
        for row in &rows {
            lanes.add(row, 7, || {
                Ok(ClaimedLane {
                    key: lane_key(row)?,
                    due_at: row.try_get(2)?,
                    token: row.try_get(3)?,
                    position: row.try_get(4)?,
                    rewinds: row.try_get(5)?,
                    failures: row.try_get(6)?,
                    owed: Owed::default(),
                })
            })?;
        }
        Ok(lanes.finish(|lane, owed| lane.owed = owed))
    }

    /// Reads the next messages of held lanes. Lanes that are not held any more are absent from the answer.
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
                    &columns.rewinds,
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
                    rewinds: row.try_get(3)?,
                    owed: Owed::default(),
                })
            })?;
        }
        Ok(lanes.finish(|lane, owed| lane.owed = owed))
    }

    /// The messages above `after`, at most `limit`, in rising order, and those of `missing` that are there by now. The newest
    /// one alone where `after` is `None`.
    pub async fn list_news(
        &self,
        after: Option<i64>,
        missing: &[i64],
        limit: i64,
    ) -> Result<Vec<LaneNews>, StoreError> {
        let rows = self.call(sql!("lanes/list_news"), &[&after, &missing, &limit]).await?;
        rows.iter().map(|row| Ok(LaneNews { message_id: row.try_get(0)?, lane: row.try_get(1)? })).collect()
    }

    /// Deletes the rows of held lanes that owe nothing. Lanes absent from the answer stay as they are.
    pub async fn retire_lanes(
        &self,
        worker: Uuid,
        held: &[HeldLane],
    ) -> Result<HashMap<LaneKey, Retirement>, StoreError> {
        let columns = HeldColumns::new(held);
        let rows = self
            .call(
                sql!("lanes/retire"),
                &[&worker, &columns.webhook_ids, &columns.lanes, &columns.tokens, &columns.rewinds],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let outcome = match row.try_get(2)? {
                    "retired" => Retirement::Retired,
                    "rewound" => Retirement::Rewound,
                    other => return Err(StoreError::Unexpected(format!("retirement {other:?}"))),
                };
                Ok((lane_key(row)?, outcome))
            })
            .collect()
    }
}

/// Held lanes as arrays.
struct HeldColumns {
    webhook_ids: Vec<i64>,
    lanes: Vec<i64>,
    tokens: Vec<i64>,
    rewinds: Vec<i32>,
}

impl HeldColumns {
    fn new(held: &[HeldLane]) -> Self {
        Self {
            webhook_ids: held.iter().map(|lane| lane.key.webhook_id).collect(),
            lanes: held.iter().map(|lane| lane.key.lane).collect(),
            tokens: held.iter().map(|lane| lane.token).collect(),
            rewinds: held.iter().map(|lane| lane.rewinds).collect(),
        }
    }
}

fn lane_key(row: &Row) -> Result<LaneKey, StoreError> {
    Ok(LaneKey { webhook_id: row.try_get(0)?, lane: row.try_get(1)? })
}

/// One lane's rows so far.
struct LaneRow<T> {
    lane: T,
    items: Vec<OwedMessage>,
    /// The first message that was left out because the payload budget was used up.
    deferred: Option<i64>,
}

/// Gathers rows, one a message, into lanes. Messages of one lane come one after another, lanes in the order read.
struct LaneRows<T> {
    lanes: Vec<LaneRow<T>>,
    index: HashMap<LaneKey, usize>,
    /// Shared by the messages of one lane.
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

    /// Adds a row whose message columns begin at `first`; `make` makes its lane when this is the lane's first row.
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
        let message = match row.try_get(first + 5)? {
            "missing" => OwedMessage::Missing(id),
            "loaded" => OwedMessage::Present(Message {
                id,
                partition_key: shared(&mut self.partition_key, row.try_get(first + 1)?),
                payload: row.try_get::<_, String>(first + 2)?.into(),
                headers: row.try_get(first + 3)?,
                // One of before V12 may be too late for the type. It must not end the worker, again and again.
                created_at: row.try_get(first + 4).unwrap_or(Timestamp::MAX),
            }),
            "deferred" => {
                lane.deferred = Some(lane.deferred.map_or(id, |first| first.min(id)));
                return Ok(());
            }
            other => return Err(StoreError::Unexpected(format!("message state {other:?}"))),
        };
        lane.items.push(message);
        Ok(())
    }

    fn finish(self, set: impl Fn(&mut T, Owed)) -> Vec<T> {
        self.lanes
            .into_iter()
            .map(|LaneRow { mut lane, mut items, deferred }| {
                let full = items.len() >= self.messages_per_lane;
                // The plan reads each lane in order; nothing promises it.
                items.sort_by_key(OwedMessage::id);
                // Nothing may overtake what was left out.
                items.retain(|item| deferred.is_none_or(|first| item.id() < first));
                set(&mut lane, Owed { items, more: full || deferred.is_some() });
                lane
            })
            .collect()
    }
}

/// The key as a shared string: the last one again, if it is the same.
fn shared(last: &mut Arc<str>, key: &str) -> Arc<str> {
    if **last != *key {
        *last = Arc::from(key);
    }
    last.clone()
}
