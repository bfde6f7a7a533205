//! A webhook as a worker knows it: what it makes requests from.

use std::{fmt, sync::Arc, time::Duration};

use secrecy::SecretString;

use super::{breaker::BreakerPolicy, policy::Policy, webhook::Format};

/// The longest name of an installation, in bytes.
pub const SOURCE_MAX: usize = 255;

/// Whether a text can be the name of an installation. It is sent as a header, and receivers compare
/// it: visible ASCII without spaces.
pub fn is_source(text: &str) -> bool {
    (1..=SOURCE_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// What a worker must know about a webhook to deliver to it.
#[derive(Clone)]
pub struct Target {
    /// The webhook.
    pub webhook_id: i64,
    /// The name of this installation.
    pub source: Arc<str>,
    /// Its name.
    pub name: String,
    /// Its topic's name.
    pub topic: String,
    /// Whether messages with the same partition key stay in order.
    pub ordered: bool,
    /// Where requests go.
    pub url: String,
    /// Signing secrets (`whsec_…`), newest first. Each of them signs every request.
    pub secrets: Vec<SecretString>,
    /// The webhook's own headers.
    pub headers: Vec<(String, String)>,
    /// The format of a request's body.
    pub format: Format,
    /// How many consecutive messages of a lane one request may carry; more than 1 sends a JSON
    /// array.
    pub batch_size: usize,
    /// Attempts, back-off, timeout.
    pub policy: Policy,
    /// How many requests a second all workers together may send; `None` is no limit.
    pub rate_limit_per_second: Option<f64>,
    /// For how much longer its receiver has asked for nothing to be sent, as of the reading.
    pub held_for: Option<Duration>,
    /// Whether its breaker may open.
    pub breaker: BreakerPolicy,
    /// Whether lanes of this webhook may be claimed: it is active, neither paused nor disabled, and
    /// its topic is not on hold.
    pub deliverable: bool,
}

// Secrets and headers are left out: headers may hold credentials.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("webhook_id", &self.webhook_id)
            .field("topic", &self.topic)
            .field("url", &self.url)
            .field("policy", &self.policy)
            .field("deliverable", &self.deliverable)
            .finish_non_exhaustive()
    }
}

/// A webhook as a worker finds it in the database.
#[derive(Debug, Clone)]
pub struct TargetRow {
    /// The webhook.
    pub webhook_id: i64,
    /// Whether lanes of this webhook may be claimed: it is active, neither paused nor disabled, and
    /// its topic is not on hold.
    pub deliverable: bool,
    /// The version of the row that was read (its `xmin`). It is another one after every change.
    pub version: String,
    /// What a worker must know, or why that cannot be read.
    pub target: Result<Target, UnreadableTarget>,
}

/// Why a webhook's row cannot be read. The messages are one line. They show no value that may be a
/// secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableTarget {
    /// The headers are not a JSON object of strings.
    #[error("the webhook's headers are not a JSON object whose values are strings")]
    Headers,
    /// A column holds a word that this release does not know.
    #[error("the webhook's {column} is {value:?}, which this release does not know")]
    Unknown {
        /// The column.
        column: &'static str,
        /// Its value.
        value: String,
    },
    /// A column holds a value of a wrong type, such as null in an array.
    #[error("the webhook's {0} cannot be read")]
    Column(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_installation_is_visible_ascii() {
        for name in ["pgtopic", "shop-eu/orders", "~", &"x".repeat(255)] {
            assert!(is_source(name), "{name}");
        }
        for name in ["", "a b", "a\tb", "a\r\nb", "\u{fc}", "a\0", &"x".repeat(256)] {
            assert!(!is_source(name), "{name:?}");
        }
    }
}
