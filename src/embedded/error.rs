//! Why there is no server.

use std::{io, path::PathBuf};

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No server binaries were found.
    #[error("no PostgreSQL server is installed here; install one with: {0}")]
    NotInstalled(&'static str),
    /// `pg_bin` holds no server.
    #[error("no postgres and initdb in {}", .0.display())]
    WrongBinaries(PathBuf),
    /// The directory cannot be used.
    #[error("data directory {}: {reason}", .path.display())]
    Directory {
        /// Which one.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// `initdb` failed.
    #[error("initdb failed: {0}")]
    Init(String),
    /// The server did not start, or did not stop.
    #[error("PostgreSQL {what}: {reason} (see {})", .log.display())]
    Server {
        /// `did not start` or the like.
        what: &'static str,
        /// The last words of its log.
        reason: String,
        /// The whole log.
        log: PathBuf,
    },
    /// The operating system refused.
    #[error("{0}: {1}")]
    System(&'static str, io::Error),
}
