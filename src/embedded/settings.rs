//! How a server is started and stopped.

use std::path::PathBuf;

/// How to start the server.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The home directory. It is made if it does not exist. `None` is a temporary directory, which
    /// is removed on drop.
    pub data_dir: Option<PathBuf>,
    /// Whether commits survive a crash of the machine. If not, everything is faster.
    pub durable: bool,
    /// Whether to listen on a port of 127.0.0.1 too, with a password: see
    /// `EmbeddedPostgres::tcp_url`.
    pub tcp: bool,
    /// Further server parameters, such as `max_connections`.
    pub parameters: Vec<(String, String)>,
    /// The directory of `postgres` and `initdb`. `None` searches the usual places.
    pub pg_bin: Option<PathBuf>,
}

/// How a server is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownMode {
    /// Ends all sessions, writes everything to disk, exits.
    Fast,
    /// Exits at once; the next start recovers from the write-ahead log.
    Immediate,
}
