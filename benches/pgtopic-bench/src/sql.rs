//! What the bench asks of PostgreSQL, over connections of its own. Each statement is a file of
//! `sql/`.
//!
//! A session has the server's default settings, as an application's has. The settings of the
//! product's own sessions would make publishers faster or slower. Only the search path is set, as
//! in those sessions. So the statements name pgtopic's tables without the schema.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use pgtopic::{
    config::DatabaseConfig,
    store::{StoreError, StoreSettings, connect},
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_postgres::{
    AsyncMessage, Client, Row, Statement,
    error::SqlState,
    types::{ToSql, Type},
};

/// What a statement is given.
type Value<'a> = &'a (dyn ToSql + Sync);

/// The text of `sql/<name>.sql`.
macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!("../sql/", $name, ".sql"))
    };
}

/// How publishers insert in a measurement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Insert {
    /// Into `messages`.
    Message,
    /// Into a table with the same columns and nothing else.
    Plain,
    /// Into that table, with a NOTIFY on this channel in the same transaction.
    PlainAndNotify(String),
}

/// What the server has done so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counters {
    /// Bytes of write-ahead log, of the whole server.
    pub(super) wal_bytes: i64,
    /// Transactions committed in this database. A session adds its own when it ends, and sometimes
    /// before.
    pub(super) transactions: i64,
}

/// What is left for a webhook.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owed {
    /// Whether a delivery is left.
    pub(super) owed: bool,
    /// How many became dead letters.
    pub(super) dead_letters: i64,
}

/// Makes sessions in one database.
pub(super) struct Connector {
    settings: StoreSettings,
    pin: String,
}

/// A connection. It ends when this is dropped.
pub(super) struct Session(Client);

/// A publisher: one connection, one prepared statement.
pub(super) struct Publisher {
    client: Client,
    statement: Statement,
    topic_id: i64,
    channel: Option<String>,
}

/// A connection that listens.
pub(super) struct Listener {
    client: Client,
    read: Statement,
    texts: UnboundedReceiver<String>,
}

/// A transaction that stays open and holds its snapshot until this is dropped.
pub(super) struct Snapshot(Client);

impl Connector {
    /// Connects to nothing yet.
    pub(super) fn new(config: &DatabaseConfig) -> Self {
        let pin = format!(
            "SET search_path = pg_catalog, {}, pg_temp; SET application_name = 'pgtopic-bench'",
            quoted(&config.schema)
        );
        Self { settings: config.into(), pin }
    }

    /// A session without limits of time.
    pub(super) async fn session(&self) -> Result<Session, StoreError> {
        Ok(Session(self.connect().await?.0))
    }

    /// A session that listens on a channel.
    pub(super) async fn listen(&self, channel: &str) -> Result<Listener, StoreError> {
        let (client, texts) = self.connect().await?;
        client.batch_execute(&format!("LISTEN {}", quoted(channel))).await?;
        let read = client.prepare(sql!("read_plain")).await?;
        Ok(Listener { client, read, texts })
    }

    /// A connection, and the texts of its notifications. It is polled until its client is dropped.
    async fn connect(&self) -> Result<(Client, UnboundedReceiver<String>), StoreError> {
        let (client, mut connection) = connect(&self.settings).await?;
        let (told, texts) = unbounded_channel();
        tokio::spawn(async move {
            let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
            while let Some(Ok(message)) = messages.next().await {
                if let AsyncMessage::Notification(notification) = message {
                    // Most sessions listen to nothing.
                    let _ = told.send(notification.payload().to_owned());
                }
            }
        });
        client.batch_execute(&self.pin).await?;
        Ok((client, texts))
    }
}

impl Session {
    /// Ends every statement that takes longer, from now on.
    pub(super) async fn limit(&self, time: Duration) -> Result<(), StoreError> {
        Ok(self.0.batch_execute(&format!("SET statement_timeout = {}", time.as_millis())).await?)
    }

    /// Creates a database that did not exist.
    pub(super) async fn create_database(&self, name: &str) -> Result<(), StoreError> {
        Ok(self.0.batch_execute(&format!("CREATE DATABASE {} TEMPLATE template0", quoted(name))).await?)
    }

    /// Drops a database that [`Self::create_database`] made, and ends all connections to it.
    pub(super) async fn drop_database(&self, name: &str) -> Result<(), StoreError> {
        Ok(self.0.batch_execute(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(name))).await?)
    }

    /// Writes dirty pages now, so that they need not be written during a measurement. A role that
    /// may not do this goes on without.
    pub(super) async fn checkpoint(&self) -> Result<(), StoreError> {
        match self.0.batch_execute("CHECKPOINT").await {
            Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    /// The server's version and the settings that matter to a measurement.
    pub(super) async fn server_settings(&self) -> Result<Vec<(String, String)>, StoreError> {
        let rows = self.0.query_typed(sql!("server"), &[]).await?;
        rows.iter().map(|row| Ok((row.try_get("name")?, row.try_get("value")?))).collect()
    }

    /// Makes the table that publishing is compared with.
    pub(super) async fn create_plain_table(&self) -> Result<(), StoreError> {
        Ok(self.0.batch_execute(sql!("create_plain_table")).await?)
    }

    /// Publishes the messages numbered `first` to `last` in one transaction. They are spread evenly
    /// over `lanes` partitions with the names `lane-0`, `lane-1` and so on.
    pub(super) async fn fill(
        &self,
        topic_id: i64,
        first: i64,
        last: i64,
        lanes: i64,
        filler: &str,
    ) -> Result<(), StoreError> {
        let numbers = [&topic_id, &first, &last, &lanes].map(|number| (number as Value<'_>, Type::INT8));
        let mut parameters = Vec::from(numbers);
        parameters.push((&filler, Type::TEXT));
        self.0.execute_typed(sql!("fill"), &parameters).await?;
        Ok(())
    }

    /// Creates topics, named by the prefix and a number from 0, each with one webhook. Gives the
    /// topics' ids in that order.
    pub(super) async fn subscribe(
        &self,
        prefix: &str,
        count: i64,
        url: &str,
    ) -> Result<Vec<i64>, StoreError> {
        let parameters: [(Value<'_>, Type); 3] =
            [(&prefix, Type::TEXT), (&count, Type::INT8), (&url, Type::TEXT)];
        let rows = self.0.query_typed(sql!("subscribe"), &parameters).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// What the server has done so far.
    pub(super) async fn counters(&self) -> Result<Counters, StoreError> {
        let row = self.0.query_typed_one(sql!("counters"), &[]).await?;
        Ok(Counters { wal_bytes: row.try_get("wal_bytes")?, transactions: row.try_get("transactions")? })
    }

    /// What is left for a webhook.
    pub(super) async fn owed(&self, webhook_id: i64) -> Result<Owed, StoreError> {
        let row = self.of_webhook(sql!("owed"), webhook_id).await?;
        Ok(Owed { owed: row.try_get("owed")?, dead_letters: row.try_get("dead_letters")? })
    }

    /// Why something is still owed to a webhook, in words.
    pub(super) async fn describe_owed(&self, webhook_id: i64) -> Result<String, StoreError> {
        Ok(self.of_webhook(sql!("describe_owed"), webhook_id).await?.try_get(0)?)
    }

    /// How many workers are registered.
    pub(super) async fn count_workers(&self) -> Result<usize, StoreError> {
        let workers: i64 = self.0.query_typed_one(sql!("count_workers"), &[]).await?.try_get("workers")?;
        Ok(usize::try_from(workers).unwrap_or_default())
    }

    /// Becomes a publisher.
    pub(super) async fn publisher(self, insert: &Insert, topic_id: i64) -> Result<Publisher, StoreError> {
        let (text, channel) = match insert {
            Insert::Message => (sql!("insert_message"), None),
            Insert::Plain => (sql!("insert_plain"), None),
            Insert::PlainAndNotify(channel) => (sql!("insert_and_notify"), Some(channel.clone())),
        };
        let statement = self.0.prepare(text).await?;
        Ok(Publisher { client: self.0, statement, topic_id, channel })
    }

    /// Opens a transaction. Its snapshot keeps every row version that is deleted from now on.
    pub(super) async fn hold_snapshot(self) -> Result<Snapshot, StoreError> {
        self.0.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class").await?;
        Ok(Snapshot(self.0))
    }

    async fn of_webhook(&self, text: &str, webhook_id: i64) -> Result<Row, StoreError> {
        Ok(self.0.query_typed_one(text, &[(&webhook_id, Type::INT8)]).await?)
    }
}

impl Publisher {
    /// Publishes one message in a transaction of its own. When this returns the id, it is
    /// committed.
    pub(super) async fn publish(&self, partition_key: &str, payload: &str) -> Result<i64, StoreError> {
        let mut parameters: Vec<Value<'_>> = vec![&self.topic_id, &partition_key, &payload];
        parameters.extend(self.channel.as_ref().map(|channel| channel as Value<'_>));
        Ok(self.client.query_one(&self.statement, &parameters).await?.try_get(0)?)
    }
}

impl Listener {
    /// The next text; `None` if the connection is lost.
    pub(super) async fn next(&mut self) -> Option<String> {
        self.texts.recv().await
    }

    /// The payload of a row that a notification named, read over the same connection.
    pub(super) async fn read(&self, id: i64) -> Result<String, StoreError> {
        Ok(self.client.query_one(&self.read, &[&id]).await?.try_get(0)?)
    }
}

impl Snapshot {
    /// Ends the transaction. Fails if the server had ended it before, because then nothing was
    /// held.
    pub(super) async fn release(self) -> Result<(), StoreError> {
        Ok(self.0.batch_execute("SELECT count(*) FROM pg_class; COMMIT").await?)
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
