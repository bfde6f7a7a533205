//! A PostgreSQL of our own, for `pgtopic dev` and for tests. It is started from installed binaries.
//!
//! It works for an ordinary user and for root. For root the account `postgres` runs the server, or
//! `nobody` if there is no `postgres`.
//!
//! The server is a direct child of this process and ends with it. [`Drop`] stops it. If this
//! process is killed, a watchdog stops it. If the watchdog is killed too, the next start on the
//! same directory stops the server that was left over.
//!
//! A home directory holds `data/` (the cluster), the Unix socket, `server.log`, `password` (for
//! TCP) and `lock`.

mod account;
mod binaries;
mod error;
mod home;
mod server;
mod settings;
mod watchdog;

use std::{
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use self::{
    account::Account,
    home::Home,
    server::{Cluster, Server},
};
pub use self::{
    error::EmbeddedError,
    settings::{Settings, ShutdownMode},
};

/// A server. It runs, unless [`stop`](Self::stop) or [`kill`](Self::kill) has ended it. Then
/// [`start_again`](Self::start_again) starts it again.
///
/// Dropping this stops the server at once, and removes a temporary directory.
pub struct EmbeddedPostgres {
    // Fields are dropped in this order: the server must end before its directory goes.
    server: Option<Server>,
    cluster: Cluster,
}

/// The port in the name of the socket, if the server does not listen on TCP. Any number works.
const SOCKET_PORT: u16 = 5432;

/// The first choice of a TCP port. So the `psql` command is mostly the same in every run.
const TCP_PORT: u16 = 54320;

/// How many ports are tried if other processes take them.
const PORTS_TRIED: u32 = 4;

impl EmbeddedPostgres {
    /// Makes the cluster if there is none, and starts the server. The server accepts connections
    /// when this returns.
    ///
    /// # Errors
    /// [`EmbeddedError`] if no server is installed, the directory cannot be used, or the server
    /// does not start.
    pub async fn start(settings: Settings) -> Result<Self, EmbeddedError> {
        let binaries = binaries::find(settings.pg_bin.as_deref())?;
        let account = Account::for_server()?;
        let home = Home::open(settings.data_dir.as_deref(), account.as_ref())?;
        server::stop_left_over(&home).await?;
        home.init(&binaries, account.as_ref(), settings.durable).await?;
        let port = if settings.tcp { free_port()? } else { SOCKET_PORT };
        let mut postgres =
            Self { server: None, cluster: Cluster { home, binaries, account, settings, port } };
        postgres.start_again().await?;
        Ok(postgres)
    }

    /// Starts the server after [`stop`](Self::stop) or [`kill`](Self::kill). Does nothing while it
    /// runs.
    ///
    /// # Errors
    /// [`EmbeddedError`] if it does not start.
    pub async fn start_again(&mut self) -> Result<(), EmbeddedError> {
        for left in (0..PORTS_TRIED).rev() {
            if self.server.is_some() {
                break;
            }
            match Server::start(&self.cluster).await {
                // Another process took the port after it was found free.
                Err(error) if left > 0 && self.cluster.settings.tcp && error.is_port_taken() => {
                    self.cluster.port = free_port()?;
                }
                started => self.server = Some(started?),
            }
        }
        Ok(())
    }

    /// Stops the server, puts its cluster aside, and starts it with a new cluster. A cluster that
    /// was put aside before is deleted. Returns the path of the old cluster.
    ///
    /// # Errors
    /// [`EmbeddedError`] if a step fails.
    pub async fn start_anew(&mut self) -> Result<PathBuf, EmbeddedError> {
        self.stop(ShutdownMode::Fast).await?;
        let Cluster { home, binaries, account, settings, .. } = &mut self.cluster;
        let aside = home.put_aside()?;
        home.init(binaries, account.as_ref(), settings.durable).await?;
        self.start_again().await?;
        Ok(aside)
    }

    /// Stops the server and waits until it has ended. If it does not stop within 30 s, it is
    /// killed.
    ///
    /// # Errors
    /// [`EmbeddedError::Server`] if it had to be killed.
    pub async fn stop(&mut self, mode: ShutdownMode) -> Result<(), EmbeddedError> {
        match self.server.take() {
            Some(server) => server.stop(mode).await,
            None => Ok(()),
        }
    }

    /// Kills the postmaster, as a crash does. Its other processes notice that and exit by
    /// themselves.
    ///
    /// # Errors
    /// [`EmbeddedError::System`] if the process cannot be waited for.
    pub async fn kill(&mut self) -> Result<(), EmbeddedError> {
        match self.server.take() {
            Some(server) => server.kill().await,
            None => Ok(()),
        }
    }

    /// The libpq URL of a database, as superuser over the Unix socket. It needs no password.
    pub fn url(&self, database: &str) -> String {
        let socket = percent_encode(self.cluster.home.socket_dir());
        format!("postgresql://postgres@{socket}:{}/{database}", self.cluster.port)
    }

    /// The libpq URL of a database over TCP, with the password. `None` without [`Settings::tcp`].
    pub fn tcp_url(&self, database: &str) -> Option<String> {
        let password = self.cluster.home.password();
        self.cluster
            .settings
            .tcp
            .then(|| format!("postgresql://postgres:{password}@127.0.0.1:{}/{database}", self.cluster.port))
    }

    /// The home directory, which holds everything.
    pub fn data_dir(&self) -> &Path {
        self.cluster.home.path()
    }

    /// The process id of the postmaster while it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.server.as_ref().map(Server::process_id)
    }
}

/// A free port. Another process may take it before the server does: then the start fails and says
/// so.
fn free_port() -> Result<u16, EmbeddedError> {
    let bind = |port| std::net::TcpListener::bind(("127.0.0.1", port))?.local_addr();
    let address = bind(TCP_PORT)
        .or_else(|_: io::Error| bind(0))
        .map_err(|error| EmbeddedError::System("no free port on 127.0.0.1", error))?;
    Ok(address.port())
}

fn percent_encode(path: &Path) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").expect("writing to a string never fails");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_directory_becomes_a_host() {
        assert_eq!(percent_encode(Path::new("/tmp/a b-1/ü")), "%2Ftmp%2Fa%20b-1%2F%C3%BC");
    }
}
