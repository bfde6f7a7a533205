//! The circuit breakers: ask, open, probe, close.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::{
    Store,
    error::StoreError,
    lanes::{ReadLimits, TakenProbe, probes},
    statement::sql,
    topics::like,
};
use crate::domain::{
    breaker::{BreakerRow, BreakerState, Opening, TurnEnd, Waking},
    change::worker_actor,
    scope::TopicScope,
};

/// How long the parts of an opening take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpeningTimes {
    /// How long other workers have for an objection.
    pub objection: Duration,
    /// For how long the success of another worker counts.
    pub success_counts: Duration,
    /// When the first probe is due after it has opened.
    pub first_probe: Duration,
}

/// What a worker asks for when it takes probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeWant {
    /// How many webhooks at most.
    pub at_most: usize,
    /// The timeout of a webhook that sets none.
    pub default_timeout: Duration,
    /// How much longer than two timeouts the turn lasts.
    pub spare: Duration,
}

/// Whose turn it is to probe a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeTurn {
    /// The webhook.
    pub webhook_id: i64,
    /// The token of the claim.
    pub token: i64,
    /// The epoch of the breaker.
    pub epoch: i64,
}

/// How a probe's turn ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeEnd {
    /// The receiver is there again, for this reason: the breaker closes.
    Close(String),
    /// It stays open.
    StayOpen {
        /// Whether a request was made.
        failed: bool,
        /// When the next probe is due.
        next_in: Duration,
        /// Why the webhook is to be disabled.
        disable: Option<String>,
    },
}

impl Store {
    /// Opens a webhook's breaker for what has failed in `epoch`, unless another worker objects.
    pub async fn open_breaker(
        &self,
        worker: Uuid,
        webhook_id: i64,
        epoch: i64,
        reason: &str,
        times: OpeningTimes,
    ) -> Result<Opening, StoreError> {
        let parameters: super::Parameters<'_> = &[
            &worker,
            &webhook_id,
            &epoch,
            &reason.replace('\0', "\u{fffd}"),
            &times.objection.as_secs_f64(),
            &times.success_counts.as_secs_f64(),
            &times.first_probe.as_secs_f64(),
        ];
        let row = self.query_one(sql!("breakers/open"), parameters).await?;
        let epoch = row.try_get(1)?;
        Ok(match row.try_get(0)? {
            "opened" => Opening::Opened(epoch),
            "asked" => Opening::Asked,
            "refused" => Opening::Refused,
            "outdated" => Opening::Outdated(epoch),
            "off" => Opening::Off,
            other => return Err(StoreError::Unexpected(format!("opening {other:?}"))),
        })
    }

    /// Says that requests to these webhooks are accepted, where another worker suspects them.
    pub async fn note_success(
        &self,
        worker: Uuid,
        webhook_ids: &[i64],
        suspected: Duration,
    ) -> Result<(), StoreError> {
        self.execute(sql!("breakers/note_success"), &[&worker, &webhook_ids, &suspected.as_secs_f64()])
            .await?;
        Ok(())
    }

    /// Takes the turn to probe webhooks whose breakers are open, with a lane of each.
    ///
    /// # Errors
    /// As [`Store::claim_lanes`].
    pub async fn take_probes(
        &self,
        worker: Uuid,
        token: i64,
        want: ProbeWant,
        limits: ReadLimits,
        topics: &TopicScope,
    ) -> Result<Vec<TakenProbe>, StoreError> {
        let parameters: super::Parameters<'_> = &[
            &worker,
            &token,
            &i32::try_from(want.at_most).unwrap_or(i32::MAX),
            &like(topics),
            &want.default_timeout.as_secs_f64(),
            &want.spare.as_secs_f64(),
            &limits.messages_per_lane,
            &limits.payload_bytes,
        ];
        probes(&self.call(sql!("breakers/take_probes"), parameters).await?, token, limits)
    }

    /// Ends the turn of a probe.
    pub async fn end_probe(
        &self,
        worker: Uuid,
        turn: ProbeTurn,
        end: &ProbeEnd,
    ) -> Result<TurnEnd, StoreError> {
        let ProbeTurn { webhook_id, token, epoch } = turn;
        match end {
            ProbeEnd::Close(reason) => {
                let parameters: super::Parameters<'_> =
                    &[&webhook_id, &Some(worker), &Some(token), &Some(epoch), reason, &worker_actor(worker)];
                let begins: Option<i64> =
                    self.query_one(sql!("breakers/close"), parameters).await?.try_get(0)?;
                Ok(begins.map_or(TurnEnd::Lost, TurnEnd::Closed))
            }
            ProbeEnd::StayOpen { failed, next_in, disable } => {
                let parameters: super::Parameters<'_> =
                    &[&worker, &token, &webhook_id, &epoch, failed, &next_in.as_secs_f64(), disable];
                let row = self.query_one(sql!("breakers/end_probe"), parameters).await?;
                match row.try_get(0)? {
                    "ended" => Ok(TurnEnd::Ended),
                    "disabled" => Ok(TurnEnd::Disabled),
                    "lost" => Ok(TurnEnd::Lost),
                    other => Err(StoreError::Unexpected(format!("end of a probe {other:?}"))),
                }
            }
        }
    }

    /// Closes a webhook's breaker because an operator says so. Says whether it was open.
    pub async fn close_breaker(
        &self,
        webhook_id: i64,
        reason: &str,
        actor: &str,
    ) -> Result<bool, StoreError> {
        let none: (Option<Uuid>, Option<i64>) = (None, None);
        let parameters: super::Parameters<'_> = &[&webhook_id, &none.0, &none.1, &none.1, &reason, &actor];
        let begins: Option<i64> = self.query_one(sql!("breakers/close"), parameters).await?.try_get(0)?;
        Ok(begins.is_some())
    }

    /// Makes some lanes due that wait for the end of a back-off, after the breaker has closed.
    pub async fn wake_lanes(&self, webhook_id: i64, at_most: i32) -> Result<Waking, StoreError> {
        let row = self.query_one(sql!("breakers/wake_lanes"), &[&webhook_id, &at_most]).await?;
        match row.try_get(0)? {
            "more" => Ok(Waking::More),
            "done" => Ok(Waking::Done),
            "none" => Ok(Waking::Nothing),
            other => Err(StoreError::Unexpected(format!("waking of lanes {other:?}"))),
        }
    }

    /// The breakers that may have changed since an instant; `None`: all of them. `suspected`: how
    /// long a suspicion lasts.
    pub async fn list_changed_breakers(
        &self,
        since: Option<Timestamp>,
        suspected: Duration,
    ) -> Result<Vec<BreakerRow>, StoreError> {
        let rows = self.query(sql!("breakers/list_changed"), &[&since, &suspected.as_secs_f64()]).await?;
        let breaker = |row: &tokio_postgres::Row| {
            Ok(BreakerRow {
                webhook_id: row.try_get(0)?,
                open: row.try_get::<_, &str>(1)? == BreakerState::Open.as_str(),
                epoch: row.try_get(2)?,
                suspected: row.try_get(3)?,
                wakes: row.try_get(4)?,
            })
        };
        rows.iter().map(breaker).collect()
    }
}
