//! The only module that speaks to PostgreSQL.
//!
//! Every method runs one statement, kept in `sql/<area>/<verb>.sql`, and gives its answer as types of [`crate::domain`].
//! Methods are grouped by area in the files beside this one.

mod bench;
mod clock;
mod connect;
mod dead_letters;
mod deliveries;
mod error;
mod handed;
mod health;
mod lanes;
mod maintenance;
mod messages;
mod migrate;
mod pooled;
mod settle;
mod statement;
mod targets;
mod topics;
mod webhooks;
mod workers;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use deadpool_postgres::{Object, Pool};
use tokio::sync::Semaphore;
use tokio_postgres::{Row, Statement, types::ToSql};

pub use self::{
    bench::*, clock::*, error::StoreError, handed::*, lanes::*, migrate::MigrateOutcome, settle::*,
    workers::*,
};
use self::{
    connect::Connector,
    pooled::{Answer, Pooled, Text},
    statement::Schema,
};
use crate::{
    config::DatabaseConfig,
    domain::page::{Items, Page},
};

/// A handle to the database; cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    connector: Connector,
    schema: Arc<Schema>,
    /// Connections that may publish at once: publishers wait for their partition, and must leave some for others.
    publishing: Arc<Semaphore>,
    /// Where the pool's connections lead through a transaction pooler: what runs the statements instead.
    pooled: Option<Arc<Pooled>>,
}

impl Store {
    /// Checks the settings and makes the pool. Connects to nothing yet.
    pub fn new(config: &DatabaseConfig) -> Result<Self, StoreError> {
        let connector = Connector::new(config)?;
        let pool = connector.pool(config.pool_size)?;
        let pooled = config.is_pooled().then(|| Arc::new(Pooled::new(pool.clone(), connector.clone())));
        Ok(Self {
            pool,
            pooled,
            connector,
            schema: Arc::new(Schema::new(&config.schema)?),
            publishing: Arc::new(Semaphore::new((config.pool_size * 3 / 4).max(1))),
        })
    }

    /// The schema where everything lives.
    pub fn schema_name(&self) -> &str {
        self.schema.name()
    }
}

/// A call of the engine's functions that takes longer has a bad plan, or none of its time is its own.
const SLOW_CALL: Duration = Duration::from_millis(50);

/// What a statement is given.
type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// One statement each, on a connection of the pool. A statement is one implicit transaction; through a transaction pooler
/// it is an explicit one, see [`pooled`].
impl Store {
    /// A connection of the pool, and the statement prepared on it.
    async fn prepare(&self, statement: &'static str) -> Result<(Object, Statement), StoreError> {
        let connection = self.pool.get().await?;
        let statement = connection.prepare_cached(&self.schema.text(statement)).await?;
        Ok((connection, statement))
    }

    async fn through_pooler(
        &self,
        pooled: &Pooled,
        file: &'static str,
        parameters: Parameters<'_>,
    ) -> Result<Answer, StoreError> {
        pooled.run(Text { file, text: &self.schema.text(file) }, parameters).await
    }

    async fn query(
        &self,
        statement: &'static str,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        if let Some(pooled) = &self.pooled {
            return Ok(self.through_pooler(pooled, statement, parameters).await?.rows);
        }
        let (connection, statement) = self.prepare(statement).await?;
        Ok(connection.query(&statement, parameters).await?)
    }

    async fn query_one(
        &self,
        statement: &'static str,
        parameters: Parameters<'_>,
    ) -> Result<Row, StoreError> {
        let row = self.query_opt(statement, parameters).await?;
        row.ok_or_else(|| StoreError::Unexpected("no row where there must be one".to_owned()))
    }

    async fn query_opt(
        &self,
        statement: &'static str,
        parameters: Parameters<'_>,
    ) -> Result<Option<Row>, StoreError> {
        let mut rows = self.query(statement, parameters).await?;
        let row = rows.pop();
        if !rows.is_empty() {
            return Err(StoreError::Unexpected("several rows where there may be one".to_owned()));
        }
        Ok(row)
    }

    /// Calls one of the engine's functions, and has its plans made anew if it was slow: they are kept for as long as the
    /// session lives, and those made on small tables are bad for large ones.
    async fn call(
        &self,
        statement: &'static str,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        if let Some(pooled) = &self.pooled {
            let text = Text { file: statement, text: &self.schema.text(statement) };
            return Ok(pooled.call(text, parameters).await?.rows);
        }
        let (connection, statement) = self.prepare(statement).await?;
        let begun = Instant::now();
        let rows = connection.query(&statement, parameters).await?;
        if begun.elapsed() > SLOW_CALL {
            // Whatever comes of it, the answer is there and must not be lost.
            let _ = connection.batch_execute("DISCARD PLANS").await;
        }
        Ok(rows)
    }

    async fn execute(&self, statement: &'static str, parameters: Parameters<'_>) -> Result<u64, StoreError> {
        if let Some(pooled) = &self.pooled {
            return Ok(self.through_pooler(pooled, statement, parameters).await?.affected);
        }
        let (connection, statement) = self.prepare(statement).await?;
        Ok(connection.execute(&statement, parameters).await?)
    }
}

/// The children in a parent's rows. A parent without children is one row in which their key is null; no row at all
/// means no parent, and gives `None`.
fn rows_under_parent<T>(
    rows: &[Row],
    key: &str,
    child: impl Fn(&Row) -> Result<T, StoreError>,
) -> Result<Option<Vec<T>>, StoreError> {
    match rows {
        [] => Ok(None),
        [only] if only.try_get::<_, Option<i64>>(key)?.is_none() => Ok(Some(Vec::new())),
        rows => rows.iter().map(child).collect::<Result<_, _>>().map(Some),
    }
}

/// The page that `items`, read from `rows`, make: one that is short goes on where looking for more stopped.
fn scanned_page<T>(
    rows: &[Row],
    items: Vec<T>,
    page: Page,
    id: impl Fn(&T) -> i64,
) -> Result<Items<T>, StoreError> {
    let scanned_to =
        rows.first().map(|row| row.try_get::<_, Option<i64>>("scanned_to")).transpose()?.flatten();
    let mut answer = Items::full(items, page, id);
    answer.next = answer.next.or(scanned_to);
    Ok(answer)
}
