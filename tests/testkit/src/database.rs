//! Databases and clusters.

use std::sync::atomic::{AtomicU32, Ordering};

use pgtopic::{
    config::{Config, DatabaseConfig},
    embedded::{EmbeddedPostgres, Settings},
    store::Store,
};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};

use super::{TestClock, TestPooler, eventually};

/// The cluster that all tests of this process share. A static is never dropped. The server's
/// watchdog (see `pgtopic::embedded`) holds the other end of a pipe of this process. It stops the
/// server and removes its directory when the process ends in any way.
static SHARED: OnceCell<EmbeddedPostgres> = OnceCell::const_new();

/// The migrated database. Every test gets a copy of it.
const TEMPLATE: &str = "pgtopic_template";

static NEXT: AtomicU32 = AtomicU32::new(1);

/// Settings of clusters for tests: temporary, fast, many connections.
pub(super) fn settings() -> Settings {
    let parameters = [("max_connections", "300"), ("log_statement", "none")];
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Settings { parameters, ..Settings::default() }
}

fn with_parameters(mut settings: Settings, parameters: &[(&str, &str)]) -> Settings {
    let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    settings.parameters.extend(parameters);
    settings
}

pub(super) fn database_config(url: &str) -> DatabaseConfig {
    DatabaseConfig { url: Some(url.to_owned().into()), ..Config::default().database }
}

/// The pooler that all stores and processes use, if the environment asks for one. It has few
/// sessions.
static POOLER: OnceCell<Option<TestPooler>> = OnceCell::const_new();

async fn pooler(postgres: &EmbeddedPostgres) -> Option<&'static TestPooler> {
    let start = || async {
        std::env::var_os("PGTOPIC_TEST_POOLER")?;
        TestPooler::start(postgres.data_dir(), 8).await
    };
    POOLER.get_or_init(start).await.as_ref()
}

/// A connection, if one can be made now.
async fn try_reach(url: &str) -> Option<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.ok()?;
    tokio::spawn(connection);
    Some(client)
}

/// The same, in pgtopic's schema.
pub async fn try_reach_schema(url: &str) -> Option<Client> {
    let client = try_reach(url).await?;
    client.batch_execute("SET search_path = pgtopic").await.ok()?;
    Some(client)
}

/// A connection, as soon as one can be made.
pub async fn reach(url: &str) -> Client {
    eventually("the database answers", || try_reach(url)).await
}

/// The same, in pgtopic's schema.
pub async fn reach_schema(url: &str) -> Client {
    eventually("the database answers", || try_reach_schema(url)).await
}

pub(super) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    // It ends with the client.
    tokio::spawn(connection);
    client
}

async fn shared() -> &'static EmbeddedPostgres {
    SHARED
        .get_or_init(|| async {
            let postgres = EmbeddedPostgres::start(settings()).await.unwrap();
            let admin = connect(&postgres.url("postgres")).await;
            check_version(&admin).await;
            admin.batch_execute(&format!("CREATE DATABASE {TEMPLATE}")).await.unwrap();
            Store::new(&database_config(&postgres.url(TEMPLATE))).unwrap().migrate().await.unwrap();
            postgres
        })
        .await
}

/// Checks that the tests run on the intended PostgreSQL. `.ci/matrix` names its major version.
async fn check_version(client: &Client) {
    let found = major_version(client).await;
    if let Ok(wanted) = std::env::var("PGTOPIC_TEST_MAJOR") {
        assert_eq!(found.to_string(), wanted, "the server's major version");
    }
    println!("PostgreSQL {found}");
}

async fn major_version(client: &Client) -> i32 {
    let sql = "SELECT current_setting('server_version_num')::integer / 10000";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// A migrated database of the test, in the shared cluster.
pub struct TestDatabase {
    name: String,
    url: String,
    pooled_url: Option<String>,
}

impl TestDatabase {
    /// A copy of the migrated template.
    pub async fn new() -> Self {
        Self::create(TEMPLATE).await
    }

    /// An empty database, not migrated.
    pub async fn empty() -> Self {
        Self::create("template1").await
    }

    /// A copy under another name. Nobody may be connected to the first one.
    pub async fn copy(&self) -> Self {
        Self::create(&self.name).await
    }

    async fn create(template: &str) -> Self {
        let postgres = shared().await;
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let admin = connect(&postgres.url("postgres")).await;
        // Copying files is faster for small databases. PostgreSQL 14 can do nothing else.
        let strategy = if major_version(&admin).await < 15 { "" } else { "STRATEGY file_copy" };
        let create = format!("CREATE DATABASE {name} TEMPLATE {template} {strategy}");
        // A template cannot be copied while a connection to it ends, such as that of the migration.
        eventually("the template is free", || async {
            match admin.batch_execute(&create).await {
                Ok(()) => Some(()),
                Err(error) if error.code() == Some(&tokio_postgres::error::SqlState::OBJECT_IN_USE) => None,
                Err(error) => panic!("{create}: {error:?}"),
            }
        })
        .await;
        let pooled_url = pooler(postgres).await.map(|pooler| pooler.url(&name));
        Self { url: postgres.url(&name), pooled_url, name }
    }

    /// libpq URL of a direct connection, as superuser.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same, for another role.
    pub fn url_as(&self, role: &str) -> String {
        let (_, address) = self.url.split_once('@').unwrap();
        format!("postgresql://{role}@{address}")
    }

    /// The variables that lead a process to this database.
    pub fn environment(&self) -> Vec<(&str, &str)> {
        match &self.pooled_url {
            None => vec![("DATABASE_URL", &self.url)],
            Some(url) => vec![("DATABASE_URL", url), ("PGTOPIC_DATABASE__LISTEN_URL", &self.url)],
        }
    }

    /// Stores and processes use a pooler from now on.
    pub fn go_through(&mut self, pooler: &TestPooler) {
        self.pooled_url = Some(pooler.url(&self.name));
    }

    /// The directory of the server's socket.
    pub async fn socket_dir() -> &'static std::path::Path {
        shared().await.data_dir()
    }

    /// Settings that name this database.
    pub fn config(&self) -> DatabaseConfig {
        match &self.pooled_url {
            None => database_config(&self.url),
            Some(url) => DatabaseConfig { listen_url: Some(self.url.clone().into()), ..database_config(url) },
        }
    }

    /// A store of its own, with its own pool.
    pub fn store(&self) -> Store {
        Store::new(&self.config()).unwrap()
    }

    /// A plain connection.
    pub async fn client(&self) -> Client {
        connect(&self.url).await
    }

    /// A connection in pgtopic's schema.
    pub async fn broker_client(&self) -> Client {
        let client = self.client().await;
        client.batch_execute("SET search_path = pgtopic").await.unwrap();
        client
    }
}

impl Drop for TestDatabase {
    /// Best effort: the cluster goes away at the end. This keeps the disk from becoming full before
    /// that.
    fn drop(&mut self) {
        let Some(postgres) = SHARED.get() else { return };
        let (url, name) = (postgres.url("postgres"), self.name.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Ok((client, connection)) = tokio_postgres::connect(&url, NoTls).await {
                    tokio::spawn(connection);
                    let _ =
                        client.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
                }
            });
        }
    }
}

/// A PostgreSQL of the test, with one migrated database. It is for tests that stop, kill or restart
/// it.
pub struct TestCluster {
    /// The test may stop, kill and start it.
    pub postgres: EmbeddedPostgres,
}

impl TestCluster {
    /// Starts one. It is gone when dropped.
    pub async fn private() -> Self {
        Self::with(settings()).await
    }

    /// Starts one with further server parameters.
    pub async fn private_with(parameters: &[(&str, &str)]) -> Self {
        Self::with(with_parameters(settings(), parameters)).await
    }

    /// Starts one that listens on TCP, too, with a password.
    pub async fn private_tcp() -> Self {
        Self::with(Settings { tcp: true, ..settings() }).await
    }

    /// Starts one that keeps commits over crashes, as in production.
    pub async fn durable() -> Self {
        Self::with(Settings { durable: true, ..settings() }).await
    }

    /// Starts one whose clock the test steps.
    pub async fn with_clock(clock: &TestClock) -> Self {
        Self::with(Settings { pg_bin: Some(clock.binaries()), ..settings() }).await
    }

    /// Like [`Self::durable`], with further server parameters.
    pub async fn durable_with(parameters: &[(&str, &str)]) -> Self {
        Self::with(with_parameters(Settings { durable: true, ..settings() }, parameters)).await
    }

    /// Its Unix socket.
    pub fn socket(&self) -> std::path::PathBuf {
        self.postgres.data_dir().join(".s.PGSQL.5432")
    }

    async fn with(settings: Settings) -> Self {
        let cluster = Self { postgres: EmbeddedPostgres::start(settings).await.unwrap() };
        cluster.store().migrate().await.unwrap();
        cluster
    }

    /// libpq URL of its database, as superuser. It is the same after a restart.
    pub fn url(&self) -> String {
        self.postgres.url("postgres")
    }

    /// Settings that name its database.
    pub fn config(&self) -> DatabaseConfig {
        database_config(&self.url())
    }

    /// A store of its own.
    pub fn store(&self) -> Store {
        Store::new(&self.config()).unwrap()
    }

    /// A plain connection.
    pub async fn client(&self) -> Client {
        connect(&self.url()).await
    }
}
