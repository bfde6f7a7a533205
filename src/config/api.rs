//! The section `api`.

use std::net::SocketAddr;

use secrecy::SecretString;
use serde::Deserialize;

/// Settings of the HTTP API.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiConfig {
    /// Address and port to listen on. Default `127.0.0.1:8000`.
    pub bind: SocketAddr,
    /// Bearer tokens as `role:token`, or `role@topics:token`. The roles are `admin`, `operate`,
    /// `publish`, `read` and `read-payloads`. Default none.
    #[serde(default)]
    pub tokens: Vec<SecretString>,
    /// Hosts that requests may name without a token, beside those of this machine. Default none.
    #[serde(default)]
    pub allowed_hosts: Vec<String>,
    /// The most connections, up to 1000000. 0 means what the limit of open files permits. Default
    /// 0.
    pub max_connections: usize,
    /// The largest request body in bytes, 1024 to 1073741824. Default 2097152 (2 MiB).
    pub max_body_bytes: usize,
}
