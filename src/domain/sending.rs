//! Whether anything is sent from here at all.
//!
//! A copy of a database owes what the first one owes. If both sent it, every receiver would get
//! every message twice, and the copy of a test would call real receivers.

use super::{violation::Violations, words::stored_words};

/// The longest reason for switching sending, in bytes.
pub const SENDING_REASON_MAX: usize = 1000;

/// What the database says about sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendingSwitch {
    /// What was said last; `None` if nobody has said anything yet.
    pub sending: Option<bool>,
    /// Whether the database is a copy: the installation was to send from another server or
    /// database.
    pub is_copy: bool,
}

stored_words! {
    /// Why nothing is sent.
    pub enum NotSending {
        /// Somebody has switched sending off.
        SwitchedOff = "switched_off",
        /// The database is a copy.
        Copy = "copy",
        /// The process was started paused, and nobody has switched sending on.
        StartPaused = "start_paused",
    }
}

impl NotSending {
    /// The reason and the remedy in words.
    pub fn text(self) -> &'static str {
        match self {
            Self::SwitchedOff => {
                "nothing is sent: sending was switched off; to send again, run `pgtopic sending on`, or POST /sending \
                 {\"sending\": true}"
            }
            Self::Copy => {
                "nothing is sent: this database is a copy, since this installation was to send from another server or \
                 database; if it is to send from here now, run `pgtopic sending on`, or POST /sending {\"sending\": true}"
            }
            Self::StartPaused => {
                "nothing is sent: worker.start_paused is set, and nobody has switched sending on; to send, run `pgtopic \
                 sending on`, or POST /sending {\"sending\": true}"
            }
        }
    }
}

impl SendingSwitch {
    /// Why nothing is sent; `None` if messages are sent. `start_paused`: the setting of the
    /// process.
    pub fn why_not(self, start_paused: bool) -> Option<NotSending> {
        match self {
            Self { sending: Some(false), .. } => Some(NotSending::SwitchedOff),
            Self { is_copy: true, .. } => Some(NotSending::Copy),
            Self { sending: None, .. } if start_paused => Some(NotSending::StartPaused),
            _ => None,
        }
    }
}

/// Whether anything is sent, who said so and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendingStatus {
    /// What the database says.
    pub switch: SendingSwitch,
    /// Why sending was switched the last time.
    pub reason: Option<String>,
    /// Who switched it the last time.
    pub changed_by: Option<String>,
}

/// Switches sending on or off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendingChange {
    /// Whether to send.
    pub sending: bool,
    /// Why, in 1 to 1000 bytes.
    pub reason: Option<String>,
}

impl SendingChange {
    /// Checks the reason.
    ///
    /// # Errors
    /// The broken rule.
    pub fn check(&self) -> Result<(), Violations> {
        let mut violations = Violations::default();
        let fits = |reason: &str| (1..=SENDING_REASON_MAX).contains(&reason.len()) && !reason.contains('\0');
        violations.require(
            self.reason.as_deref().is_none_or(fits),
            "reason",
            &format!("must be a text of 1 to {SENDING_REASON_MAX} bytes without NUL"),
        );
        violations.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_wins_and_a_copy_sends_only_when_it_was_said_there() {
        use NotSending::{Copy, StartPaused, SwitchedOff};
        for (sending, is_copy, start_paused, expected) in [
            (None, false, false, None),
            (None, false, true, Some(StartPaused)),
            (None, true, false, Some(Copy)),
            (None, true, true, Some(Copy)),
            (Some(true), false, true, None),
            // It was said in the database that this one is a copy of.
            (Some(true), true, false, Some(Copy)),
            (Some(false), false, false, Some(SwitchedOff)),
            (Some(false), true, true, Some(SwitchedOff)),
        ] {
            let switch = SendingSwitch { sending, is_copy };
            assert_eq!(switch.why_not(start_paused), expected, "{switch:?}, start_paused {start_paused}");
        }
    }

    #[test]
    fn a_reason_has_limits() {
        let change =
            |reason: &str| SendingChange { sending: true, reason: Some(reason.to_owned()) }.check().is_ok();
        assert!(change("a") && change(&"x".repeat(SENDING_REASON_MAX)));
        assert!(!change("") && !change("a\0b") && !change(&"x".repeat(SENDING_REASON_MAX + 1)));
    }
}
