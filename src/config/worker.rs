//! The section `worker`.

use serde::Deserialize;

/// The worker.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerConfig {
    /// Lanes in flight in one worker. Default 100.
    pub concurrency: usize,
    /// How long requests in flight may take to finish at shutdown, in seconds. Default 15.
    pub shutdown_seconds: u64,
}
