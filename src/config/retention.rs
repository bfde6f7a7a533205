//! The section `retention`.

use serde::Deserialize;

/// How long things are kept. 0 keeps them for ever.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionConfig {
    /// For how many days messages are kept, for topics that do not say; 0 to 36600. Default 30. A
    /// message that is owed or a dead letter is kept longer.
    pub messages_days: u32,
    /// For how many days the attempt log is kept, 0 to 36600. Default 30.
    pub attempts_days: u32,
    /// For how many days dead letters are kept, 0 to 36600. Default 0.
    pub dead_letters_days: u32,
    /// For how many days activity is kept, 0 to 36600. Default 30.
    pub activity_days: u32,
}
