//! Writes the outcomes of requests, and the attempt log.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use uuid::Uuid;

use super::{Store, error::StoreError, statement::sql};
use crate::domain::{
    attempt::{AttemptResult, ErrorClass},
    batch::Batch,
    dead_letter::Reason,
    lane::LaneKey,
};

/// A claim of a lane: the lane, and the token of the claim.
pub type Claim = (LaneKey, i64);

/// What one call settles, by claim. The claims are in primary-key order, so that no two calls
/// deadlock.
pub type Settlement = BTreeMap<Claim, LaneOutcomes>;

/// The outcomes of the requests of one claim.
#[derive(Debug, Clone, Default)]
pub struct LaneOutcomes {
    /// The ids of messages that were accepted.
    pub done: Vec<i64>,
    /// Deliveries that move to the dead letters.
    pub dead: Vec<DeadDelivery>,
    /// How the lane's row changes, if it does.
    pub change: Option<LaneChange>,
    /// The newest generation that the worker knows, if it still has the lane and wants to hear of a
    /// newer one.
    pub generation: Option<i32>,
}

impl LaneOutcomes {
    /// How many outcomes there are.
    pub fn count(&self) -> usize {
        self.done.len() + self.dead.len() + usize::from(self.change.is_some())
    }

    /// Adds later outcomes. If both change the lane, the later change counts.
    pub fn add(&mut self, later: Self) {
        self.done.extend(later.done);
        self.dead.extend(later.dead);
        self.change = later.change.or(self.change.take());
        self.generation = later.generation.or(self.generation);
    }
}

/// A delivery that moves to the dead letters.
#[derive(Debug, Clone)]
pub struct DeadDelivery {
    /// The id of its message.
    pub message_id: i64,
    /// Why it was given up.
    pub reason: Reason,
    /// How many attempts were made.
    pub attempts: u32,
    /// How the last attempt ended; `None` if no request was made.
    pub last: Option<AttemptResult>,
}

/// How a held lane's row changes.
#[derive(Debug, Clone)]
pub struct LaneChange {
    /// The newest generation that the worker knows. The position moves only if the row still has
    /// it.
    pub generation: i32,
    /// Everything up to this message id has left the lane.
    pub position: i64,
    /// Whether it stays held, or how it is released.
    pub state: LaneState,
    /// The messages that failures, error and wait belong to.
    pub failed: Option<Batch>,
    /// How many attempts of these messages have failed.
    pub failures: u32,
    /// Messages up to this id are sent one by one.
    pub split_until: Option<i64>,
    /// Why the last attempt failed.
    pub last_error: Option<LastError>,
}

/// Why the last attempt at a lane's head failed.
#[derive(Debug, Clone)]
pub struct LastError {
    /// In one line, for people.
    pub text: String,
    /// The kind of failure; `None` if no request was made.
    pub class: Option<ErrorClass>,
    /// The HTTP status, if an answer came.
    pub status_code: Option<u16>,
}

impl LastError {
    /// Why an attempt failed; `None` if it was accepted.
    pub fn of(result: &AttemptResult) -> Option<Self> {
        let AttemptResult { error_class, status_code, .. } = *result;
        Some(Self { text: result.error.clone()?, class: error_class, status_code })
    }
}

/// The state in which a settle leaves a lane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LaneState {
    /// It stays held.
    Held,
    /// Released, due now.
    Ready,
    /// Released, due after this long.
    Waiting(Duration),
    /// Released, and never due until an operator acts.
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

/// An attempt for the attempt log.
#[derive(Debug, Clone)]
pub struct AttemptRow {
    /// The id of the webhook.
    pub webhook_id: i64,
    /// The id of the message.
    pub message_id: i64,
    /// Its number; 1 is the first.
    pub attempt: u32,
    /// The messages that the request carried.
    pub batch: Option<Batch>,
    /// How it ended.
    pub result: AttemptResult,
    /// When it began.
    pub attempted_at: Timestamp,
    /// Whether the request carried replays.
    pub replay: bool,
}

/// What a settle did for one claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettleOutcome {
    /// It was written.
    Written,
    /// It was written. What the lane owes has changed: this is its generation.
    Renewed(i32),
    /// The lane is the worker's, but somebody else has locked its row: nothing was written.
    Locked,
    /// The lane is not the worker's any more. Nothing was written, and nothing will be.
    Lost,
}

impl Store {
    /// Writes the outcomes of many lanes in one call. If a wait takes too long, or a row cannot be
    /// written, the call fails and writes nothing.
    ///
    /// Returns for each claim of the settlement what was done.
    ///
    /// # Errors
    /// SQLSTATE 55P03 if a wait took too long, and PostgreSQL's error if it refuses a row.
    pub async fn settle(
        &self,
        worker: Uuid,
        settlement: &Settlement,
    ) -> Result<Vec<(Claim, SettleOutcome)>, StoreError> {
        macro_rules! lanes {
            ($claim:pat, $lane:pat => $value:expr) => {
                settlement.iter().map(|($claim, $lane)| $value).collect::<Vec<_>>()
            };
        }
        macro_rules! change {
            ($change:ident => $value:expr) => {
                settlement
                    .values()
                    .map(|lane| lane.change.as_ref().and_then(|$change| $value))
                    .collect::<Vec<_>>()
            };
        }
        macro_rules! dead {
            ($dead:ident => $value:expr) => {
                settlement.values().flat_map(|lane| &lane.dead).map(|$dead| $value).collect::<Vec<_>>()
            };
        }
        let (mut done_lanes, mut dead_lanes): (Vec<i32>, Vec<i32>) = (Vec::new(), Vec::new());
        for (lane, number) in settlement.values().zip(1..) {
            done_lanes.extend(lane.done.iter().map(|_| number));
            dead_lanes.extend(lane.dead.iter().map(|_| number));
        }
        let parameters: super::Parameters<'_> = &[
            &worker,
            &lanes!((key, _), _ => key.webhook_id),
            &lanes!((key, _), _ => key.lane),
            &lanes!((_, token), _ => *token),
            &lanes!(_, lane => lane.change.as_ref().map_or("untouched", |change| change.state.as_str())),
            &lanes!(_, lane => lane.change.as_ref().map(|change| change.generation).or(lane.generation)),
            &change!(change => Some(change.position)),
            &change!(change => match change.state {
                LaneState::Waiting(delay) => Some(delay.as_secs_f64()),
                _ => None,
            }),
            &change!(change => change.failed.map(|failed| failed.first)),
            &change!(change => Some(integer(change.failures))),
            &change!(change => several(change).map(|failed| failed.last)),
            &change!(change => several(change).map(|failed| i32::try_from(failed.count).unwrap_or(i32::MAX))),
            &change!(change => change.split_until),
            &change!(change => change.last_error.as_ref().map(|error| storable(&error.text))),
            &change!(change => change.last_error.as_ref()?.class.map(ErrorClass::as_str)),
            &change!(change => change.last_error.as_ref()?.status_code.and_then(small)),
            &done_lanes,
            &settlement.values().flat_map(|lane| &lane.done).copied().collect::<Vec<_>>(),
            &dead_lanes,
            &dead!(dead => dead.message_id),
            &dead!(dead => dead.reason.as_str()),
            &dead!(dead => integer(dead.attempts)),
            &dead!(dead => dead.last.as_ref().and_then(|last| last.error_class).map(ErrorClass::as_str)),
            &dead!(dead => dead.last.as_ref().and_then(status_code)),
            &dead!(dead => dead.last_error()),
        ];
        let rows = self.call(sql!("lanes/settle"), parameters).await?;
        let mut outcomes: Vec<(Claim, SettleOutcome)> =
            settlement.keys().map(|claim| (*claim, SettleOutcome::Written)).collect();
        for row in &rows {
            let (number, outcome): (i32, &str) = (row.try_get(0)?, row.try_get(1)?);
            let outcome = match outcome {
                "locked" => SettleOutcome::Locked,
                "lost" => SettleOutcome::Lost,
                "renewed" => SettleOutcome::Renewed(row.try_get(2)?),
                other => return Err(StoreError::Unexpected(format!("settle outcome {other:?}"))),
            };
            let at = usize::try_from(number - 1).ok().and_then(|at| outcomes.get_mut(at));
            at.ok_or_else(|| StoreError::Unexpected(format!("settle outcome of lane {number}")))?.1 = outcome;
        }
        Ok(outcomes)
    }

    /// Appends rows to the attempt log.
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
                &column!(row => status_code(&row.result)),
                &column!(row => row.result.error_class.map(ErrorClass::as_str)),
                &column!(row => row.result.error.as_deref().map(storable)),
                &column!(row => i64::try_from(row.result.duration.as_micros()).unwrap_or(i64::MAX)),
                &column!(row => row.result.response_excerpt.as_deref().map(storable)),
                &column!(row => row.attempted_at),
                &worker,
                &column!(row => row.batch.filter(|batch| batch.count > 1).map(|batch| batch.first)),
                &column!(row => row.batch.filter(|batch| batch.count > 1).map(|batch| batch.last)),
                &column!(row => row.replay),
                &column!(row => row.result.retry_after.map(whole_seconds)),
            ],
        )
        .await?;
        Ok(())
    }
}

/// The batch that failed, if it holds several messages.
fn several(change: &LaneChange) -> Option<Batch> {
    change.failed.filter(|failed| failed.count > 1)
}

impl DeadDelivery {
    fn last_error(&self) -> Option<String> {
        match (&self.last, self.reason) {
            (Some(last), _) => last.error.as_deref().map(storable),
            (None, Reason::MessageMissing) => {
                Some("the message was deleted before it was delivered".to_owned())
            }
            (None, _) => None,
        }
    }
}

fn status_code(result: &AttemptResult) -> Option<i16> {
    result.status_code.and_then(small)
}

/// A wait in whole seconds. A part of a second counts as one.
fn whole_seconds(wait: Duration) -> i32 {
    i32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(i32::MAX)
}

fn small(code: u16) -> Option<i16> {
    i16::try_from(code).ok()
}

fn integer(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// A receiver's text as PostgreSQL can store it: every character but NUL.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
