//! Settings. Each section has a struct, in a file of its own.
//!
//! The sources are `config/pgtopic.toml`, which is compiled in, then the file of `--config`, the
//! file `.env`, the environment and flags. A later source wins over an earlier one.
//!
//! `config/pgtopic.toml` names every key with its default and unit. An unknown key is an error.
//! Secrets never appear in `Debug` output or in errors. [`Config::load`] combines all sources.
//! [`Config::default`] is the compiled-in file alone.

mod api;
mod check;
mod common;
mod console;
mod database;
mod delivery;
mod environment;
mod known;
mod layer;
mod load;
mod log;
mod metrics;
mod retention;
mod shown;
mod wake;
mod worker;

use serde::{Deserialize, Deserializer};

pub use self::{
    api::{ApiConfig, BindAddress},
    check::DAYS_MAX,
    common::common_settings,
    console::ConsoleConfig,
    database::{DatabaseConfig, OnCopy, Pooler},
    delivery::DeliveryConfig,
    environment::Environment,
    layer::Flag,
    load::{ConfigError, Reading, Sources},
    log::{LogConfig, LogFormat},
    metrics::{MetricsConfig, PerWebhook},
    retention::RetentionConfig,
    shown::Shown,
    wake::{Notify, WakeConfig},
    worker::WorkerConfig,
};

/// The compiled-in file: all keys, with their defaults.
const DEFAULTS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/config/pgtopic.toml"));

/// All settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The database.
    pub database: DatabaseConfig,
    /// The HTTP API.
    pub api: ApiConfig,
    /// The console.
    pub console: ConsoleConfig,
    /// The worker.
    pub worker: WorkerConfig,
    /// How workers learn of new messages.
    pub wake: WakeConfig,
    /// The defaults of a webhook's policy, and where requests may go.
    pub delivery: DeliveryConfig,
    /// How long things are kept.
    pub retention: RetentionConfig,
    /// The log.
    pub log: LogConfig,
    /// The metrics.
    pub metrics: MetricsConfig,
    /// All of them, as people see them.
    #[serde(skip)]
    pub shown: Vec<Shown>,
}

/// Reads a text. An empty text, or an empty environment variable, means that the setting is not
/// set.
fn empty_is_none<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: From<String>,
{
    let text = String::deserialize(deserializer)?;
    Ok(Some(text).filter(|text| !text.is_empty()).map(T::from))
}

/// The same for a setting that must be one of a few words.
fn empty_is_none_word<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<String, Error = String>,
{
    let word = empty_is_none::<D, String>(deserializer)?;
    word.map(T::try_from).transpose().map_err(serde::de::Error::custom)
}
