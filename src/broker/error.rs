//! Why a use case was not carried out.

use crate::{
    domain::{topic::TopicRef, violation::Violations},
    store::{Refusal, StoreError},
};

/// Why a use case was not carried out. The messages are for whoever asked.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// What was given breaks rules.
    #[error(transparent)]
    Invalid(#[from] Violations),
    /// What was named does not exist.
    #[error("{0}")]
    NotFound(String),
    /// It cannot be done as things stand.
    #[error("{message}")]
    Conflict {
        /// What stands in the way.
        kind: Conflict,
        /// The same in words.
        message: String,
    },
    /// A payload is larger than its topic takes.
    #[error("{0}")]
    TooLarge(String),
    /// The database does not serve right now. It may in a moment.
    #[error("the database does not serve right now; try again in a moment")]
    Unavailable(#[source] StoreError),
    /// A probe found that this process cannot serve.
    #[error("{0}")]
    NotReady(String),
    /// A fault of pgtopic's own, or of its schema.
    #[error("something went wrong here; the log says what")]
    Internal(#[source] StoreError),
}

/// What stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// The name is taken.
    Duplicate,
    /// The topic takes no messages.
    Paused,
    /// The topic still has webhooks.
    InUse,
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
            // The topic went while the message was on its way.
            Some(Refusal::TopicGone) => Self::NotFound(message()),
            Some(Refusal::PayloadTooLarge) => Self::TooLarge(message()),
            Some(Refusal::TopicPaused) => Self::conflict(Conflict::Paused, message()),
            Some(Refusal::PayloadUnreadable) | None => Self::Internal(error),
        }
    }
}

impl BrokerError {
    /// It cannot be done as things stand.
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

    /// There is no webhook of that id.
    pub(super) fn no_webhook(id: i64) -> Self {
        Self::NotFound(format!("there is no webhook {id}"))
    }
}
