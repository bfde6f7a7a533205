//! Rows of messages, gathered into lanes.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use jiff::Timestamp;
use tokio_postgres::Row;

use super::{
    super::error::StoreError,
    types::{ClaimedLane, Follower, Owed, OwedMessage, ReadLimits, TakenProbe},
};
use crate::domain::{batch::Batch, lane::LaneKey, message::Message};

/// The lanes that one call has claimed.
pub(super) fn claimed(rows: &[Row], token: i64, limits: ReadLimits) -> Result<Vec<ClaimedLane>, StoreError> {
    let mut lanes = LaneRows::new(limits.messages_per_lane);
    for row in rows {
        lanes.add(row, 10, || claimed_lane(row, 3, token))?;
    }
    Ok(lanes.finish(|lane, owed| lane.owed = owed))
}

/// The turns to probe that one call has taken, each with its lane.
pub(in super::super) fn probes(
    rows: &[Row],
    token: i64,
    limits: ReadLimits,
) -> Result<Vec<TakenProbe>, StoreError> {
    let mut lanes = LaneRows::new(limits.messages_per_lane);
    for row in rows {
        lanes.add(row, 10, || {
            Ok(TakenProbe {
                lane: claimed_lane(row, 3, token)?,
                epoch: row.try_get(19)?,
                failed: u32::try_from(row.try_get::<_, i32>(20)?).unwrap_or_default(),
                open_for: Duration::try_from_secs_f64(row.try_get(21)?).unwrap_or_default(),
                only_lane: row.try_get(22)?,
                turn: Duration::try_from_secs_f64(row.try_get(23)?).unwrap_or_default(),
            })
        })?;
    }
    Ok(lanes.finish(|probe, owed| probe.lane.owed = owed))
}

/// A claimed lane. Column `at` holds its position.
pub(super) fn claimed_lane(row: &Row, at: usize, token: i64) -> Result<ClaimedLane, StoreError> {
    Ok(ClaimedLane {
        key: lane_key(row)?,
        due_at: row.try_get(2)?,
        token,
        position: row.try_get(at)?,
        generation: row.try_get(at + 1)?,
        failed: failed(row, at + 2)?,
        failures: row.try_get(at + 3)?,
        split_until: row.try_get(at + 6)?,
        owed: Owed::default(),
    })
}

/// The messages that a lane's failures belong to. Column `at` holds the first of them. A lane whose
/// head failed alone names no other message.
fn failed(row: &Row, at: usize) -> Result<Option<Batch>, StoreError> {
    let Some(first) = row.try_get(at)? else { return Ok(None) };
    let count = row.try_get::<_, Option<i32>>(at + 3)?.and_then(|count| usize::try_from(count).ok());
    Ok(Some(Batch {
        first,
        last: row.try_get::<_, Option<_>>(at + 2)?.unwrap_or(first),
        count: count.unwrap_or(1),
    }))
}

/// A message of a lane that the worker held before.
pub(super) fn follower(row: &Row) -> Result<Follower, StoreError> {
    let message = match row.try_get::<_, Option<&str>>(14)? {
        Some(_) => Some(message(row, 11, row.try_get(11)?, Arc::from(row.try_get::<_, &str>(12)?))?),
        None => None,
    };
    Ok(Follower {
        key: lane_key(row)?,
        token: row.try_get(3)?,
        generation: row.try_get(5)?,
        after: row.try_get(4)?,
        message_id: row.try_get(11)?,
        message,
    })
}

/// The message whose columns begin at `first`.
fn message(row: &Row, first: usize, id: i64, partition_key: Arc<str>) -> Result<Message, StoreError> {
    Ok(Message {
        id,
        partition_key,
        r#type: row.try_get(first + 2)?,
        payload: row.try_get::<_, String>(first + 3)?.into(),
        headers: row.try_get(first + 4)?,
        // The trigger keeps it within the type's range. A value that was written past the trigger
        // may be out of it, and must not end the worker.
        created_at: row.try_get(first + 5).unwrap_or(Timestamp::MAX),
        replay: row.try_get::<_, Option<SystemTime>>(first + 6)?.is_some(),
        born: born(row.try_get(first + 8)?),
    })
}

/// The instant from which an age of so many seconds counts.
fn born(age: Option<f64>) -> Instant {
    let now = Instant::now();
    let age = age.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or_default();
    // A clock that cannot tell an instant so long ago takes the message for a new one.
    now.checked_sub(age).unwrap_or(now)
}

pub(super) fn lane_key(row: &Row) -> Result<LaneKey, StoreError> {
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
pub(super) struct LaneRows<T> {
    lanes: Vec<LaneRow<T>>,
    index: HashMap<LaneKey, usize>,
    /// The key of the last message, shared by messages with the same key.
    partition_key: Arc<str>,
    messages_per_lane: usize,
}

impl<T> LaneRows<T> {
    pub(super) fn new(messages_per_lane: i32) -> Self {
        Self {
            lanes: Vec::new(),
            index: HashMap::new(),
            partition_key: Arc::from(""),
            messages_per_lane: usize::try_from(messages_per_lane).unwrap_or_default(),
        }
    }

    /// Adds a row. Its message's columns begin at `first`. `make` makes the lane if this is its
    /// first row.
    pub(super) fn add(
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
        let item = match row.try_get(first + 7)? {
            "missing" => OwedMessage::Missing(id),
            "superseded" => OwedMessage::Superseded(id),
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

    pub(super) fn finish(self, set: impl Fn(&mut T, Owed)) -> Vec<T> {
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
