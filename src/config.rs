//! Settings: `config/pgtopic.toml` compiled in, then the file of `--config`, the environment, and flags.
//!
//! Every key, its default and unit are in `config/pgtopic.toml`. Unknown keys are errors, secrets never appear in
//! `Debug` or in errors. [`Config::load`] brings the sources together, [`Config::default`] is the compiled-in file alone.

mod check;
mod load;

use std::{fmt, net::SocketAddr};

use ipnet::IpNet;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

pub use self::load::{ConfigError, Flag, Sources};

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

/// Where the database is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseConfig {
    /// libpq URL; several hosts with `target_session_attrs=read-write` for failover. No default.
    #[serde(deserialize_with = "empty_is_none")]
    pub url: Option<SecretString>,
    /// Direct connection for LISTEN where the other goes through a pooler. Default: as `url`.
    #[serde(deserialize_with = "empty_is_none")]
    pub listen_url: Option<SecretString>,
    /// What stands between `url` and the server. Default `auto`.
    pub pooler: Pooler,
    /// The schema where everything lives. Default `pgtopic`.
    pub schema: String,
    /// Connections in the pool at most. Default 16.
    pub pool_size: usize,
    /// Whether `serve`, `api` and `worker` bring the schema up to date when they start. Default true.
    pub migrate: bool,
    /// PEM file of certificate authorities to trust for TLS, beside the system's. No default.
    #[serde(deserialize_with = "empty_is_none")]
    pub ca_file: Option<std::path::PathBuf>,
}

impl DatabaseConfig {
    /// Whether `url` leads through a transaction pooler, so that sessions keep nothing from one transaction to the next.
    pub fn is_pooled(&self) -> bool {
        match self.pooler {
            Pooler::Auto => self.listen_url.is_some(),
            Pooler::None => false,
            Pooler::Transaction => true,
        }
    }
}

/// What stands between `database.url` and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Pooler {
    /// A transaction pooler where `listen_url` is set, nothing otherwise.
    Auto,
    /// Nothing, or a pooler that gives each client a session of its own.
    None,
    /// A pooler that gives each transaction any session.
    Transaction,
}

impl TryFrom<String> for Pooler {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        match word.as_str() {
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::None),
            "transaction" => Ok(Self::Transaction),
            other => Err(format!("must be auto, none or transaction, not {other}")),
        }
    }
}

/// The HTTP API.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiConfig {
    /// Address and port to listen on. Default `127.0.0.1:8000`.
    pub bind: SocketAddr,
    /// Bearer tokens as `role:token`; roles `admin`, `publish`, `read`. Default none.
    #[serde(default)]
    pub tokens: Vec<SecretString>,
    /// The largest request body, in bytes. Default 1 MiB.
    pub max_body_bytes: usize,
}

/// The worker.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerConfig {
    /// Lanes in flight in one worker. Default 100.
    pub concurrency: usize,
    /// How long requests in flight may take to finish at shutdown, in seconds. Default 15.
    pub shutdown_seconds: u64,
}

/// How workers hear of messages.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WakeConfig {
    /// Whether transactions that publish NOTIFY, for all processes of the schema. Default: not set, which leaves it as it is.
    #[serde(deserialize_with = "empty_is_none_word")]
    pub notify: Option<Notify>,
}

/// Whether transactions that publish NOTIFY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notify {
    /// Where `max_prepared_transactions` is 0: PostgreSQL refuses PREPARE TRANSACTION after NOTIFY.
    Auto,
    /// Always, unless workers ask for silence.
    On,
    /// Never: workers poll.
    Off,
}

impl Notify {
    /// The word in the settings and the schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

impl TryFrom<String> for Notify {
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
    pub fn timeout(&self) -> std::time::Duration {
        std::time::Duration::from_secs(self.timeout_seconds)
    }
}

/// Logs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// `text` or `json`. Default `text`.
    pub format: LogFormat,
    /// A `tracing` filter. Default `info`.
    pub level: String,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum LogFormat {
    /// One readable line an event.
    Text,
    /// One JSON object an event.
    Json,
}

impl TryFrom<String> for LogFormat {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        match word.as_str() {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("must be text or json, not {other}")),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
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
