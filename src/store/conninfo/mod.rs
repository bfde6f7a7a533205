//! Connection strings, as libpq reads them: URLs and lists of keywords, `PG*` variables, the
//! password file, and the files in `~/.postgresql`.
//!
//! Nothing here connects. [`Conninfo::resolve`] says where to connect and how.
//!
//! | file | what it reads |
//! |---|---|
//! | `text` | the string itself |
//! | `keywords` | which keywords there are, and what is done with each |
//! | `tls` | what of TLS is wanted |
//! | `session` | which of several servers is wanted |
//! | `passfile` | the password file |
//! | `values` | the environment, and all values together |

mod error;
mod keywords;
pub(super) mod passfile;
pub(super) mod session;
mod text;
pub(super) mod tls;
mod values;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use secrecy::SecretString;

pub(crate) use self::{error::ConninfoError, values::Surroundings};
use self::{session::TargetSession, tls::Tls, values::Settings};

/// The port of a server that names none.
const PORT: u16 = 5432;

/// How long the only server may take to be connected to, unless `connect_timeout` says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The same for each of several. One that is silent must leave time for the others.
const CONNECT_TIMEOUT_OF_SEVERAL: Duration = Duration::from_secs(2);

/// Where PostgreSQL's socket usually is: where packages put it, and where it was built from source.
const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The directory of its Unix socket.
    Socket(PathBuf),
    /// A host. `address` is used in place of looking `name` up.
    Tcp { name: String, address: Option<IpAddr> },
}

impl Place {
    /// Whether it is on this machine, as its name says. `hostaddr` does not count: it may be the
    /// beginning of a tunnel.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Socket(_) => true,
            Self::Tcp { name, .. } => match name.parse::<IpAddr>() {
                Ok(address) => address.is_loopback(),
                Err(_) => name.eq_ignore_ascii_case("localhost"),
            },
        }
    }
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) place: Place,
    pub(crate) port: u16,
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.place {
            Place::Socket(directory) => write!(f, "{}, port {}", directory.display(), self.port),
            Place::Tcp { name, .. } if name.contains(':') => write!(f, "[{name}]:{}", self.port),
            Place::Tcp { name, .. } => write!(f, "{name}:{}", self.port),
        }
    }
}

/// `channel_binding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

/// How a connection that died without a word is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keepalives {
    pub(crate) on: bool,
    pub(crate) idle: Duration,
    pub(crate) interval: Duration,
    pub(crate) count: u32,
    /// How long sent data may stay without an acknowledgement; `None`: as the system has it.
    pub(crate) user_timeout: Option<Duration>,
}

/// Where to connect, and how.
#[derive(Debug, Clone)]
pub(crate) struct Conninfo {
    /// In the order in which they are tried.
    pub(crate) servers: Vec<Server>,
    /// Whether each connection tries them in an order of its own.
    pub(crate) shuffle: bool,
    pub(crate) user: String,
    pub(crate) dbname: String,
    pub(crate) password: Option<SecretString>,
    /// Where the password is looked up if none was given.
    pub(crate) passfile: Option<PathBuf>,
    pub(crate) application_name: String,
    pub(crate) options: Option<String>,
    pub(crate) target: TargetSession,
    pub(crate) tls: Tls,
    pub(crate) channel_binding: ChannelBinding,
    /// How long one server may take.
    pub(crate) connect_timeout: Duration,
    pub(crate) keepalives: Keepalives,
}

impl Conninfo {
    /// Reads a connection string, and fills it up from the environment. `ca_file` is
    /// `database.ca_file`.
    ///
    /// # Errors
    /// [`ConninfoError`]: it cannot be read, or something in it is not supported.
    pub(crate) fn resolve(
        text: &str,
        surroundings: &Surroundings,
        ca_file: Option<&Path>,
    ) -> Result<Self, ConninfoError> {
        let settings = Settings::read(text, surroundings)?;
        let user = settings.text("user").or_else(|| surroundings.user.clone()).ok_or_else(|| {
            ConninfoError::Together(
                "names no user, and the user who runs this process has no name".to_owned(),
            )
        })?;
        let application_name = settings.text("application_name");
        let servers = servers(&settings)?;
        Ok(Self {
            shuffle: settings
                .word(
                    "load_balance_hosts",
                    &[("disable", false), ("random", true)],
                    "must be disable or random",
                )?
                .unwrap_or(false),
            dbname: settings.text("dbname").unwrap_or_else(|| user.clone()),
            user,
            password: settings.text("password").map(SecretString::from),
            passfile: settings
                .text("passfile")
                .map(PathBuf::from)
                .or_else(|| surroundings.home.as_ref().map(|home| home.join(".pgpass"))),
            application_name: application_name
                .or_else(|| settings.text("fallback_application_name"))
                .unwrap_or_else(|| "pgtopic".to_owned()),
            options: settings.text("options"),
            target: settings
                .word(
                    "target_session_attrs",
                    &session::WORDS,
                    "must be any, read-write, read-only, primary, standby or prefer-standby",
                )?
                .unwrap_or(TargetSession::Any),
            tls: if ca_file.is_none() && servers.iter().all(|server| matches!(server.place, Place::Socket(_)))
            {
                Tls::NONE
            } else {
                tls::read(&settings, ca_file)?
            },
            channel_binding: settings
                .word(
                    "channel_binding",
                    &[
                        ("disable", ChannelBinding::Disable),
                        ("prefer", ChannelBinding::Prefer),
                        ("require", ChannelBinding::Require),
                    ],
                    "must be disable, prefer or require",
                )?
                .unwrap_or(ChannelBinding::Prefer),
            connect_timeout: match settings.number("connect_timeout")? {
                // As libpq does: less than two seconds is too little, and 0 means its default.
                None | Some(0) if servers.len() > 1 => CONNECT_TIMEOUT_OF_SEVERAL,
                None | Some(0) => CONNECT_TIMEOUT,
                Some(seconds) => Duration::from_secs(u64::from(seconds).max(2)),
            },
            keepalives: keepalives(&settings)?,
            servers,
        })
    }
}

fn servers(settings: &Settings<'_>) -> Result<Vec<Server>, ConninfoError> {
    let (hosts, addresses) = (settings.parts("host"), settings.parts("hostaddr"));
    if !hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len() {
        return Err(ConninfoError::Together(format!(
            "host names {} hosts, and hostaddr {} addresses: give one address for each host",
            hosts.len(),
            addresses.len()
        )));
    }
    let count = hosts.len().max(addresses.len()).max(1);
    let ports = settings.parts("port");
    if ports.len() > 1 && ports.len() != count {
        return Err(ConninfoError::Together(format!(
            "port names {} ports for {count} hosts: give one port, or one for each host",
            ports.len()
        )));
    }
    (0..count)
        .map(|index| {
            let text = ports.get(index).or(ports.first()).copied().unwrap_or_default();
            let port = if text.is_empty() { Some(PORT) } else { text.parse().ok().filter(|port| *port > 0) };
            let port = port.ok_or_else(|| settings.wrong("port", "must be a number from 1 to 65535"))?;
            let at = |list: &[&str]| list.get(index).copied().unwrap_or_default().to_owned();
            Ok(Server { place: place(settings, at(&hosts), &at(&addresses), port)?, port })
        })
        .collect()
}

fn place(settings: &Settings<'_>, host: String, address: &str, port: u16) -> Result<Place, ConninfoError> {
    if !address.is_empty() {
        let address = address.parse().map_err(|_| settings.wrong("hostaddr", "must be an IP address"))?;
        let name = if host.is_empty() { IpAddr::to_string(&address) } else { host };
        return Ok(Place::Tcp { name, address: Some(address) });
    }
    if host.starts_with('@') {
        return Err(
            settings.wrong("host", "sockets in the abstract namespace are not supported; give a directory")
        );
    }
    if host.starts_with('/') {
        return Ok(Place::Socket(host.into()));
    }
    if host.is_empty() {
        let socket = |directory: &&&str| Path::new(directory).join(format!(".s.PGSQL.{port}")).exists();
        let usual = SOCKET_DIRECTORIES.iter().find(socket);
        return Ok(usual.map_or(Place::Tcp { name: "localhost".to_owned(), address: None }, |directory| {
            Place::Socket(directory.into())
        }));
    }
    let address = host.parse().ok();
    Ok(Place::Tcp { name: host, address })
}

/// A server that vanished without a word is noticed within seconds, whether the connection is
/// idle (keepalives) or waits for an acknowledgement (user timeout).
fn keepalives(settings: &Settings<'_>) -> Result<Keepalives, ConninfoError> {
    let seconds = |keyword, usual| -> Result<Duration, ConninfoError> {
        let given = settings.number(keyword)?.filter(|seconds| *seconds > 0);
        Ok(Duration::from_secs(given.unwrap_or(usual).into()))
    };
    Ok(Keepalives {
        on: settings.number("keepalives")? != Some(0),
        idle: seconds("keepalives_idle", 5)?,
        interval: seconds("keepalives_interval", 2)?,
        count: settings.number("keepalives_count")?.filter(|count| *count > 0).unwrap_or(3),
        user_timeout: match settings.number("tcp_user_timeout")? {
            None => Some(Duration::from_secs(10)),
            Some(0) => None,
            Some(milliseconds) => Some(Duration::from_millis(milliseconds.into())),
        },
    })
}

impl Conninfo {
    /// What the password of a server is looked up by.
    pub(crate) fn entry<'a>(&'a self, server: &'a Server) -> passfile::Entry<'a> {
        let host = match &server.place {
            Place::Tcp { name, .. } => name,
            Place::Socket(directory)
                if SOCKET_DIRECTORIES.iter().any(|usual| Path::new(usual) == directory) =>
            {
                "localhost"
            }
            Place::Socket(directory) => directory.to_str().unwrap_or_default(),
        };
        passfile::Entry { host, port: server.port, dbname: &self.dbname, user: &self.user }
    }
}

#[cfg(test)]
mod tests;
