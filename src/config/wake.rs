//! The section `wake`.

use serde::Deserialize;

use super::empty_is_none_word;

/// How workers hear of messages.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WakeConfig {
    /// Whether transactions that publish NOTIFY, for all processes of the schema. Default: not set,
    /// which leaves it as it is.
    #[serde(deserialize_with = "empty_is_none_word")]
    pub notify: Option<Notify>,
}

/// Whether transactions that publish NOTIFY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notify {
    /// Where `max_prepared_transactions` is 0: PostgreSQL refuses PREPARE TRANSACTION after NOTIFY.
    Auto,
    /// Always, unless workers ask for silence.
    On,
    /// Never: workers poll.
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
