//! The section `worker`.

use serde::Deserialize;

use super::{BindAddress, empty_is_none_word};
use crate::domain::scope::TopicScope;

/// The most patterns of `worker.topics`.
pub(super) const TOPICS_MAX: usize = 100;

/// Settings of the worker.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerConfig {
    /// How many lanes one worker may have in flight at once, 1 to 10000. Default 100.
    pub concurrency: usize,
    /// How long requests in flight may take to finish at shutdown, in seconds, 0 to 3600. Default
    /// 15.
    pub shutdown_seconds: u64,
    /// Whether nothing is sent until somebody has switched sending on (`pgtopic sending on`).
    /// Default false.
    pub start_paused: bool,
    /// The topics that this worker sends: names, or beginnings of names with `*` at the end, at most
    /// 100. Default: all topics.
    pub topics: Vec<String>,
    /// Address or name, and port, where `serve`, `dev` and `worker` give the metrics of their process
    /// to everybody. Default: not set; nothing listens.
    #[serde(deserialize_with = "empty_is_none_word")]
    pub metrics_bind: Option<BindAddress>,
}

impl WorkerConfig {
    /// The patterns of the topics that this worker sends; `None`: all topics.
    pub fn patterns(&self) -> Option<&[String]> {
        Some(&*self.topics).filter(|topics| !topics.is_empty())
    }

    /// The topics that this worker sends.
    pub fn scope(&self) -> TopicScope {
        TopicScope::of(self.patterns())
    }
}
