//! What the store is told of its database.

use std::path::PathBuf;

use secrecy::SecretString;

/// Where the database is, and how it is reached.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// libpq URL; several hosts with `target_session_attrs=read-write` for failover.
    pub url: Option<SecretString>,
    /// URL of a direct connection, where the other leads through a pooler; as `url` where there is
    /// none.
    pub listen_url: Option<SecretString>,
    /// Whether `url` leads through a transaction pooler, so that sessions keep nothing from one
    /// transaction to the next.
    pub is_pooled: bool,
    /// The schema where everything lives.
    pub schema: String,
    /// Connections of the API and of what runs in the background at most.
    pub pool_size: usize,
    /// PEM file of certificate authorities to trust for TLS, beside the system's.
    pub ca_file: Option<PathBuf>,
}
