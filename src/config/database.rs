//! The section `database`.

use std::collections::HashMap;

use secrecy::SecretString;
use serde::Deserialize;

use super::empty_is_none;
use crate::store::StoreSettings;

/// Settings of the database.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseConfig {
    /// Connection string of the database, as libpq reads it: a URL, or keywords and values. Several
    /// hosts and `target_session_attrs=read-write` follow a failover. Default: what `PGHOST` and the
    /// other variables of libpq say.
    #[serde(deserialize_with = "empty_is_none")]
    pub url: Option<SecretString>,
    /// libpq URL of a direct connection to the same server, if `url` leads through a pooler.
    /// Default: `url`.
    #[serde(deserialize_with = "empty_is_none")]
    pub listen_url: Option<SecretString>,
    /// What stands between `url` and the server. Default `auto`.
    pub pooler: Pooler,
    /// The schema that holds everything of pgtopic, 1 to 63 bytes. Default `pgtopic`.
    pub schema: String,
    /// The most connections for the API and background work, 2 to 1000. Default 16.
    pub pool_size: usize,
    /// The name of this installation: the header `webhook-source`. 1 to 255 visible ASCII
    /// characters. Default `pgtopic`.
    pub source: String,
    /// What workers do if the database is a copy: it was restored on another server or under
    /// another name. Default `pause`.
    pub on_copy: OnCopy,
    /// Whether `serve`, `api` and `worker` bring the schema up to date when they start. Default
    /// true.
    pub migrate: bool,
    /// PEM file of certificate authorities to trust for TLS, beside the system's. With it, `sslmode`
    /// is `verify-full` by default. No default.
    #[serde(deserialize_with = "empty_is_none")]
    pub ca_file: Option<std::path::PathBuf>,
    /// libpq's variables (`PGHOST`, `PGPASSWORD`, …) that `.env` sets. Those of the process win.
    #[serde(skip)]
    pub libpq: HashMap<String, SecretString>,
}

impl DatabaseConfig {
    /// Whether `url` leads through a transaction pooler. If so, a session keeps nothing from one
    /// transaction to the next.
    pub fn is_pooled(&self) -> bool {
        match self.pooler {
            Pooler::Auto => self.listen_url.is_some(),
            Pooler::None => false,
            Pooler::Transaction => true,
        }
    }
}

impl From<&DatabaseConfig> for StoreSettings {
    fn from(config: &DatabaseConfig) -> Self {
        Self {
            url: config.url.clone(),
            listen_url: config.listen_url.clone(),
            is_pooled: config.is_pooled(),
            schema: config.schema.clone(),
            pool_size: config.pool_size,
            source: config.source.clone(),
            sends_on_copy: config.on_copy == OnCopy::Send,
            ca_file: config.ca_file.clone(),
            libpq: config.libpq.clone(),
        }
    }
}

/// What workers do if the database is a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum OnCopy {
    /// They send nothing until somebody switches sending on.
    Pause,
    /// They send as if it was no copy.
    Send,
}

impl TryFrom<String> for OnCopy {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        match word.as_str() {
            "pause" => Ok(Self::Pause),
            "send" => Ok(Self::Send),
            other => Err(format!("must be pause or send, not {other}")),
        }
    }
}

/// What stands between `database.url` and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Pooler {
    /// A transaction pooler if `listen_url` is set, otherwise nothing.
    Auto,
    /// Nothing, or a pooler that gives each client a session of its own.
    None,
    /// A pooler that may give each transaction another session.
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
