//! Makes connections: those of the pools, and direct ones for what needs a session.

use std::{str::FromStr, sync::Arc, time::Duration};

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use rustls_platform_verifier::ConfigVerifierExt;
use secrecy::{ExposeSecret, SecretString};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config as PostgresConfig, config::Host};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    error::{StoreError, chain},
    settings::StoreSettings,
    statement::Schema,
};

/// What a connection is for. It decides how long a statement may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The worker's engine and its session. Their calls are short, and all lanes wait for them.
    Engine,
    /// The API and background work.
    General,
}

impl Purpose {
    /// How long the server lets a statement wait for a lock.
    fn lock_timeout(self) -> Duration {
        match self {
            Self::Engine => Duration::from_secs(1),
            Self::General => Duration::from_secs(5),
        }
    }

    /// How long the server lets a statement run.
    fn statement_timeout(self) -> Duration {
        match self {
            Self::Engine => Duration::from_secs(5),
            // Less than the 30 s that the API gives a request.
            Self::General => Duration::from_secs(25),
        }
    }

    /// How long this process waits for the answer: 2 s longer than the server lets a statement run.
    /// So the server's error comes first. It says for certain that nothing was done.
    pub(super) fn answer_timeout(self) -> Duration {
        self.statement_timeout() + Duration::from_secs(2)
    }

    /// The settings of every session of our own, and of every transaction through a pooler. They
    /// make sure that nothing holds a lock for long, whatever happens to its client.
    ///
    /// The search path is set first. Before that, a name could mean an object that a stranger has
    /// put into a schema of the default path.
    fn settings(self, schema: &Schema, set: &str) -> String {
        let milliseconds = |time: Duration| time.as_millis();
        [
            search_path(schema),
            format!("lock_timeout = {}", milliseconds(self.lock_timeout())),
            format!("statement_timeout = {}", milliseconds(self.statement_timeout())),
            "idle_in_transaction_session_timeout = '10s'".to_owned(),
            "jit = off".to_owned(),
        ]
        .map(|setting| format!("{set} {setting}"))
        .join("; ")
    }

    /// The SQL that sets up a session of our own. It also sets the isolation level, because every
    /// statement relies on a new snapshot.
    pub(super) fn session_settings(self, schema: &Schema) -> String {
        format!("{}; SET default_transaction_isolation = 'read committed'", self.settings(schema, "SET"))
    }

    /// The SQL that begins a transaction through a pooler. It sets the same for this transaction
    /// only.
    pub(super) fn begin(self, schema: &Schema) -> String {
        format!("BEGIN ISOLATION LEVEL READ COMMITTED; {}", self.settings(schema, "SET LOCAL"))
    }
}

/// The search path of every session. Only the owner may create objects in these schemas. The
/// session's temporary objects come last.
fn search_path(schema: &Schema) -> String {
    format!("search_path = pg_catalog, {}, pg_temp", schema.quoted())
}

/// How long it may take to make a connection, and how long to wait for one from the pool.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Parses the URLs of the settings and makes connections.
#[derive(Clone)]
pub(super) struct Connector {
    postgres: PostgresConfig,
    listen: PostgresConfig,
    tls: MakeRustlsConnect,
    /// Whether `postgres` leads through a transaction pooler.
    pooled: bool,
    schema: Arc<Schema>,
}

impl Connector {
    pub(super) fn new(settings: &StoreSettings, schema: Arc<Schema>) -> Result<Self, StoreError> {
        let url = settings.url.as_ref().ok_or_else(|| {
            StoreError::InvalidUrl(
                "not set; give --database-url, PGTOPIC_DATABASE__URL or DATABASE_URL".to_owned(),
            )
        })?;
        let postgres = parse(url)?;
        let listen = match &settings.listen_url {
            None => postgres.clone(),
            Some(url) => parse(url).map_err(|error| match error {
                StoreError::InvalidUrl(reason) => StoreError::InvalidListenUrl(reason),
                other => other,
            })?,
        };
        Ok(Self {
            postgres,
            listen,
            tls: MakeRustlsConnect::new(tls_config(settings)?),
            pooled: settings.is_pooled,
            schema,
        })
    }

    /// How a connection is secured.
    pub(super) fn tls(&self) -> MakeRustlsConnect {
        self.tls.clone()
    }

    pub(super) fn pool(&self, size: usize, purpose: Purpose) -> Result<Pool, StoreError> {
        let manager = Manager::from_config(
            self.postgres.clone(),
            self.tls.clone(),
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        let builder = Pool::builder(manager).max_size(size).runtime(Runtime::Tokio1).timeouts(Timeouts {
            wait: Some(CONNECT_TIMEOUT),
            create: Some(CONNECT_TIMEOUT),
            recycle: Some(CONNECT_TIMEOUT),
        });
        // A session behind a pooler is not set up: the pooler may give it to others next.
        let builder = if self.pooled {
            builder
        } else {
            let settings: Arc<str> = purpose.session_settings(&self.schema).into();
            builder.post_create(Hook::async_fn(move |client, _| {
                let settings = Arc::clone(&settings);
                Box::pin(async move { client.batch_execute(&settings).await.map_err(HookError::Backend) })
            }))
        };
        builder.build().map_err(|error| StoreError::Connect(chain(&error)))
    }

    /// Opens a direct connection, past any pooler. The caller must poll its second part, and must
    /// run [`Purpose::session_settings`] before anything else.
    ///
    /// # Errors
    /// [`StoreError::Connect`] with the addresses that were tried.
    pub(super) async fn connect(&self) -> Result<(Client, Connection), StoreError> {
        let cannot = |why: String| StoreError::Connect(format!("{}: {why}", addresses(&self.listen)));
        tokio::time::timeout(CONNECT_TIMEOUT, self.listen.connect(self.tls.clone()))
            .await
            .map_err(|_| cannot(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs())))?
            .map_err(|error| cannot(super::error::describe(&error)))
    }

    /// Opens a direct connection whose search path is set. A task polls it until it ends. Its
    /// statements have no time limit.
    pub(super) async fn direct(&self) -> Result<(Client, JoinHandle<()>), StoreError> {
        let (client, connection) = self.connect().await?;
        let driver = tokio::spawn(async move {
            // The statements on it report the same error.
            let _ = connection.await;
        });
        client.batch_execute(&format!("SET {}", search_path(&self.schema))).await?;
        Ok((client, driver))
    }
}

/// The part of a connection that must be polled.
pub(super) type Connection = tokio_postgres::Connection<
    tokio_postgres::Socket,
    <MakeRustlsConnect as tokio_postgres::tls::MakeTlsConnect<tokio_postgres::Socket>>::Stream,
>;

/// The hosts and ports that are tried, as text for people.
fn addresses(config: &PostgresConfig) -> String {
    let ports = config.get_ports();
    let port = |at: usize| ports.get(at).or(ports.first()).copied().unwrap_or(5432);
    let address = |(at, host): (usize, &Host)| match host {
        Host::Tcp(name) => format!("{name}:{}", port(at)),
        Host::Unix(directory) => format!("{}, port {}", directory.display(), port(at)),
    };
    config.get_hosts().iter().enumerate().map(address).collect::<Vec<_>>().join(", ")
}

fn parse(url: &SecretString) -> Result<PostgresConfig, StoreError> {
    // The parser's error quotes no part of the URL, so it shows no password.
    let mut config = PostgresConfig::from_str(url.expose_secret())
        .map_err(|error| StoreError::InvalidUrl(format!("not a PostgreSQL URL: {}", chain(&error))))?;
    if config.get_hosts().is_empty() {
        return Err(StoreError::InvalidUrl("names no host".to_owned()));
    }
    config.connect_timeout(CONNECT_TIMEOUT);
    // A server that vanished without a word is noticed within seconds, whether the connection is
    // idle (keepalive) or waits for an acknowledgement (user timeout).
    config.keepalives(true).keepalives_idle(Duration::from_secs(5));
    config.keepalives_interval(Duration::from_secs(2)).keepalives_retries(3);
    config.tcp_user_timeout(Duration::from_secs(10));
    if config.get_application_name().is_none() {
        config.application_name("pgtopic");
    }
    Ok(config)
}

/// What connections to PostgreSQL trust: the system's authorities, and those of `database.ca_file`.
pub fn tls_config(settings: &StoreSettings) -> Result<rustls::ClientConfig, StoreError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    // Fails only if another provider was installed before. Then that one is used, which is fine.
    let _ = rustls::crypto::CryptoProvider::install_default((*provider).clone());
    let Some(file) = &settings.ca_file else {
        return rustls::ClientConfig::with_platform_verifier()
            .map_err(|error| StoreError::Tls(error.to_string()));
    };
    let certificates = read_certificates(file)?;
    let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(certificates, provider.clone())
        .map_err(|error| StoreError::Tls(error.to_string()))?;
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Tls(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

fn read_certificates(
    file: &std::path::Path,
) -> Result<Vec<rustls::pki_types::CertificateDer<'static>>, StoreError> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| StoreError::Tls(format!("database.ca_file {}: {error}", file.display())))
}
