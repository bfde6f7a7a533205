//! What `pgtopic bench` asks of the database. Nothing else uses it.
//!
//! Publishers have a connection of their own with the server's default settings, as an application has: what the pool's
//! sessions set for themselves would flatter or hamper them.

use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client, Statement};

use super::{Store, error::StoreError, statement::sql};

/// How publishers of a measurement insert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BenchInsert {
    /// Into `messages`.
    Message,
    /// Into a table with the same columns and nothing else.
    Plain,
    /// Into that table, with a NOTIFY on this channel in the same transaction.
    PlainAndNotify(String),
}

/// A publisher: one connection, one prepared statement.
pub struct BenchPublisher {
    client: Client,
    statement: Statement,
    topic_id: i64,
    channel: Option<String>,
}

/// What the server has done so far.
#[derive(Debug, Clone, Copy)]
pub struct BenchCounters {
    /// Bytes of write-ahead log, of the whole server.
    pub wal_bytes: i64,
    /// Transactions committed in this database. A session adds its own when it ends, and now and then before.
    pub transactions: i64,
}

/// What a webhook is left with.
#[derive(Debug, Clone, Copy)]
pub struct BenchOwed {
    /// Whether a delivery is left.
    pub owed: bool,
    /// How many became dead letters.
    pub dead_letters: i64,
}

/// A connection that listens.
pub struct BenchListener {
    client: Client,
    read: Statement,
    texts: mpsc::UnboundedReceiver<String>,
}

/// A transaction that stays open and holds its snapshot until this is dropped.
pub struct BenchSnapshot(Client);

impl Store {
    /// Creates a database that did not exist, beside the one this store is connected to.
    pub async fn bench_create_database(&self, name: &str) -> Result<(), StoreError> {
        let statement = format!("CREATE DATABASE {} TEMPLATE template0", quoted(name));
        Ok(self.bench_connection().await?.batch_execute(&statement).await?)
    }

    /// Drops a database that [`Store::bench_create_database`] made, and ends whatever is still connected to it.
    pub async fn bench_drop_database(&self, name: &str) -> Result<(), StoreError> {
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(name));
        Ok(self.bench_connection().await?.batch_execute(&statement).await?)
    }

    /// Writes what is dirty now, so that it need not be written while something is measured. A role that may not do this
    /// goes without.
    pub async fn bench_checkpoint(&self) -> Result<(), StoreError> {
        match self.bench_connection().await?.batch_execute("CHECKPOINT").await {
            Err(error) if error.code() == Some(&tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE) => {
                Ok(())
            }
            outcome => Ok(outcome?),
        }
    }

    /// The server's version and the settings that matter to a measurement.
    pub async fn bench_server_settings(&self) -> Result<Vec<(String, String)>, StoreError> {
        let rows = self.query(sql!("bench/server"), &[]).await?;
        rows.iter().map(|row| Ok((row.try_get("name")?, row.try_get("value")?))).collect()
    }

    /// Makes the table that publishing is compared with.
    pub async fn bench_create_plain_table(&self) -> Result<(), StoreError> {
        self.execute(sql!("bench/create_plain_table"), &[]).await?;
        Ok(())
    }

    /// A publisher with a connection of its own.
    pub async fn bench_publisher(
        &self,
        insert: &BenchInsert,
        topic_id: i64,
    ) -> Result<BenchPublisher, StoreError> {
        let client = self.bench_connection().await?;
        let (text, channel) = match insert {
            BenchInsert::Message => (sql!("bench/insert_message"), None),
            BenchInsert::Plain => (sql!("bench/insert_plain"), None),
            BenchInsert::PlainAndNotify(channel) => (sql!("bench/insert_and_notify"), Some(channel.clone())),
        };
        let statement = client.prepare(&self.schema.text(text)).await?;
        Ok(BenchPublisher { client, statement, topic_id, channel })
    }

    /// Publishes the messages numbered `first` to `last` in one transaction, spread evenly over `lanes` partitions that
    /// are called `lane-0` and so on.
    pub async fn bench_fill(
        &self,
        topic_id: i64,
        first: i64,
        last: i64,
        lanes: i64,
        filler: &str,
    ) -> Result<u64, StoreError> {
        let client = self.bench_connection().await?;
        let parameters: super::Parameters<'_> = &[&topic_id, &first, &last, &lanes, &filler];
        Ok(client.execute(&*self.schema.text(sql!("bench/fill")), parameters).await?)
    }

    /// What the server has done so far.
    pub async fn bench_counters(&self) -> Result<BenchCounters, StoreError> {
        let row = self.query_one(sql!("bench/counters"), &[]).await?;
        Ok(BenchCounters { wal_bytes: row.try_get("wal_bytes")?, transactions: row.try_get("transactions")? })
    }

    /// What a webhook is left with.
    pub async fn bench_owed(&self, webhook_id: i64) -> Result<BenchOwed, StoreError> {
        let row = self.query_one(sql!("bench/owed"), &[&webhook_id]).await?;
        Ok(BenchOwed { owed: row.try_get("owed")?, dead_letters: row.try_get("dead_letters")? })
    }

    /// Why something is still owed to a webhook, in words.
    pub async fn bench_describe_owed(&self, webhook_id: i64) -> Result<String, StoreError> {
        Ok(self.query_one(sql!("bench/describe_owed"), &[&webhook_id]).await?.try_get(0)?)
    }

    /// How many workers are registered.
    pub async fn bench_count_workers(&self) -> Result<usize, StoreError> {
        let workers: i64 = self.query_one(sql!("bench/count_workers"), &[]).await?.try_get("workers")?;
        Ok(usize::try_from(workers).unwrap_or_default())
    }

    /// Opens a transaction whose snapshot keeps every row version that anybody deletes from now on.
    pub async fn bench_hold_snapshot(&self) -> Result<BenchSnapshot, StoreError> {
        let client = self.bench_connection().await?;
        client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class").await?;
        Ok(BenchSnapshot(client))
    }

    /// Listens on a channel.
    pub async fn bench_listen(&self, channel: &str) -> Result<BenchListener, StoreError> {
        let (client, mut connection) = self.connector.connect().await?;
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut messages = futures_util::stream::poll_fn(move |context| connection.poll_message(context));
            while let Some(Ok(message)) = messages.next().await {
                let AsyncMessage::Notification(notification) = message else { continue };
                if sender.send(notification.payload().to_owned()).is_err() {
                    break;
                }
            }
        });
        client.batch_execute(&format!("LISTEN {}", quoted(channel))).await?;
        let read = client.prepare(&self.schema.text(sql!("bench/read_plain"))).await?;
        Ok(BenchListener { client, read, texts: receiver })
    }

    /// A connection with the server's default settings, but for the search path.
    async fn bench_connection(&self) -> Result<Client, StoreError> {
        // Ends with the client.
        let (client, _) = self.connector.direct().await?;
        Ok(client)
    }
}

impl BenchPublisher {
    /// Publishes one message in a transaction of its own; it is committed when this returns its id.
    pub async fn publish(&self, partition_key: &str, payload: &str) -> Result<i64, StoreError> {
        let row = match &self.channel {
            None => {
                self.client.query_one(&self.statement, &[&self.topic_id, &partition_key, &payload]).await?
            }
            Some(channel) => {
                let parameters: super::Parameters<'_> = &[&self.topic_id, &partition_key, &payload, channel];
                self.client.query_one(&self.statement, parameters).await?
            }
        };
        Ok(row.try_get(0)?)
    }
}

impl BenchListener {
    /// The next text; `None` once the connection is lost.
    pub async fn next(&mut self) -> Option<String> {
        self.texts.recv().await
    }

    /// The payload of a row that was told of, read over the same connection.
    pub async fn read(&self, id: i64) -> Result<String, StoreError> {
        Ok(self.client.query_one(&self.read, &[&id]).await?.try_get(0)?)
    }
}

impl BenchSnapshot {
    /// Ends the transaction; fails if the server had ended it before, and nothing was held.
    pub async fn release(self) -> Result<(), StoreError> {
        Ok(self.0.batch_execute("SELECT count(*) FROM pg_class; COMMIT").await?)
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
