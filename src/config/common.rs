//! The settings that should be the same in all processes. `doctor` compares them.

use std::collections::BTreeMap;

use super::{DeliveryConfig, RetentionConfig};

/// The longest value, in bytes. A list of networks may be long.
const VALUE_MAX: usize = 2000;

/// Names and values of the settings that should be the same in all processes. None of them is a
/// secret.
pub fn common_settings(delivery: &DeliveryConfig, retention: &RetentionConfig) -> BTreeMap<String, String> {
    let mut networks: Vec<_> = delivery.allow_networks.iter().map(ToString::to_string).collect();
    networks.sort();
    let mut networks = networks.join(" ");
    networks.truncate(VALUE_MAX);
    let settings = [
        ("delivery.max_retries", delivery.max_retries.to_string()),
        ("delivery.backoff_factor", delivery.backoff_factor.to_string()),
        ("delivery.max_backoff_seconds", delivery.max_backoff_seconds.to_string()),
        ("delivery.timeout_seconds", delivery.timeout_seconds.to_string()),
        ("delivery.disable_after_days", delivery.disable_after_days.to_string()),
        ("delivery.allow_networks", networks),
        ("retention.messages_days", retention.messages_days.to_string()),
        ("retention.attempts_days", retention.attempts_days.to_string()),
        ("retention.dead_letters_days", retention.dead_letters_days.to_string()),
        ("retention.activity_days", retention.activity_days.to_string()),
    ];
    settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
