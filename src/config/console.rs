//! The section `console`.

use serde::Deserialize;

/// Settings of the console.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsoleConfig {
    /// Whether processes that serve the HTTP API serve the console, too. Default true.
    pub enabled: bool,
}
