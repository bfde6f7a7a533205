//! The only module that speaks to PostgreSQL.
//!
//! A method of [`Store`] runs one statement, which is one transaction. A few methods run several,
//! one after another. Each statement is in `sql/<area>/<verb>.sql`. Answers are types of
//! [`crate::domain`], or of this module. The files beside this one hold one area each.
//!
//! Every method fails with a [`StoreError`] if the database cannot be reached, does not answer in
//! time or refuses the statement. Errors that mean something more are named at each method.

mod activity;
mod breakers;
mod call;
mod cell;
mod certificate;
mod changes;
mod connect;
mod conninfo;
mod dead_letters;
mod deliveries;
mod doctor;
mod drain;
mod due_at_repair;
mod due_webhooks;
mod error;
mod events;
mod expiry;
mod functions;
mod gauges;
mod health;
mod inspect;
mod jobs;
mod lane_history;
mod lane_list;
mod lanes;
mod lead;
mod locks;
mod logins;
mod maintenance;
mod messages;
mod migrate;
mod migrations;
mod one_by_one;
mod overflow;
mod plan_discards;
mod pool;
mod pooled;
mod purpose;
mod schema_status;
mod sending;
mod sessions;
mod settings;
mod settle;
mod shares;
mod statement;
mod stats;
mod tail;
mod targets;
mod tls;
mod topics;
mod webhooks;
mod why;
mod workers;

use std::sync::Arc;

use secrecy::SecretString;
use tokio::sync::Semaphore;
use tokio_postgres::{Client, Row};

pub use self::{
    activity::ActivityRow,
    breakers::*,
    cell::*,
    connect::{Connection, connect},
    dead_letters::ReplayedDeadLetter,
    deliveries::DeliveryScope,
    due_at_repair::*,
    due_webhooks::*,
    error::{Refusal, StoreError},
    expiry::Expired,
    jobs::*,
    lanes::*,
    lead::{Lead, LeaderStore},
    maintenance::{MessagePortion, Orphans},
    migrate::*,
    overflow::{CheckedBacklog, DroppedOverflow},
    schema_status::*,
    settings::StoreSettings,
    settle::*,
    shares::*,
    tail::Newest,
    targets::{ChangedTargets, Look},
    why::Explained,
    workers::*,
};
use self::{call::Parameters, connect::Connector, purpose::Purpose, sessions::Sessions, statement::Schema};
use crate::domain::{
    metrics::PoolConnections,
    page::{Items, Page},
};

/// The most connections of one worker's engine. At most seven statements run at once: a claim, a
/// look after notifications, a read, a settle or removal, a settle that is tried again, a tail
/// read, and a repair of `due_at`. One connection is spare.
const ENGINE_CONNECTIONS: usize = 8;

/// A handle to the database. Clones are cheap.
#[derive(Clone)]
pub struct Store {
    /// For the API and background work.
    general: Sessions,
    /// For the worker's engine only, so that other statements never keep it waiting.
    engine: Sessions,
    connector: Connector,
    schema: Arc<Schema>,
    /// The name of this installation, which receivers get.
    source: Arc<str>,
    /// Whether a copy of a database sends like the first one.
    sends_on_copy: bool,
    /// How many connections may publish at once: three quarters of the pool. Publishers wait for
    /// their partition, and the others must not wait for them.
    publishing: Arc<Semaphore>,
}

/// Checks the settings of the database, before anything is started. Returns every error.
pub fn check_settings(settings: impl Into<StoreSettings>) -> Vec<StoreError> {
    let settings = settings.into();
    let mut errors = Vec::new();
    let schema = Schema::new(&settings.schema).or_else(|error| {
        errors.push(error);
        Schema::new("pgtopic")
    });
    let Ok(schema) = schema.map(Arc::new) else { return errors };
    // One by one: the first error of several would hide the others.
    let mut check = |url, listen_url, ca_file| {
        let settings = StoreSettings { url, listen_url, ca_file, ..settings.clone() };
        errors.extend(Connector::new(&settings, Arc::clone(&schema)).err());
    };
    let any = || Some(SecretString::from("postgresql://localhost"));
    check(settings.url.clone(), None, None);
    if settings.listen_url.is_some() {
        check(any(), settings.listen_url.clone(), None);
    }
    if settings.ca_file.is_some() {
        check(any(), None, settings.ca_file.clone());
    }
    errors
}

impl Store {
    /// Checks the settings and makes the pools. It does not connect yet.
    ///
    /// # Errors
    /// [`StoreError::InvalidUrl`], [`StoreError::InvalidSchema`] or [`StoreError::Tls`] if a
    /// setting is wrong.
    pub fn new(settings: impl Into<StoreSettings>) -> Result<Self, StoreError> {
        let settings = settings.into();
        let schema = Arc::new(Schema::new(&settings.schema)?);
        let connector = Connector::new(&settings, Arc::clone(&schema))?;
        let sessions = |size, purpose| Sessions::new(&connector, &schema, size, purpose, settings.is_pooled);
        Ok(Self {
            general: sessions(settings.pool_size, Purpose::General)?,
            engine: sessions(ENGINE_CONNECTIONS, Purpose::Engine)?,
            source: settings.source.into(),
            sends_on_copy: settings.sends_on_copy,
            publishing: Arc::new(Semaphore::new((settings.pool_size * 3 / 4).max(1))),
            connector,
            schema,
        })
    }

    /// The open connections of the pools.
    pub fn connections(&self) -> PoolConnections {
        let (general, engine) = (self.general.connections(), self.engine.connections());
        PoolConnections { in_use: general.in_use + engine.in_use, idle: general.idle + engine.idle }
    }

    /// The schema that holds everything.
    pub fn schema_name(&self) -> &str {
        self.schema.name()
    }

    /// The same as SQL writes it.
    pub fn schema_in_sql(&self) -> &str {
        self.schema.written()
    }
}

/// Each of these runs one statement. It runs on a general connection, except where a method says
/// otherwise.
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

    /// Calls one of the engine's functions, on a connection of the engine.
    async fn call(
        &self,
        statement: &'static str,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        Ok(self.engine.call(statement, parameters).await?.rows)
    }

    /// Runs several statements on one connection. The connection goes through no pooler.
    async fn with_direct<T>(
        &self,
        run: impl AsyncFnOnce(&mut Client) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = self.connector.direct().await?;
        // Boxed, because this future is large: otherwise it would make the futures of all callers
        // large.
        let outcome = Box::pin(run(connection.client())).await;
        // This releases its locks.
        connection.close().await;
        outcome
    }

    /// Closes all unused connections. The worker calls this when an incarnation has failed: nothing
    /// that it began may go on, and a connection without answers must not keep the next incarnation
    /// waiting.
    pub fn close_idle(&self) {
        self.engine.close_idle();
        self.general.close_idle();
    }
}

/// Reads a column that holds one of the words of an enumeration.
fn word<T>(row: &Row, column: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
    let value: &str = row.try_get(column)?;
    parse(value).ok_or_else(|| StoreError::Unexpected(format!("{column} is {value:?}")))
}

/// The same for a column that may be null.
fn optional_word<T>(
    row: &Row,
    column: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, StoreError> {
    match row.try_get::<_, Option<&str>>(column)? {
        Some(_) => word(row, column, parse).map(Some),
        None => Ok(None),
    }
}

/// The children in the rows of a parent. A parent without children is one row in which the column
/// `key` is null. No row at all means that there is no parent: `None`.
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

/// The page of `items`, which were read from `rows`. If the page is short, the next one begins
/// where the statement stopped looking (`scanned_to`).
fn scanned_page<T>(
    rows: &[Row],
    items: Vec<T>,
    page: Page,
    id: impl Fn(&T) -> i64,
) -> Result<Items<T>, StoreError> {
    let scanned_to =
        rows.first().map(|row| row.try_get::<_, Option<i64>>("scanned_to")).transpose()?.flatten();
    let mut answer = Items::full(items, page, id);
    answer.next = answer.next.or(scanned_to.map(|id| page.cursor((id, 0))));
    Ok(answer)
}

/// The same for a list with two keys. The keys of the row that was looked at last stand in these
/// two columns of each row; they are null if all rows were looked at.
fn scanned_page_by<T>(
    rows: &[Row],
    items: Vec<T>,
    page: Page,
    columns: [&str; 2],
    keys: impl Fn(&T) -> (i64, i64),
) -> Result<Items<T>, StoreError> {
    let key =
        |column| Ok::<_, StoreError>(rows.first().map(|row| row.try_get(column)).transpose()?.flatten());
    let scanned: Option<(i64, i64)> = key(columns[0])?.zip(key(columns[1])?);
    let mut answer = Items::full_by(items, page, keys);
    answer.next = answer.next.or(scanned.map(|keys| page.cursor(keys)));
    Ok(answer)
}
