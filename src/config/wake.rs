//! The section `wake`.

use serde::Deserialize;

use super::empty_is_none_word;

/// How workers learn of new messages.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WakeConfig {
    /// Whether transactions that publish send a NOTIFY. It is stored in the schema, for all
    /// processes. Default: not set; the stored setting stays as it is.
    #[serde(deserialize_with = "empty_is_none_word")]
    pub notify: Option<Notify>,
}

/// Whether transactions that publish send a NOTIFY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notify {
    /// As `On` if `max_prepared_transactions` is 0, otherwise as `Off`: PostgreSQL refuses PREPARE
    /// TRANSACTION after NOTIFY.
    Auto,
    /// They do, except while workers suppress notifications.
    On,
    /// They never do. Workers poll.
    Off,
}

impl Notify {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::On, Self::Off];

    /// The word in the settings and the schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

impl TryFrom<String> for Notify {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|notify| notify.as_str() == word);
        known.ok_or_else(|| format!("must be auto, on or off, not {word}"))
    }
}
