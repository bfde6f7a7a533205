//! The section `delivery`.

use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use crate::domain::policy::PolicyDefaults;

/// Defaults of a webhook's policy, and where requests may go.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveryConfig {
    /// Attempts before the dead letter. Default 5.
    pub max_retries: u32,
    /// The delay after the n-th failure is this to the power of n, in seconds. Default 2.0.
    pub backoff_factor: f64,
    /// Cap of one delay, in seconds. Default 3600.
    pub max_backoff_seconds: u64,
    /// One request, body included, in seconds. Default 10.
    pub timeout_seconds: u64,
    /// Networks (CIDR) exempt from the private-address guard. Default none.
    #[serde(default)]
    pub allow_networks: Vec<IpNet>,
}

impl DeliveryConfig {
    /// How long one request may take, where its webhook does not say.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }

    /// What holds where a webhook's own policy says nothing.
    pub fn policy(&self) -> PolicyDefaults {
        PolicyDefaults {
            max_retries: self.max_retries,
            backoff_factor: self.backoff_factor,
            max_backoff: Duration::from_secs(self.max_backoff_seconds),
            timeout: self.timeout(),
        }
    }
}
