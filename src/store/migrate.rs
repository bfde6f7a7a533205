//! Migrations: bring the schema up to date.
//!
//! A schema has two parts:
//!
//! - Tables. The numbered files in `migrations/` make and change them, each in a transaction of its
//!   own.
//! - Functions, triggers and grants. They are in `sql/`. All of them are applied in one transaction
//!   if this binary knows a newer number than `installed` has.
//!
//! If the numbers are equal but the texts are not, the schema has drifted. A drift is reported. It
//! is repaired on request.

use std::fmt::Write as _;

use tokio_postgres::Client;

use super::{
    Parameters, Store,
    error::StoreError,
    functions, inspect,
    locks::Locks,
    migrations::{known_number, migration_error, migrations},
    one_by_one::OneByOne,
    schema_status::{Installed, SchemaStatus, check_encoding, check_installation, installed},
    statement::{Schema, sql},
};

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
}

impl Schema {
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
        let parameters: Parameters<'_> = &[&known, &functions::hash(), &env!("CARGO_PKG_VERSION")];
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
