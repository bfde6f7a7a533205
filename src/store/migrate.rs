//! Migrations: bring the schema to what this binary knows.

use super::{Store, error::StoreError};

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// What a migration run found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MigrateOutcome {
    /// How many migrations were applied by this run; 0 if the schema was current.
    pub applied: usize,
    /// The version the schema is at now.
    pub version: i32,
}

impl Store {
    /// Applies what is missing, each migration in a transaction of its own.
    ///
    /// Safe to call from several processes at once: an advisory lock lets one go first, the others find the work done.
    /// Refuses a schema that is newer than this binary.
    pub async fn migrate(&self) -> Result<MigrateOutcome, StoreError> {
        let (mut client, connection) = self.connector.direct().await?;
        let driver = tokio::spawn(connection);
        let outcome = self.migrate_on(&mut client).await;
        // Ends the connection, and the lock with it.
        drop(client);
        // The connection's own end says nothing that the outcome does not.
        let _ = driver.await;
        outcome
    }

    async fn migrate_on(&self, client: &mut tokio_postgres::Client) -> Result<MigrateOutcome, StoreError> {
        let name = format!("pgtopic migrate {}", self.schema.name());
        client.execute("SELECT pg_advisory_lock(hashtextextended($1, 0))", &[&name]).await?;
        let quoted = self.schema.quoted();
        let exists: bool =
            client.query_one("SELECT to_regnamespace($1) IS NOT NULL", &[&quoted]).await?.get(0);
        if !exists {
            client.batch_execute(&format!("CREATE SCHEMA {quoted}")).await?;
        }
        // Unqualified names in the migrations mean this schema; functions keep this very search path.
        client.batch_execute(&format!("SET search_path = {quoted}, pg_temp")).await?;

        let mut runner = embedded::migrations::runner();
        runner.set_migration_table_name("schema_history");
        let known = known_version();
        if let Some(found) = self.newest_applied(client).await?
            && found > known
        {
            return Err(StoreError::SchemaMismatch(format!(
                "schema \"{}\" is at version {found}, newer than this binary, which knows version {known}: \
                 upgrade pgtopic",
                self.schema.name()
            )));
        }
        let report = runner.run_async(client).await.map_err(|error| migration_error(&error))?;
        Ok(MigrateOutcome { applied: report.applied_migrations().len(), version: known })
    }

    async fn newest_applied(&self, client: &tokio_postgres::Client) -> Result<Option<i32>, StoreError> {
        let table = format!("{}.schema_history", self.schema.quoted());
        let exists: bool = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table]).await?.get(0);
        if !exists {
            return Ok(None);
        }
        Ok(client.query_one(&format!("SELECT max(version) FROM {table}"), &[]).await?.get(0))
    }

    /// Fails unless the schema is exactly at the version this binary knows.
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        let (client, connection) = self.connector.direct().await?;
        let driver = tokio::spawn(connection);
        let found = self.newest_applied(&client).await;
        drop(client);
        let _ = driver.await;
        self.require_version(found?, known_version())
    }

    /// Fails unless the version that was found is the one that is needed.
    pub(super) fn require_version(&self, found: Option<i32>, known: i32) -> Result<(), StoreError> {
        match found {
            Some(version) if version == known => Ok(()),
            Some(version) => Err(StoreError::SchemaMismatch(format!(
                "schema \"{}\" is at version {version}, this binary needs {known}: run `pgtopic migrate`",
                self.schema.name()
            ))),
            None => Err(StoreError::SchemaMismatch(format!(
                "schema \"{}\" holds no pgtopic: run `pgtopic migrate`",
                self.schema.name()
            ))),
        }
    }
}

/// The newest version this binary knows.
pub(super) fn known_version() -> i32 {
    let runner = embedded::migrations::runner();
    runner.get_migrations().iter().map(refinery::Migration::version).max().unwrap_or_default()
}

fn migration_error(error: &refinery::Error) -> StoreError {
    use refinery::error::Kind;
    match error.kind() {
        Kind::DivergentVersion(..) | Kind::MissingVersion(..) => {
            StoreError::SchemaMismatch(format!("the schema was not made by this pgtopic: {error}"))
        }
        _ => StoreError::Migration(super::error::chain(error)),
    }
}
