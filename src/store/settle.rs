//! Writing what became of requests.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::{Store, error::StoreError, statement::sql};
use crate::domain::{attempt::AttemptResult, lane::LaneKey};

/// What one call settles.
#[derive(Debug, Default)]
pub struct Settlement {
    /// Deliveries that were accepted.
    pub done: Vec<DoneDelivery>,
    /// Deliveries that move to the dead letters.
    pub dead: Vec<DeadDelivery>,
    /// Lanes whose row changes.
    pub lanes: Vec<LaneChange>,
}

/// A delivery that was accepted.
#[derive(Debug, Clone, Copy)]
pub struct DoneDelivery {
    /// Its lane.
    pub key: LaneKey,
    /// The token of the lane's claim.
    pub token: i64,
    /// Its message.
    pub message_id: i64,
}

/// A delivery that moves to the dead letters.
#[derive(Debug, Clone)]
pub struct DeadDelivery {
    /// The delivery.
    pub delivery: DoneDelivery,
    /// Why.
    pub reason: DeadReason,
    /// How many attempts were made.
    pub attempts: u32,
    /// How the last one ended.
    pub last_error: Option<String>,
}

/// Why a delivery became a dead letter; `dead_letters.reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadReason {
    /// It used up its attempts.
    AttemptsExhausted,
    /// Its message was deleted before it was delivered.
    MessageMissing,
}

impl DeadReason {
    /// The word stored in `dead_letters.reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::MessageMissing => "message_missing",
        }
    }
}

/// How a held lane's row changes.
#[derive(Debug, Clone)]
pub struct LaneChange {
    /// The lane.
    pub key: LaneKey,
    /// The token of its claim.
    pub token: i64,
    /// The newest count of rewinds that the worker knows: position moves only if it is still that.
    pub rewinds: i32,
    /// Everything up to here has left the lane.
    pub position: i64,
    /// Whether it stays held, or how it is released.
    pub state: LaneState,
    /// Failed attempts of its head.
    pub failures: u32,
    /// How the last attempt failed.
    pub last_error: Option<String>,
}

/// The states that a settle may leave a lane in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LaneState {
    /// Held on.
    Held,
    /// Released, due now.
    Ready,
    /// Released, due after this long.
    Waiting(Duration),
    /// Released, never due, until an operator steps in.
    Halted,
}

impl LaneState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Ready => "ready",
            Self::Waiting(_) => "waiting",
            Self::Halted => "halted",
        }
    }
}

/// One request for the log.
#[derive(Debug)]
pub struct AttemptRow {
    /// The webhook.
    pub webhook_id: i64,
    /// The message.
    pub message_id: i64,
    /// 1 is the first.
    pub attempt: u32,
    /// How it ended.
    pub result: AttemptResult,
    /// When it began.
    pub attempted_at: Timestamp,
}

impl Settlement {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.done.is_empty() && self.dead.is_empty() && self.lanes.is_empty()
    }
}

impl Store {
    /// Writes what became of requests. What belongs to lanes that the worker no longer holds is left alone.
    pub async fn settle(&self, worker: Uuid, settlement: &mut Settlement) -> Result<(), StoreError> {
        // Statements over many lanes go in primary-key order, so that no two of them deadlock.
        settlement.done.sort_unstable_by_key(|done| (done.key, done.message_id));
        settlement.dead.sort_unstable_by_key(|dead| (dead.delivery.key, dead.delivery.message_id));
        settlement.lanes.sort_unstable_by_key(|lane| lane.key);
        let Settlement { done, dead, lanes } = &*settlement;
        macro_rules! column {
            ($rows:ident, $row:ident => $value:expr) => {
                $rows.iter().map(|$row| $value).collect::<Vec<_>>()
            };
        }
        self.call(
            sql!("lanes/settle"),
            &[
                &worker,
                &column!(done, row => row.key.webhook_id),
                &column!(done, row => row.key.lane),
                &column!(done, row => row.token),
                &column!(done, row => row.message_id),
                &column!(dead, row => row.delivery.key.webhook_id),
                &column!(dead, row => row.delivery.key.lane),
                &column!(dead, row => row.delivery.token),
                &column!(dead, row => row.delivery.message_id),
                &column!(dead, row => row.reason.as_str()),
                &column!(dead, row => integer(row.attempts)),
                &column!(dead, row => row.last_error.as_deref()),
                &column!(lanes, row => row.key.webhook_id),
                &column!(lanes, row => row.key.lane),
                &column!(lanes, row => row.token),
                &column!(lanes, row => row.rewinds),
                &column!(lanes, row => row.position),
                &column!(lanes, row => row.state.as_str()),
                &column!(lanes, row => match row.state {
                    LaneState::Waiting(delay) => delay.as_secs_f64(),
                    _ => 0.0,
                }),
                &column!(lanes, row => integer(row.failures)),
                &column!(lanes, row => row.last_error.as_deref()),
            ],
        )
        .await?;
        Ok(())
    }

    /// Appends to the log of requests.
    pub async fn append_attempts(&self, worker: Uuid, rows: &[AttemptRow]) -> Result<(), StoreError> {
        macro_rules! column {
            ($row:ident => $value:expr) => {
                rows.iter().map(|$row| $value).collect::<Vec<_>>()
            };
        }
        self.execute(
            sql!("attempts/append"),
            &[
                &column!(row => row.webhook_id),
                &column!(row => row.message_id),
                &column!(row => integer(row.attempt)),
                &column!(row => row.result.outcome.as_str()),
                &column!(row => row.result.status_code.and_then(|code| i16::try_from(code).ok())),
                &column!(row => row.result.error_class.map(crate::domain::attempt::ErrorClass::as_str)),
                &column!(row => row.result.error.as_deref().map(storable)),
                &column!(row => i64::try_from(row.result.duration.as_micros()).unwrap_or(i64::MAX)),
                &column!(row => row.result.response_excerpt.as_deref().map(storable)),
                &column!(row => row.attempted_at),
                &worker,
            ],
        )
        .await?;
        Ok(())
    }
}

fn integer(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// A receiver's text as PostgreSQL takes it: it stores every character but NUL.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
