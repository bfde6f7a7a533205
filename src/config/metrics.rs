//! The section `metrics`.

use serde::Deserialize;

/// Settings of the metrics.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsConfig {
    /// Whether metrics of webhooks have the label `webhook`: `auto`, `on` or `off`. Default `auto`.
    pub per_webhook: PerWebhook,
}

/// Whether metrics of webhooks have the label `webhook`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum PerWebhook {
    /// They do while there are at most [`AUTO_MAX`](Self::AUTO_MAX) webhooks.
    Auto,
    /// They do.
    On,
    /// They do not: the figures of a topic's webhooks are one.
    Off,
}

impl PerWebhook {
    /// Up to how many webhooks `auto` is `on`.
    pub const AUTO_MAX: usize = 1000;

    /// Whether the label is there, with so many webhooks.
    pub fn names(self, webhooks: usize) -> bool {
        match self {
            Self::Auto => webhooks <= Self::AUTO_MAX,
            Self::On => true,
            Self::Off => false,
        }
    }
}

impl TryFrom<String> for PerWebhook {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        match word.as_str() {
            "auto" => Ok(Self::Auto),
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            other => Err(format!("must be auto, on or off, not {other}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_names_a_thousand_webhooks_and_no_more() {
        assert!(PerWebhook::Auto.names(1000) && !PerWebhook::Auto.names(1001));
        assert!(PerWebhook::On.names(1001) && !PerWebhook::Off.names(1));
    }
}
