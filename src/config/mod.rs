//! Settings, a file and a struct for each section: `config/pgtopic.toml` compiled in, then the file
//! of `--config`, the environment, and flags.
//!
//! Every key, its default and unit are in `config/pgtopic.toml`. Unknown keys are errors, secrets
//! never appear in `Debug` or in errors. [`Config::load`] brings the sources together,
//! [`Config::default`] is the compiled-in file alone.

mod api;
mod check;
mod database;
mod delivery;
mod load;
mod log;
mod wake;
mod worker;

use serde::{Deserialize, Deserializer};

pub use self::{
    api::ApiConfig,
    database::{DatabaseConfig, Pooler},
    delivery::DeliveryConfig,
    load::{ConfigError, Flag, Sources},
    log::{LogConfig, LogFormat},
    wake::{Notify, WakeConfig},
    worker::WorkerConfig,
};

/// All settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the database is.
    pub database: DatabaseConfig,
    /// The HTTP API.
    pub api: ApiConfig,
    /// The worker.
    pub worker: WorkerConfig,
    /// How workers hear of messages.
    pub wake: WakeConfig,
    /// Defaults of a webhook's policy, and where requests may go.
    pub delivery: DeliveryConfig,
    /// Logs.
    pub log: LogConfig,
}

/// An empty text in a file, or an empty environment variable, is a setting that is not set.
fn empty_is_none<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: From<String>,
{
    let text = String::deserialize(deserializer)?;
    Ok(Some(text).filter(|text| !text.is_empty()).map(T::from))
}

/// The same for a word that may be wrong.
fn empty_is_none_word<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<String, Error = String>,
{
    let word = empty_is_none::<D, String>(deserializer)?;
    word.map(T::try_from).transpose().map_err(serde::de::Error::custom)
}
