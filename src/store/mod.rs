//! The only module that speaks to PostgreSQL.
//!
//! Every method runs one statement, kept in `sql/<area>/<verb>.sql`, and gives its answer as types
//! of [`crate::domain`]. Methods are grouped by area in the files beside this one.

mod call;
mod connect;
mod dead_letters;
mod deliveries;
mod due_at_repair;
mod error;
mod functions;
mod lanes;
mod maintenance;
mod messages;
mod migrate;
mod pooled;
mod sessions;
mod settings;
mod settle;
mod statement;
mod targets;
mod topics;
mod webhooks;
mod workers;

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_postgres::Row;

use self::{
    call::Parameters,
    connect::{Connector, Purpose},
    sessions::Sessions,
    statement::Schema,
};
pub use self::{
    connect::tls_config,
    due_at_repair::*,
    error::{Refusal, StoreError},
    lanes::*,
    migrate::*,
    settings::StoreSettings,
    settle::*,
    workers::*,
};
use crate::domain::page::{Items, Page};

/// How many statements of one worker's engine run at once at most: a claim, a look at what it was
/// told of, a read, a settle, the log, the news, the webhooks, and a request for silence.
const ENGINE_CONNECTIONS: usize = 8;

/// A handle to the database; cheap to clone.
#[derive(Clone)]
pub struct Store {
    /// For the API and what runs in the background.
    general: Sessions,
    /// For the worker's engine: nobody else's statements keep it waiting.
    engine: Sessions,
    connector: Connector,
    schema: Arc<Schema>,
    /// Connections that may publish at once: publishers wait for their partition, and must leave
    /// some for others.
    publishing: Arc<Semaphore>,
}

impl Store {
    /// Checks the settings and makes the pools. Connects to nothing yet.
    pub fn new(settings: impl Into<StoreSettings>) -> Result<Self, StoreError> {
        let settings = settings.into();
        let schema = Arc::new(Schema::new(&settings.schema)?);
        let connector = Connector::new(&settings, Arc::clone(&schema))?;
        let sessions = |size, purpose| Sessions::new(&connector, &schema, size, purpose, settings.is_pooled);
        Ok(Self {
            general: sessions(settings.pool_size, Purpose::General)?,
            engine: sessions(ENGINE_CONNECTIONS, Purpose::Engine)?,
            publishing: Arc::new(Semaphore::new((settings.pool_size * 3 / 4).max(1))),
            connector,
            schema,
        })
    }

    /// The schema where everything lives.
    pub fn schema_name(&self) -> &str {
        self.schema.name()
    }
}

/// One statement each, in a session of the general kind but where a method says otherwise.
impl Store {
    async fn query(
        &self,
        statement: &'static str,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        Ok(self.general.run(statement, parameters).await?.rows)
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

    async fn execute(&self, statement: &'static str, parameters: Parameters<'_>) -> Result<u64, StoreError> {
        Ok(self.general.run(statement, parameters).await?.affected)
    }

    /// Calls one of the engine's functions.
    async fn call(
        &self,
        statement: &'static str,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        Ok(self.engine.call(statement, parameters).await?.rows)
    }

    /// Closes all connections that nobody uses. An incarnation has ended, and nothing that it has
    /// begun may go on; and one that brings no answers would keep the next one waiting, whatever it
    /// is for.
    pub fn close_idle(&self) {
        self.engine.close_idle();
        self.general.close_idle();
    }
}

/// A column that holds one of the words of an enumeration.
fn word<T>(row: &Row, column: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
    let value: &str = row.try_get(column)?;
    parse(value).ok_or_else(|| StoreError::Unexpected(format!("{column} is {value:?}")))
}

/// The children in a parent's rows. A parent without children is one row in which their key is
/// null; no row at all means no parent, and gives `None`.
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

/// The page that `items`, read from `rows`, make: one that is short goes on where looking for more
/// stopped.
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
