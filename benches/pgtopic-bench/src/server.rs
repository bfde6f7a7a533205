//! The PostgreSQL that is measured, and a fresh database of ours for every measurement.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use pgtopic::{
    config::{DatabaseConfig, Pooler},
    delivery::SigningKey,
    domain::{
        topic::{NewTopic, Ordering, TopicRef},
        webhook::{NewWebhook, WebhookChanges},
    },
    embedded::{EmbeddedPostgres, Settings, ShutdownMode},
    store::Store,
};
use secrecy::ExposeSecret as _;

use super::{
    CliError, failed,
    sql::{Connector, Counters, Session},
    system,
};

/// What the embedded server is told, beside its defaults. `fsync` stays on. Images of whole pages
/// are off, so that the bytes of write-ahead log a message do not depend on when the last
/// checkpoint was.
const PARAMETERS: [(&str, &str); 5] = [
    ("shared_buffers", "512MB"),
    ("max_connections", "200"),
    ("max_wal_size", "8GB"),
    ("checkpoint_timeout", "30min"),
    ("full_page_writes", "off"),
];

/// What the names of our databases begin with.
const PREFIX: &str = "pgtopic_bench_";

/// How long a question to the database may take, where nothing is measured.
const ANSWER_LIMIT: Duration = Duration::from_secs(25);

/// Connections of pgtopic in the bench itself; publishers have their own.
const POOL_SIZE: usize = 4;

/// How many messages are filled in with one transaction.
const FILL_CHUNK: u64 = 10_000;

/// A server, ours or one that was named.
pub(super) struct Server {
    embedded: Option<EmbeddedPostgres>,
    config: DatabaseConfig,
    connector: Connector,
    /// Databases that were made and not dropped yet.
    databases: Mutex<Vec<String>>,
}

/// A migrated database of ours.
pub(super) struct Database {
    name: String,
    config: DatabaseConfig,
    store: Store,
    pub(super) connector: Connector,
    /// For questions.
    session: Session,
}

impl Server {
    /// Starts a temporary server, or takes the one that `url` names.
    pub(super) async fn start(
        config: DatabaseConfig,
        url: Option<String>,
        pg_bin: Option<PathBuf>,
    ) -> Result<Self, CliError> {
        let (embedded, url) = if let Some(url) = url {
            (None, url)
        } else {
            let parameters = PARAMETERS.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            let settings = Settings { data_dir: None, durable: true, tcp: false, parameters, pg_bin };
            let postgres = EmbeddedPostgres::start(settings).await?;
            let url = postgres.url("postgres");
            (Some(postgres), url)
        };
        let config = DatabaseConfig {
            url: Some(url.into()),
            listen_url: None,
            pooler: Pooler::None,
            pool_size: POOL_SIZE,
            ..config
        };
        let connector = Connector::new(&config);
        Ok(Self { embedded, config, connector, databases: Mutex::default() })
    }

    /// Whether the server is ours.
    pub(super) fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// The server's version and settings.
    pub(super) async fn settings(&self) -> Result<Vec<(String, String)>, CliError> {
        Ok(self.connector.session().await?.server_settings().await?)
    }

    /// The processor time that the server has used, if it is ours.
    pub(super) fn processor_time(&self) -> Option<Duration> {
        system::processor_time_of_tree(self.embedded.as_ref()?.process_id()?)
    }

    /// Makes a database and migrates it.
    pub(super) async fn create(&self) -> Result<Database, CliError> {
        let name = format!("{PREFIX}{:016x}", rand::random::<u64>());
        self.connector.session().await?.create_database(&name).await?;
        self.made().push(name.clone());
        let url = self.config.url.as_ref().map_or("", |url| url.expose_secret());
        let config = DatabaseConfig { url: Some(with_database(url, &name).into()), ..self.config.clone() };
        let store = Store::new(&config)?;
        store.migrate().await?;
        let connector = Connector::new(&config);
        let session = connector.session().await?;
        session.create_plain_table().await?;
        session.limit(ANSWER_LIMIT).await?;
        Ok(Database { name, config, store, connector, session })
    }

    /// Drops a database that was made here.
    pub(super) async fn drop(&self, database: Database) -> Result<(), CliError> {
        let Database { name, store, session, .. } = database;
        drop((store, session));
        self.connector.session().await?.drop_database(&name).await?;
        self.made().retain(|made| *made != name);
        Ok(())
    }

    /// Drops what is left, and stops the server if it is ours.
    pub(super) async fn stop(self) -> Result<(), CliError> {
        if let Some(mut postgres) = self.embedded {
            // Its databases go with it.
            return Ok(postgres.stop(ShutdownMode::Immediate).await?);
        }
        let names = self.databases.into_inner().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            self.connector.session().await?.drop_database(&name).await?;
        }
        Ok(())
    }

    fn made(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.databases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Database {
    /// The environment that points a process here.
    pub(super) fn settings(&self) -> Vec<(String, String)> {
        let mut settings = vec![
            (
                "PGTOPIC_DATABASE__URL".to_owned(),
                self.config.url.as_ref().map_or("", |url| url.expose_secret()).to_owned(),
            ),
            ("PGTOPIC_DATABASE__SCHEMA".to_owned(), self.config.schema.clone()),
            ("PGTOPIC_LOG__LEVEL".to_owned(), "warn".to_owned()),
        ];
        if let Some(file) = &self.config.ca_file {
            settings.push(("PGTOPIC_DATABASE__CA_FILE".to_owned(), file.display().to_string()));
        }
        settings
    }

    /// Creates a topic and gives its id.
    pub(super) async fn topic(&self, name: &str) -> Result<i64, CliError> {
        let new = NewTopic { name: name.to_owned(), ordering: Ordering::Partition, retention_seconds: None };
        Ok(self.store.create_topic(&new).await?.id)
    }

    /// Subscribes a URL and gives the webhook's id.
    pub(super) async fn webhook(&self, topic_id: i64, url: &str) -> Result<i64, CliError> {
        let new = NewWebhook { url: url.to_owned(), ..NewWebhook::default() };
        let created = self
            .store
            .create_webhook(&TopicRef::Id(topic_id), &new, &SigningKey::generate(), "benchmark")
            .await?;
        created.map(|webhook| webhook.id).ok_or_else(|| failed("the topic is gone".to_owned()))
    }

    /// Creates many topics, each with one webhook of this URL, and gives the topics' ids.
    pub(super) async fn topics_with_webhook(
        &self,
        prefix: &str,
        count: u64,
        url: &str,
    ) -> Result<Vec<i64>, CliError> {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        Ok(self.session.subscribe(prefix, count, url).await?)
    }

    /// Pauses or resumes a webhook.
    pub(super) async fn pause(&self, webhook_id: i64, paused: bool) -> Result<(), CliError> {
        self.store.update_webhook(webhook_id, &WebhookChanges::pause(paused), "bench").await?;
        Ok(())
    }

    /// Publishes that many messages, spread evenly over lanes, and tells how many are done.
    pub(super) async fn fill(
        &self,
        topic_id: i64,
        messages: u64,
        lanes: u64,
        done: impl Fn(u64),
    ) -> Result<(), CliError> {
        self.fill_with(&super::load::filler(), topic_id, messages, lanes, done).await
    }

    /// The same with payloads that hold this text.
    pub(super) async fn fill_with(
        &self,
        filler: &str,
        topic_id: i64,
        messages: u64,
        lanes: u64,
        done: impl Fn(u64),
    ) -> Result<(), CliError> {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        // Its end tells the server of its transactions, before anything is measured.
        let session = self.connector.session().await?;
        let mut first = 0;
        while first < messages {
            let last = (first + FILL_CHUNK).min(messages) - 1;
            session.fill(topic_id, number(first), number(last), number(lanes), filler).await?;
            first = last + 1;
            done(first);
        }
        Ok(())
    }

    /// Makes sure that a webhook is owed nothing and that nothing of it died; `false` if something
    /// is still owed.
    pub(super) async fn is_settled(&self, webhook_id: i64) -> Result<bool, CliError> {
        let left = self.session.owed(webhook_id).await?;
        if left.dead_letters > 0 {
            return Err(failed(format!("{} messages became dead letters", left.dead_letters)));
        }
        Ok(!left.owed)
    }

    /// Adds to an error what is still owed to a webhook.
    pub(super) async fn explain(&self, webhook_id: i64, error: CliError) -> CliError {
        match self.session.describe_owed(webhook_id).await {
            Ok(owed) => failed(format!("{error}: {owed}")),
            Err(_) => error,
        }
    }

    /// Counters of the server.
    pub(super) async fn counters(&self) -> Result<Counters, CliError> {
        Ok(self.session.counters().await?)
    }

    /// How many workers are registered.
    pub(super) async fn count_workers(&self) -> Result<usize, CliError> {
        Ok(self.session.count_workers().await?)
    }

    /// Writes what is dirty now, which may take its time.
    pub(super) async fn checkpoint(&self) -> Result<(), CliError> {
        Ok(self.connector.session().await?.checkpoint().await?)
    }
}

/// The same server, another database. What stands last in a URL, or in a list of settings, holds.
fn with_database(url: &str, name: &str) -> String {
    if !url.contains("://") {
        return format!("{url} dbname={name}");
    }
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}dbname={name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_server_with_another_database() {
        for (url, expected) in [
            ("postgresql://u@h:1/app", "postgresql://u@h:1/app?dbname=x"),
            ("postgresql://u@h/app?sslmode=require", "postgresql://u@h/app?sslmode=require&dbname=x"),
            ("host=h dbname=app", "host=h dbname=app dbname=x"),
        ] {
            assert_eq!(with_database(url, "x"), expected);
        }
    }
}
