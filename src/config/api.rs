//! The section `api`.

use std::net::SocketAddr;

use secrecy::SecretString;
use serde::Deserialize;

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
