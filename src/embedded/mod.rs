//! A PostgreSQL of our own, started from binaries that are installed: for `pgtopic dev` and for
//! tests.
//!
//! Works for an ordinary user and for root, as whom the server is run by the account `postgres`,
//! else `nobody`. The server is a direct child and never outlives this process: [`Drop`] stops it,
//! and should this process be killed, a watchdog does. Should even the watchdog be killed, the next
//! start on the same directory stops the server that was left over.
//!
//! A home directory holds: `data/` (the cluster), the Unix socket, `server.log`, `password` (for
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

/// A running server, or one that [`stop`](Self::stop) or [`kill`](Self::kill) ended and
/// [`start_again`](Self::start_again) may start.
///
/// Dropping it stops the server at once, and removes a temporary directory.
pub struct EmbeddedPostgres {
    // Fields drop in this order: the server must be gone before its directory is.
    server: Option<Server>,
    cluster: Cluster,
}

/// What a server that only has a socket is called by; any number will do.
const SOCKET_PORT: u16 = 5432;

/// The first choice for TCP, so that a `psql` line stays the same from run to run.
const TCP_PORT: u16 = 54320;

impl EmbeddedPostgres {
    /// Makes the cluster if there is none, and starts the server. Ready for connections when it
    /// returns.
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

    /// Starts the server after [`stop`](Self::stop) or [`kill`](Self::kill); does nothing while it
    /// runs.
    pub async fn start_again(&mut self) -> Result<(), EmbeddedError> {
        if self.server.is_none() {
            self.server = Some(Server::start(&self.cluster).await?);
        }
        Ok(())
    }

    /// Stops the server, puts its cluster aside, and starts it with a new one. Says where the old
    /// one is; one that was put aside before is removed.
    pub async fn start_anew(&mut self) -> Result<PathBuf, EmbeddedError> {
        self.stop(ShutdownMode::Fast).await?;
        let Cluster { home, binaries, account, settings, .. } = &mut self.cluster;
        let aside = home.put_aside()?;
        home.init(binaries, account.as_ref(), settings.durable).await?;
        self.start_again().await?;
        Ok(aside)
    }

    /// Stops the server and waits until it is gone; one that does not obey is killed.
    pub async fn stop(&mut self, mode: ShutdownMode) -> Result<(), EmbeddedError> {
        match self.server.take() {
            Some(server) => server.stop(mode).await,
            None => Ok(()),
        }
    }

    /// Kills the postmaster, as a crash would. Its other processes notice and exit by themselves.
    pub async fn kill(&mut self) -> Result<(), EmbeddedError> {
        match self.server.take() {
            Some(server) => server.kill().await,
            None => Ok(()),
        }
    }

    /// libpq URL of a database, as superuser, over the Unix socket. Needs no password.
    pub fn url(&self, database: &str) -> String {
        let socket = percent_encode(self.cluster.home.socket_dir());
        format!("postgresql://postgres@{socket}:{}/{database}", self.cluster.port)
    }

    /// libpq URL of a database over TCP, password included, if [`Settings::tcp`] was asked for.
    pub fn tcp_url(&self, database: &str) -> Option<String> {
        let password = self.cluster.home.password();
        self.cluster
            .settings
            .tcp
            .then(|| format!("postgresql://postgres:{password}@127.0.0.1:{}/{database}", self.cluster.port))
    }

    /// The directory that holds everything.
    pub fn data_dir(&self) -> &Path {
        self.cluster.home.path()
    }

    /// The process id of the postmaster while it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.server.as_ref().map(Server::process_id)
    }
}

/// Somebody else may take the port before the server does; then the start fails and says so.
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
