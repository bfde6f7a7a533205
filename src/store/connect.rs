//! Makes connections, as a connection string says: to which server, and with which TLS.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use rand::seq::SliceRandom as _;
use secrecy::{ExposeSecret, SecretString};
use tokio::task::JoinHandle;
use tokio_postgres::{
    Client, Config as PostgresConfig, SimpleQueryMessage,
    config::{ChannelBinding as Binding, SslMode as Mode, SslNegotiation},
    error::SqlState,
};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;

use super::{
    conninfo::{
        ChannelBinding, Conninfo, Place, Server, Surroundings, passfile,
        session::{ServerState, TargetSession},
        tls::{Check, Encryption, SslMode, Tls},
    },
    error::{StoreError, describe},
    purpose::Purpose,
    settings::StoreSettings,
    statement::Schema,
    tls,
};
use crate::domain::doctor::Link;

/// How long the server may take to set a session up.
const SET_UP_LIMIT: Duration = Duration::from_secs(5);

/// How long a connection may take to end in good order.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// Makes connections. Clones are cheap.
#[derive(Clone)]
pub(super) struct Connector {
    postgres: Arc<Target>,
    listen: Arc<Target>,
    schema: Arc<Schema>,
}

/// Where one connection string leads.
struct Target {
    info: Conninfo,
    tls: MakeRustlsConnect,
}

/// The part of a connection that must be polled.
pub type Connection = tokio_postgres::Connection<
    tokio_postgres::Socket,
    <MakeRustlsConnect as tokio_postgres::tls::MakeTlsConnect<tokio_postgres::Socket>>::Stream,
>;

/// Opens a connection to `database.url` that nothing was set on. The caller must poll its second
/// part.
///
/// # Errors
/// [`StoreError::InvalidUrl`], [`StoreError::Tls`] or [`StoreError::Connect`].
pub async fn connect(settings: &StoreSettings) -> Result<(Client, Connection), StoreError> {
    Target::new("database.url", settings.url.as_ref(), settings)?.connect().await
}

impl Connector {
    pub(super) fn new(settings: &StoreSettings, schema: Arc<Schema>) -> Result<Self, StoreError> {
        let postgres = Arc::new(Target::new("database.url", settings.url.as_ref(), settings)?);
        let listen = match &settings.listen_url {
            None => Arc::clone(&postgres),
            url => Arc::new(Target::new("database.listen_url", url.as_ref(), settings)?),
        };
        Ok(Self { postgres, listen, schema })
    }

    /// How the connections of the pools are secured.
    pub(super) fn tls(&self) -> MakeRustlsConnect {
        self.postgres.tls.clone()
    }

    /// How safe the connections are, as far as the settings say: those of `database.url`, and those
    /// of `database.listen_url` if it is set.
    pub(super) fn links(&self) -> Vec<Link> {
        let mut links = vec![self.postgres.link("database.url")];
        if !Arc::ptr_eq(&self.postgres, &self.listen) {
            links.push(self.listen.link("database.listen_url"));
        }
        links
    }

    /// Opens a connection for a pool. The caller must poll its second part.
    ///
    /// # Errors
    /// [`StoreError::Connect`] with the servers that were tried.
    pub(super) async fn connect_pooled(&self) -> Result<(Client, Connection), StoreError> {
        self.postgres.connect().await
    }

    /// Opens a direct connection, past any pooler. The caller must poll its second part, and must
    /// run [`Purpose::session_settings`] before anything else.
    ///
    /// # Errors
    /// [`StoreError::Connect`] with the servers that were tried.
    pub(super) async fn connect(&self) -> Result<(Client, Connection), StoreError> {
        self.listen.connect().await
    }

    /// Opens a direct connection for a migration, or for a look at the schema. Its statements have no
    /// time limit.
    pub(super) async fn direct(&self) -> Result<DirectConnection, StoreError> {
        let (client, connection) = self.connect().await?;
        let connection = DirectConnection { client, driver: AbortOnDropHandle::new(drive(connection)) };
        set_up(&connection.client, &Purpose::Migration.session_settings(&self.schema)).await?;
        Ok(connection)
    }
}

/// A connection past any pooler. If it is dropped, it is closed at once, also in the middle of a
/// statement.
pub(super) struct DirectConnection {
    client: Client,
    driver: AbortOnDropHandle<()>,
}

impl DirectConnection {
    pub(super) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Says goodbye to the server, and closes the connection.
    pub(super) async fn close(self) {
        let Self { client, driver } = self;
        drop(client);
        // After the time limit the task is aborted.
        let _ = tokio::time::timeout(CLOSE_LIMIT, driver).await;
    }
}

/// Polls a connection in a task of its own, until it ends. Whoever owns the handle aborts the task
/// when the connection is not needed any more.
pub(super) fn drive(connection: Connection) -> JoinHandle<()> {
    tokio::spawn(async move {
        // The statements on it report the same error.
        let _ = connection.await;
    })
}

/// Runs the SQL that sets a session up. A session that was just begun may have no time limit yet.
///
/// # Errors
/// [`StoreError::Database`]; [`StoreError::Unanswered`] if no answer comes in time.
pub(super) async fn set_up(client: &Client, settings: &str) -> Result<(), StoreError> {
    tokio::time::timeout(SET_UP_LIMIT, client.batch_execute(settings))
        .await
        .map_err(|_| StoreError::Unanswered(SET_UP_LIMIT))?
        .map_err(StoreError::from)
}

impl Target {
    fn link(&self, setting: &'static str) -> Link {
        let Tls { mode, check, .. } = &self.info.tls;
        Link {
            setting,
            remote: self.info.servers.iter().any(|server| !server.place.is_local()),
            encrypted: match mode {
                SslMode::Disable => Some(false),
                SslMode::Allow | SslMode::Prefer => None,
                SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Some(true),
            },
            verified: matches!(check, Check::SignerAndName(_)),
        }
    }

    /// Reads the connection string of a setting. Without one, the environment may name a database.
    fn new(setting: &str, url: Option<&SecretString>, settings: &StoreSettings) -> Result<Self, StoreError> {
        let surroundings = Surroundings::of_process(&settings.libpq);
        let text = match url {
            Some(url) => url.expose_secret(),
            None if surroundings.names_a_database() => "",
            None => {
                return Err(StoreError::InvalidUrl(format!(
                    "{setting}: not set; give --database-url, PGTOPIC_DATABASE__URL or DATABASE_URL"
                )));
            }
        };
        let info = Conninfo::resolve(text, &surroundings, settings.ca_file.as_deref())
            .map_err(|error| StoreError::InvalidUrl(format!("{setting}: {error}")))?;
        if let Some(Err(why)) =
            info.passfile.as_deref().filter(|_| info.password.is_none()).map(passfile::read)
        {
            tracing::warn!(file = %info.passfile.clone().unwrap_or_default().display(), why, "the password file is not used");
        }
        let tls = MakeRustlsConnect::new(tls::client_config(&info.tls)?);
        Ok(Self { info, tls })
    }

    /// Connects to the first server that is wanted.
    async fn connect(&self) -> Result<(Client, Connection), StoreError> {
        let mut servers: Vec<&Server> = self.info.servers.iter().collect();
        if self.info.shuffle {
            servers.shuffle(&mut rand::rng());
        }
        let mut failed = Vec::new();
        for wanted in self.info.target.rounds() {
            failed.clear();
            for server in &servers {
                let limit = self.info.connect_timeout;
                let tried = tokio::time::timeout(limit, Box::pin(self.try_server(server, *wanted))).await;
                match tried.unwrap_or_else(|_| Err(format!("no answer within {} s", limit.as_secs()))) {
                    Ok(connected) => return Ok(connected),
                    Err(why) => failed.push(format!("{server}: {why}")),
                }
            }
        }
        Err(StoreError::Connect(failed.join("; ")))
    }

    /// Connects to one server, with TLS or without it, as `sslmode` says.
    async fn try_server(
        &self,
        server: &Server,
        wanted: TargetSession,
    ) -> Result<(Client, Connection), String> {
        let tries = match server.place {
            // Nobody listens on a Unix socket, and PostgreSQL does no TLS there.
            Place::Socket(_) => &[Encryption::None][..],
            Place::Tcp { .. } => self.info.tls.mode.tries(),
        };
        let mut failed: Vec<String> = Vec::new();
        for encryption in tries {
            let config = self.config(server, *encryption);
            match config.connect(self.tls.clone()).await {
                Ok((client, connection)) => return check_server(client, connection, wanted).await,
                Err(error) => {
                    let why = describe(&error);
                    if !failed.contains(&why) {
                        failed.push(why);
                    }
                    if !another_encryption_may_help(&error) {
                        break;
                    }
                }
            }
        }
        Err(failed.join("; "))
    }

    fn config(&self, server: &Server, encryption: Encryption) -> PostgresConfig {
        let info = &self.info;
        let mut config = PostgresConfig::new();
        match &server.place {
            Place::Socket(directory) => config.host_path(directory),
            Place::Tcp { name, address: Some(address) } => config.host(name).hostaddr(*address),
            Place::Tcp { name, address: None } => config.host(name),
        };
        config
            .port(server.port)
            .user(&info.user)
            .dbname(&info.dbname)
            .application_name(&info.application_name);
        if let Some(password) = &info.password {
            config.password(password.expose_secret());
        } else if let Some(Ok(Some(text))) = info.passfile.as_deref().map(passfile::read)
            && let Some(password) = passfile::find(&text, info.entry(server))
        {
            config.password(password);
        }
        if let Some(options) = &info.options {
            config.options(options);
        }
        config.ssl_mode(match encryption {
            Encryption::None => Mode::Disable,
            Encryption::IfOffered => Mode::Prefer,
            Encryption::Needed => Mode::Require,
        });
        if info.tls.direct && encryption != Encryption::None {
            config.ssl_negotiation(SslNegotiation::Direct);
        }
        config.channel_binding(match info.channel_binding {
            ChannelBinding::Disable => Binding::Disable,
            ChannelBinding::Prefer => Binding::Prefer,
            ChannelBinding::Require => Binding::Require,
        });
        // A name may lead to several addresses. One that is silent must leave time for the others.
        config.connect_timeout(info.connect_timeout.div_f64(2.0).max(Duration::from_secs(1)));
        let kept = info.keepalives;
        config.keepalives(kept.on).keepalives_idle(kept.idle);
        config.keepalives_interval(kept.interval).keepalives_retries(kept.count);
        config.tcp_user_timeout(kept.user_timeout.unwrap_or(Duration::ZERO));
        config
    }
}

/// Whether TLS, or the lack of it, may be why a server was not reached. A server that refuses for
/// another reason, such as a wrong password, would refuse again.
fn another_encryption_may_help(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        // No line of pg_hba.conf allows it: the line may be there for the other way.
        Some(state) => *state == SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        // Nobody listens there. The text is all that tells this from what comes later.
        None => !error.to_string().starts_with("error connecting to server"),
    }
}

/// Checks that a server is the one that is wanted.
async fn check_server(
    client: Client,
    mut connection: Connection,
    wanted: TargetSession,
) -> Result<(Client, Connection), String> {
    if wanted == TargetSession::Any {
        return Ok((client, connection));
    }
    let state = match reported_state(&connection) {
        Some(state) => state,
        None => ask_state(&client, &mut connection).await?,
    };
    wanted.refuses(state).map_or(Ok((client, connection)), |why| Err(why.to_owned()))
}

/// What the server has reported when the session began. Poolers may leave it out.
fn reported_state(connection: &Connection) -> Option<ServerState> {
    let is_on = |name| connection.parameter(name).map(|value| value == "on");
    Some(ServerState {
        standby: is_on("in_hot_standby")?,
        read_only: is_on("default_transaction_read_only")?,
    })
}

async fn ask_state(client: &Client, connection: &mut Connection) -> Result<ServerState, String> {
    let mut asked = pin!(client.simple_query(
        "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('default_transaction_read_only')"
    ));
    let mut messages = futures_util::stream::poll_fn(|context| connection.poll_message(context));
    let answer = loop {
        tokio::select! {
            answer = &mut asked => break answer.map_err(|error| describe(&error))?,
            message = messages.next() => match message {
                // A notice. Nobody listens yet, so no notification is lost.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(describe(&error)),
                None => return Err("the connection was closed".to_owned()),
            },
        }
    };
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let value = |column| row.and_then(|row| row.get(column)).unwrap_or_default();
    Ok(ServerState { standby: value(0) == "t", read_only: value(1) == "on" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_where_nobody_listens_is_not_tried_without_tls() {
        let mut config = PostgresConfig::new();
        config.host("127.0.0.1").port(1).user("nobody").ssl_mode(Mode::Disable);
        let error = config.connect(tokio_postgres::NoTls).await.err().expect("nobody listens");
        assert!(!another_encryption_may_help(&error), "{error}");
    }
}
