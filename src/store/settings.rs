//! The settings of the store.

use std::{collections::HashMap, path::PathBuf};

use secrecy::SecretString;

/// Where the database is, and how it is reached.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// Connection string of the database, as libpq reads it: a URL, or keywords and values. Several
    /// hosts and `target_session_attrs=read-write` follow a failover. `None`: the environment
    /// (`PGHOST`, ...) must name one.
    pub url: Option<SecretString>,
    /// libpq URL of a direct connection, if `url` leads through a pooler. `None`: `url` is used.
    pub listen_url: Option<SecretString>,
    /// Whether `url` leads through a transaction pooler. If so, a session keeps nothing from one
    /// transaction to the next.
    pub is_pooled: bool,
    /// The schema that holds everything.
    pub schema: String,
    /// The most connections for the API and background work.
    pub pool_size: usize,
    /// The name of this installation, which receivers get.
    pub source: String,
    /// Whether a copy of a database sends like the first one.
    pub sends_on_copy: bool,
    /// PEM file of certificate authorities to trust for TLS, beside the system's.
    pub ca_file: Option<PathBuf>,
    /// libpq's variables (`PGHOST`, `PGPASSWORD`, …) beside those of the process, which win.
    pub libpq: HashMap<String, SecretString>,
}
