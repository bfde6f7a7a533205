//! The bodies of sending.

use serde::{Deserialize, Serialize};

use crate::domain::sending;

words! {
    /// Why nothing is sent.
    #[serde(rename_all = "snake_case")]
    NotSending of sending::NotSending {
        /// Somebody has switched sending off.
        SwitchedOff,
        /// The database is a copy: it was restored on another server, or under another name.
        Copy,
        /// The process was started with `worker.start_paused`, and nobody has switched sending on.
        StartPaused,
    }
}

/// Switches sending on or off, for all workers.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SendingChange {
    /// Whether to send. `true` also says that this installation sends from this database.
    sending: bool,
    /// Why, in 1 to 1000 bytes.
    #[serde(default)]
    reason: Option<String>,
}

impl From<SendingChange> for sending::SendingChange {
    fn from(SendingChange { sending, reason }: SendingChange) -> Self {
        Self { sending, reason }
    }
}

/// Whether anything is sent.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct SendingStatus {
    /// Whether messages are sent.
    sending: bool,
    /// Why nothing is sent; null if messages are sent.
    why_not: Option<NotSending>,
    /// The same in words, with the remedy.
    detail: Option<&'static str>,
    /// The reason that was given when sending was switched the last time.
    reason: Option<String>,
    /// Who switched it the last time; null if nobody ever did.
    changed_by: Option<String>,
}

impl From<(sending::SendingStatus, Option<sending::NotSending>)> for SendingStatus {
    fn from((status, why_not): (sending::SendingStatus, Option<sending::NotSending>)) -> Self {
        let sending::SendingStatus { switch: _, reason, changed_by } = status;
        Self {
            sending: why_not.is_none(),
            why_not: why_not.map(Into::into),
            detail: why_not.map(sending::NotSending::text),
            reason,
            changed_by,
        }
    }
}
