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
    /// Bearer tokens as `role:token`. The roles are `admin`, `publish` and `read`. Default none.
    #[serde(default)]
    pub tokens: Vec<SecretString>,
    /// The largest request body in bytes, 1024 to 1073741824. Default 1048576 (1 MiB).
    pub max_body_bytes: usize,
}
