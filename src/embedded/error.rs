//! Why there is no server.

use std::{io, path::PathBuf};

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No server binaries were found.
    #[error("no PostgreSQL server is installed here; install one with: {0}")]
    NotInstalled(&'static str),
    /// The directory `pg_bin` holds no server.
    #[error("no postgres and initdb in {}", .0.display())]
    WrongBinaries(PathBuf),
    /// The home directory cannot be used.
    #[error("data directory {}: {reason}", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why it cannot be used.
        reason: String,
    },
    /// `initdb` failed.
    #[error("initdb failed: {0}")]
    Init(String),
    /// The server did not start or did not stop.
    #[error("PostgreSQL {what}: {reason} (see {})", .log.display())]
    Server {
        /// What happened, for example `did not start`.
        what: &'static str,
        /// The line of its log that says why.
        reason: String,
        /// The file with the whole log.
        log: PathBuf,
    },
    /// The operating system refused something. Says what was tried, and the error.
    #[error("{0}: {1}")]
    System(&'static str, io::Error),
}

impl EmbeddedError {
    /// Whether the server did not start because its TCP port is taken.
    pub(super) fn is_port_taken(&self) -> bool {
        matches!(self, Self::Server { reason, .. } if reason.contains("could not create any TCP/IP sockets"))
    }
}
