//! Why a use case failed.

use std::fmt::Display;

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    domain::{
        operation::StripeHolder,
        policy::{KEEP_LATEST_SINGLY, REFUSE_NEEDS_LIMIT, RETRY_SCHEDULE_ALONE},
        topic::TopicRef,
        violation::Violations,
    },
    store::{Refusal, StoreError},
};

/// Why a use case failed. The messages are for the caller.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The request breaks rules.
    #[error(transparent)]
    Invalid(#[from] Violations),
    /// The request names nothing that it means, and does not say that it means all.
    #[error("{0}")]
    NeedsAll(String),
    /// The topic, webhook, message, delivery or dead letter does not exist.
    #[error("{0}")]
    NotFound(String),
    /// Counting what the request means took too long.
    #[error("this takes too long: narrow the filter")]
    TooBroad,
    /// The caller may not do this, and is told so.
    #[error("{0}")]
    NotPermitted(String),
    /// The current state does not allow it.
    #[error("{message}")]
    Conflict {
        /// What does not allow it.
        kind: Conflict,
        /// The reason in words.
        message: String,
    },
    /// The payload is larger than its topic accepts, or the body than the API accepts.
    #[error("{0}")]
    TooLarge(String),
    /// The database cannot serve right now. Trying again in a moment may help.
    #[error("{}", unavailable(.0))]
    Unavailable(#[source] StoreError),
    /// This process does as much of this as it may. Trying again later may help.
    #[error("{0}")]
    Busy(String),
    /// A probe found that this process cannot serve.
    #[error("{0}")]
    NotReady(String),
    /// An error in pgtopic or in its schema. The log has the details.
    #[error("something went wrong here; the log says what")]
    Internal(#[source] StoreError),
}

/// Why the database cannot serve, for the caller. Who holds a partition is told by the log, and to
/// those who may ask why.
fn unavailable(cause: &StoreError) -> &'static str {
    match cause {
        StoreError::Held { .. } => {
            "the partition is held by a transaction that is still open; try again in a moment. GET \
             /topics/{topic}/why?partition_key= (pgtopic why TOPIC KEY) names it"
        }
        _ => "the database does not serve right now; try again in a moment",
    }
}

/// What does not allow a use case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// Another topic, or another webhook of the topic, has the name.
    Duplicate,
    /// The topic is paused and accepts no messages.
    Paused,
    /// A webhook of the topic is owed as much as it may be, and has messages refused.
    Overflow {
        /// The webhook: `topic:name`.
        webhook: String,
    },
    /// The topic still has webhooks.
    InUse,
    /// The message is not the head of its lane.
    NotHead {
        /// The head; `None` if the lane owes nothing.
        head: Option<i64>,
    },
    /// The message is the head of a lane that a worker holds: it may be on its way.
    InFlight {
        /// The worker's incarnation.
        worker: Uuid,
        /// Since when the worker holds the lane.
        since: Option<Timestamp>,
    },
    /// Somebody held the partition for a second: a publisher's transaction, or another operator.
    PartitionHeld(StripeHolder),
    /// The delivery is in a state that does not allow it, and the message says which.
    State,
    /// The job has ended.
    JobFinished,
    /// Nothing is sent from here: sending was switched off, or the database is a copy.
    NotSending,
}

impl From<StoreError> for BrokerError {
    fn from(error: StoreError) -> Self {
        if error.is_unavailable() {
            return Self::Unavailable(error);
        }
        let message = || error.database_message().unwrap_or_default().to_owned();
        match error.refusal() {
            Some(Refusal::TopicExists) => {
                Self::conflict(Conflict::Duplicate, "a topic of this name exists already")
            }
            Some(Refusal::WebhookExists) => {
                Self::conflict(Conflict::Duplicate, "a webhook of this name exists already in the topic")
            }
            Some(Refusal::RetryScheduleNotAlone) => {
                Violations::one("retry_schedule", RETRY_SCHEDULE_ALONE).into()
            }
            Some(Refusal::LatestOfBatches) => Violations::one("on_overflow", KEEP_LATEST_SINGLY).into(),
            Some(Refusal::RefusesWithoutLimit) => Violations::one("on_overflow", REFUSE_NEEDS_LIMIT).into(),
            // The topic was deleted while the message was being published.
            Some(Refusal::TopicGone) => Self::NotFound(message()),
            Some(Refusal::PayloadTooLarge) => Self::TooLarge(message()),
            Some(Refusal::TopicOverflows) => {
                let webhook = error.detail().unwrap_or_default().to_owned();
                Self::conflict(Conflict::Overflow { webhook }, message())
            }
            Some(Refusal::TopicPaused) => Self::conflict(Conflict::Paused, message()),
            Some(Refusal::PayloadUnreadable) | None => Self::Internal(error),
        }
    }
}

impl BrokerError {
    /// A [`BrokerError::Conflict`] with this message.
    pub(super) fn conflict(kind: Conflict, message: impl Into<String>) -> Self {
        Self::Conflict { kind, message: message.into() }
    }

    /// There is no topic of that id or name.
    pub fn no_topic(named: &str) -> Self {
        Self::NotFound(format!("there is no topic {named:?}"))
    }

    /// There is no such topic.
    pub(super) fn unknown_topic(topic: &TopicRef) -> Self {
        match topic {
            TopicRef::Id(id) => Self::no_topic(&id.to_string()),
            TopicRef::Name(name) => Self::no_topic(name),
        }
    }

    /// There is no such webhook.
    pub fn no_webhook(webhook: impl Display) -> Self {
        Self::NotFound(format!("there is no webhook {webhook}"))
    }
}
