//! The section `delivery`.

use std::{path::PathBuf, time::Duration};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de::Error};

use super::empty_is_none;
use crate::domain::policy::PolicyDefaults;

/// The defaults of a webhook's policy, and where requests may go.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveryConfig {
    /// How many attempts are made before a delivery is given up, the first one included, 1 to 1000.
    /// Default 5.
    pub max_retries: u32,
    /// The back-off: the delay after the n-th failure is this number to the power of n, in seconds;
    /// 1 to 100. Default 2.0.
    pub backoff_factor: f64,
    /// The longest delay, in seconds, 1 to 2592000. Default 3600.
    pub max_backoff_seconds: u64,
    /// How long one request may take, the answer's body included, in seconds, 1 to 600. Default 10.
    pub timeout_seconds: u64,
    /// A webhook whose breaker has been open for so many days is disabled; its backlog is kept. 0 to
    /// 3650; 0 never disables. Default 5.
    pub disable_after_days: u64,
    /// Networks (CIDR) that requests may go to although the address guard refuses them otherwise.
    /// Default none.
    #[serde(default, deserialize_with = "networks")]
    pub allow_networks: Vec<IpNet>,
    /// PEM file of certificate authorities that requests over TLS trust, beside the system's. No
    /// default.
    #[serde(deserialize_with = "empty_is_none")]
    pub ca_file: Option<PathBuf>,
}

/// Reads a list of networks. The error names every item that is none.
fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let items = Vec::<String>::deserialize(deserializer)?;
    let wrong: Vec<_> =
        items.iter().map(String::as_str).filter(|item| item.parse::<IpNet>().is_err()).collect();
    if !wrong.is_empty() {
        let wrong = wrong.join(", ");
        return Err(D::Error::custom(format!("must be networks such as 10.1.0.0/16, not {wrong}")));
    }
    Ok(items.iter().filter_map(|item| item.parse().ok()).collect())
}

impl DeliveryConfig {
    /// How long one request may take if its webhook does not say.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }

    /// After how long a webhook whose breaker is open is disabled; `None`: never.
    pub fn disable_after(&self) -> Option<Duration> {
        let day = Duration::from_hours(24);
        Some(day * u32::try_from(self.disable_after_days).unwrap_or(u32::MAX))
            .filter(|after| !after.is_zero())
    }

    /// The values for what a webhook's own policy leaves open.
    pub fn policy(&self) -> PolicyDefaults {
        PolicyDefaults {
            max_retries: self.max_retries,
            backoff_factor: self.backoff_factor,
            max_backoff: Duration::from_secs(self.max_backoff_seconds),
            timeout: self.timeout(),
        }
    }
}
