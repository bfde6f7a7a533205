//! Migrations: bring the schema up to date.
//!
//! A schema has two parts:
//!
//! - Tables. The numbered files in `migrations/` make and change them, each in a transaction of its
//!   own.
//! - Functions, triggers and grants. They are in `sql/`. All of them are applied in one transaction
//!   if this binary knows a newer number than `installed` has.
//!
//! If the numbers are equal but the texts are not, the schema has drifted. That is reported, and
//! repaired on request.

use std::{fmt::Write as _, time::Duration};

use refinery::Migration;
use tokio_postgres::{Client, Row, error::SqlState};

use super::{
    Store,
    error::StoreError,
    functions, inspect,
    locks::Locks,
    one_by_one::OneByOne,
    statement::{Schema, sql},
};

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// The number of the oldest schema that this binary runs on.
const RUNS_FROM: i32 = 1;

/// How many cells there are.
pub const CELLS: i32 = 1024;

/// How often it is tried to give an installation its cell.
const CELL_TRIES: usize = 30;

/// The time between two tries.
const CELL_PAUSE: Duration = Duration::from_millis(250);

/// The result of a migration run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MigrateOutcome {
    /// How many migrations were applied by this run; 0 if the schema was current.
    pub applied: usize,
    /// Whether functions, triggers and grants were applied by this run.
    pub functions_applied: bool,
    /// The schema after the run.
    pub schema: SchemaStatus,
}

/// A schema, compared with this binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaStatus {
    /// The number of the newest migration that the schema has; `None` if nothing is installed.
    pub number: Option<i32>,
    /// The oldest binary that may still run on the schema, by the number of its newest migration.
    pub works_from: i32,
    /// The number of the newest migration that this binary knows.
    pub known: i32,
    /// Whether the schema has drifted: the numbers are equal, and functions, triggers or grants are
    /// not those of this binary.
    pub drifted: bool,
    /// The cell of the installation, if it has one.
    pub cell: Option<i32>,
}

/// The row of `installed`.
struct Installed {
    number: i32,
    works_from: i32,
    functions_hash: String,
    cell: Option<i32>,
}

impl Installed {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            number: row.try_get("number")?,
            works_from: row.try_get("works_from")?,
            functions_hash: row.try_get("functions_hash")?,
            cell: row.try_get("cell")?,
        })
    }
}

impl SchemaStatus {
    fn new(installed: Option<&Installed>) -> Self {
        let known = known_number();
        Self {
            number: installed.map(|installed| installed.number),
            works_from: installed.map_or(1, |installed| installed.works_from),
            known,
            drifted: installed.is_some_and(|installed| {
                installed.number == known && installed.functions_hash != functions::hash()
            }),
            cell: installed.and_then(|installed| installed.cell),
        }
    }
}

impl Store {
    /// Applies what is missing. If the schema is newer than this binary and accepts it, nothing is
    /// done.
    ///
    /// Several processes may call it at once: an advisory lock lets one go first, and the others
    /// find the work done.
    ///
    /// # Errors
    /// [`StoreError::SchemaMismatch`] if the schema does not accept this binary,
    /// [`StoreError::Unsuitable`] if the database is not encoded in UTF-8,
    /// [`StoreError::Migration`] if a migration fails.
    pub async fn migrate(&self) -> Result<MigrateOutcome, StoreError> {
        self.with_direct(async |client| migrate(client, &self.schema, false).await).await
    }

    /// The same, but it applies functions, triggers and grants even if nothing is missing. That
    /// repairs a drift.
    ///
    /// # Errors
    /// As [`Store::migrate`].
    pub async fn migrate_and_repair(&self) -> Result<MigrateOutcome, StoreError> {
        self.with_direct(async |client| migrate(client, &self.schema, true).await).await
    }

    /// The SQL that brings the schema up to date and repairs a drift, for people who run it
    /// themselves. Empty if nothing is missing.
    ///
    /// # Errors
    /// [`StoreError::SchemaMismatch`] and [`StoreError::Unsuitable`] as [`Store::migrate`].
    pub async fn print_migration(&self) -> Result<String, StoreError> {
        self.with_direct(async |client| print(client, &self.schema).await).await
    }

    /// Gives this installation its cell: from then on every message id modulo [`CELLS`] is this
    /// number. Returns the first such id, or `None` if the installation had this cell before.
    ///
    /// It waits until every transaction that has published has ended, `CELL_TRIES` times for a
    /// second, and lets publishers go on between two tries.
    ///
    /// # Errors
    /// [`StoreError::Migration`] if the installation has another cell, or if publishers never left
    /// a gap.
    pub async fn set_cell(&self, cell: i32) -> Result<Option<i64>, StoreError> {
        self.with_direct(async |client| {
            client.execute("SET lock_timeout = '1s'", &[]).await?;
            let statement = self.schema.text(sql!("installation/set_cell"));
            for tried in 1.. {
                match client.query_one(&*statement, &[&cell]).await {
                    Ok(row) => return Ok(row.try_get(0)?),
                    Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                        if tried == CELL_TRIES {
                            break;
                        }
                        tokio::time::sleep(CELL_PAUSE).await;
                    }
                    Err(error) => return Err(StoreError::Migration(super::error::chain(&error))),
                }
            }
            let text = "transactions that publish never left a gap: try again, or end the longest one";
            Err(StoreError::Migration(text.to_owned()))
        })
        .await
    }

    /// Compares the schema with this binary. Changes nothing.
    pub async fn schema_status(&self) -> Result<SchemaStatus, StoreError> {
        self.with_direct(async |client| {
            Ok(SchemaStatus::new(installed(client, &self.schema).await?.as_ref()))
        })
        .await
    }

    /// Compares the schema with this binary, and checks that the binary may run on it.
    ///
    /// # Errors
    /// [`StoreError::SchemaMismatch`] if it may not, [`StoreError::Unsuitable`] if the database is
    /// not encoded in UTF-8, the role lacks rights, or ids would be given again.
    pub async fn check_schema(&self) -> Result<SchemaStatus, StoreError> {
        self.with_direct(async |client| {
            check_encoding(client).await?;
            let found = installed(client, &self.schema).await?;
            if found.is_none() {
                inspect::check_empty(client, &self.schema).await?;
            }
            let status = SchemaStatus::new(found.as_ref());
            self.schema.accepts(&status)?;
            if let Some(found) = &found {
                check_installation(client, &self.schema, found).await?;
            }
            Ok(status)
        })
        .await
    }

    /// Checks that the database answers on the pool and takes writes, and that this binary may run
    /// on its schema.
    ///
    /// # Errors
    /// [`StoreError::SchemaMismatch`] if the binary may not, [`StoreError::ReadOnly`] if the
    /// database takes no writes.
    pub async fn check_ready(&self) -> Result<(), StoreError> {
        let status = match self.query_one(sql!("schema/get_installed"), &[]).await {
            Ok(row) => {
                if row.try_get("read_only")? {
                    // The next try must not find the same connections.
                    self.close_idle();
                    let standby: bool = row.try_get("standby")?;
                    return Err(StoreError::ReadOnly(if standby {
                        "it is a standby"
                    } else {
                        "its sessions are read-only"
                    }));
                }
                SchemaStatus::new(Some(&Installed::read(&row)?))
            }
            Err(error) if error.sql_state() == Some(&SqlState::UNDEFINED_TABLE) => SchemaStatus::new(None),
            Err(error) => return Err(error),
        };
        self.schema.accepts(&status)
    }

    /// The names of the BEFORE INSERT triggers on `messages` that run after ours. They may change a
    /// message that was fanned out already.
    pub async fn list_later_triggers(&self) -> Result<Vec<String>, StoreError> {
        let rows = self.query(sql!("schema/list_later_triggers"), &[]).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    async fn with_direct<T>(
        &self,
        run: impl AsyncFnOnce(&mut Client) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let (mut client, driver) = self.connector.direct().await?;
        // Boxed, because this future is large: otherwise it would make the futures of all callers
        // large.
        let outcome = Box::pin(run(&mut client)).await;
        // This ends the connection and releases its locks.
        drop(client);
        let _ = driver.await;
        outcome
    }
}

impl Schema {
    /// Checks that this binary may run on the schema.
    fn accepts(&self, status: &SchemaStatus) -> Result<(), StoreError> {
        let schema = self.name();
        let SchemaStatus { works_from, known, .. } = *status;
        let problem = match status.number {
            Some(number) if works_from > known => format!(
                "schema \"{schema}\" is at version {number} and needs a pgtopic that knows version {works_from}; this one \
                 knows {known}: upgrade pgtopic"
            ),
            Some(number) if number < RUNS_FROM => format!(
                "schema \"{schema}\" is at version {number}, this binary needs {RUNS_FROM}: run `pgtopic migrate`"
            ),
            None => format!("schema \"{schema}\" holds no pgtopic: run `pgtopic migrate`"),
            Some(_) => return Ok(()),
        };
        Err(StoreError::SchemaMismatch(problem))
    }

    fn history(&self) -> String {
        format!("{}.schema_history", self.quoted())
    }
}

async fn migrate(client: &mut Client, schema: &Schema, repair: bool) -> Result<MigrateOutcome, StoreError> {
    check_encoding(client).await?;
    let before = installed(client, schema).await?;
    // A role that owns nothing may come this far, and no further.
    if let Some(found) = before.as_ref().filter(|found| found.number >= known_number() && !repair) {
        return unchanged(client, schema, found).await;
    }
    match apply(client, schema, repair).await {
        Err(error) => Err(inspect::explain_refusal(client, schema, error).await),
        applied => applied,
    }
}

/// The outcome for a schema that lacks nothing.
async fn unchanged(
    client: &Client,
    schema: &Schema,
    found: &Installed,
) -> Result<MigrateOutcome, StoreError> {
    let status = SchemaStatus::new(Some(found));
    schema.accepts(&status)?;
    check_installation(client, schema, found).await?;
    Ok(MigrateOutcome { applied: 0, functions_applied: false, schema: status })
}

/// Checks a schema that this binary may run on, before it does.
async fn check_installation(client: &Client, schema: &Schema, found: &Installed) -> Result<(), StoreError> {
    inspect::check_name(client, schema).await?;
    inspect::check_grants(client, schema).await?;
    if found.number == known_number() {
        inspect::check_history(client, schema, &migrations(schema)?, found.number).await?;
    }
    inspect::check_sequences(client, schema).await
}

/// Waits until no other migration of this schema runs. The lock is held until the connection ends.
async fn lock(client: &Client, schema: &Schema) -> Result<(), StoreError> {
    let name = format!("pgtopic migrate {}", schema.name());
    let sql = "SELECT x.key, pg_try_advisory_lock(x.key) FROM (SELECT hashtextextended($1, 0) AS key) x";
    let row = client.query_one(sql, &[&name]).await?;
    let (key, free): (i64, bool) = (row.try_get(0)?, row.try_get(1)?);
    if !free {
        let holders = Locks::single(key).holders(client).await?.unwrap_or_else(|| "nobody now".to_owned());
        tracing::warn!(holders, "waiting for another migration to end");
        client.execute("SELECT pg_advisory_lock($1)", &[&key]).await?;
    }
    Ok(())
}

async fn apply(client: &mut Client, schema: &Schema, repair: bool) -> Result<MigrateOutcome, StoreError> {
    lock(client, schema).await?;
    // Somebody else may have migrated meanwhile.
    let known = known_number();
    let before = installed(client, schema).await?;
    match &before {
        Some(found) if found.number > known || (found.number == known && !repair) => {
            return unchanged(client, schema, found).await;
        }
        Some(_) => inspect::check_name(client, schema).await?,
        None => inspect::check_empty(client, schema).await?,
    }
    let migrations = migrations(schema)?;
    let number = before.as_ref().map(|found| found.number);
    inspect::check_history(client, schema, &migrations, number.unwrap_or_default()).await?;
    let quoted = schema.quoted();
    if !client.query_one("SELECT to_regnamespace($1) IS NOT NULL", &[&quoted]).await?.get::<_, bool>(0) {
        client.batch_execute(&format!("CREATE SCHEMA {quoted}")).await?;
    }
    let mut runner = refinery::Runner::new(&migrations);
    runner.set_migration_table_name(schema.history());
    let report = runner.run_async(&mut OneByOne(client)).await.map_err(|error| migration_error(&error))?;

    let functions_applied = repair || number.is_none_or(|number| number < known);
    if functions_applied {
        let transaction = client.transaction().await?;
        functions::apply(&transaction, schema).await?;
        let parameters: super::Parameters<'_> = &[&known, &functions::hash(), &env!("CARGO_PKG_VERSION")];
        transaction.execute(&*schema.text(sql!("schema/set_installed")), parameters).await?;
        transaction.commit().await?;
    }
    let applied = report.applied_migrations().len();
    inspect::check_sequences(client, schema).await?;
    let status = SchemaStatus::new(installed(client, schema).await?.as_ref());
    Ok(MigrateOutcome { applied, functions_applied, schema: status })
}

async fn print(client: &Client, schema: &Schema) -> Result<String, StoreError> {
    check_encoding(client).await?;
    let found = installed(client, schema).await?;
    let status = SchemaStatus::new(found.as_ref());
    if status.number.is_some() {
        schema.accepts(&status)?;
    }
    let from = status.number.unwrap_or_default();
    if from >= status.known && !status.drifted {
        return Ok(String::new());
    }
    let (quoted, history) = (schema.quoted(), schema.history());
    let mut text = format!(
        "BEGIN;\nCREATE SCHEMA IF NOT EXISTS {quoted};\nSET LOCAL search_path = pg_catalog, {quoted}, pg_temp;\n\
         CREATE TABLE IF NOT EXISTS {history} (version integer PRIMARY KEY, name varchar(255), applied_on varchar(255), \
         checksum varchar(255));\n\n"
    );
    for migration in migrations(schema)? {
        if migration.version() > from {
            text.push_str(migration.sql().unwrap_or_default());
            let _ = writeln!(
                text,
                "INSERT INTO {history} VALUES ({}, '{}', to_char(now() AT TIME ZONE 'UTC', \
                 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), '{}');\n",
                migration.version(),
                migration.name(),
                migration.checksum()
            );
        }
    }
    text.push_str(&functions::print(schema));
    let _ = writeln!(
        text,
        "UPDATE {quoted}.installed SET number = {}, functions_hash = '{}', applied_by = '{}', applied_at = now();\nCOMMIT;",
        status.known,
        functions::hash(),
        env!("CARGO_PKG_VERSION")
    );
    Ok(text)
}

async fn installed(client: &Client, schema: &Schema) -> Result<Option<Installed>, StoreError> {
    // A table of this name may be somebody else's.
    let is_ours = "SELECT EXISTS (SELECT FROM pg_class c
                                     JOIN pg_namespace n ON n.oid = c.relnamespace
                                     JOIN pg_attribute a ON a.attrelid = c.oid
                                    WHERE n.nspname = $1 AND c.relname = 'installed' AND a.attname = 'functions_hash')";
    if !client.query_one(is_ours, &[&schema.name()]).await?.get::<_, bool>(0) {
        return Ok(None);
    }
    let row = client.query_opt(&*schema.text(sql!("schema/get_installed")), &[]).await;
    let row = match row {
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            inspect::check_grants(client, schema).await?;
            return Err(error.into());
        }
        row => row?,
    };
    row.map(|row| Installed::read(&row)).transpose()
}

/// Checks that the database is encoded in UTF-8. Text of any language must fit into every column,
/// and every worker must be able to read it.
async fn check_encoding(client: &Client) -> Result<(), StoreError> {
    let row =
        client.query_one("SELECT current_setting('server_encoding'), current_database()::text", &[]).await?;
    let (encoding, database): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(StoreError::Unsuitable(format!(
        "database \"{database}\" is encoded in {encoding}, pgtopic needs UTF8: make one with \
         CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
    )))
}

/// The migrations, written for this schema.
fn migrations(schema: &Schema) -> Result<Vec<Migration>, StoreError> {
    let embedded = embedded::migrations::runner();
    let of_schema = embedded.get_migrations().iter().map(|migration| {
        // It is compiled in, so it always has a text.
        let text = schema.text(migration.sql().unwrap_or_default());
        let name = format!("V{}__{}", migration.version(), migration.name());
        Migration::unapplied(&name, &text).map_err(|error| migration_error(&error))
    });
    of_schema.collect()
}

/// The number of the newest migration that this binary knows.
fn known_number() -> i32 {
    let runner = embedded::migrations::runner();
    runner.get_migrations().iter().map(Migration::version).max().unwrap_or_default()
}

fn migration_error(error: &refinery::Error) -> StoreError {
    use refinery::error::Kind;
    match error.kind() {
        Kind::DivergentVersion(..) | Kind::MissingVersion(..) => {
            StoreError::SchemaMismatch(format!("the schema was not made by this pgtopic: {error}"))
        }
        Kind::Connection(what, cause) => {
            let cause = cause.downcast_ref().map_or_else(|| cause.to_string(), super::error::describe);
            StoreError::Migration(format!("{what}: {cause}"))
        }
        _ => StoreError::Migration(super::error::chain(error)),
    }
}
